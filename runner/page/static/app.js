// Listens for snapshots and hands each to the parts of the page.

import { byId, count, setText } from "./dom.js";
import { openFromAddress, refresh } from "./detail.js";
import { showFacts } from "./facts.js";
import { showFleet } from "./fleet.js";
import { showHeader, showNotices, showTotals } from "./header.js";
import { showMissions, tick } from "./missions.js";
import { showPlots } from "./plots.js";

const STATES = ["done", "running", "queued", "waiting", "declined", "abstained", "failed", "cancelled"];

function show(snapshot) {
  showNotices(snapshot);
  if (!snapshot.regions) return; // PostgreSQL was away from the start
  showHeader(snapshot, STATES);
  showTotals(snapshot);
  showFleet(snapshot.regions);
  showMissions(snapshot);
  showPlots(snapshot, STATES);
  showFacts(snapshot);
  document.title = titleOf(snapshot);
  refresh();
}

function titleOf({ issues }) {
  const live = issues.waiting + issues.queued + issues.running;
  return live ? `${count(live)} live · agents-cloud` : "agents-cloud";
}

function connect() {
  const events = new EventSource("/api/events");
  const say = (is, text) => {
    const node = byId("connection");
    node.dataset.is = is;
    setText(node, text);
  };
  events.addEventListener("open", () => say("live", "live"));
  events.addEventListener("error", () => {
    say("lost", "connection lost, trying again …");
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 3000); // refused: no new try by itself
  });
  events.addEventListener("message", (event) => {
    say("live", "live");
    show(JSON.parse(event.data));
  });
}

connect();
setInterval(tick, 1000);
addEventListener("hashchange", openFromAddress);
openFromAddress();
