// Reads the figures of memory now and then and hands them to the parts of the page.

import { at, byId, count, h, keyed, plural, put, setText } from "./dom.js";
import { showAgents } from "./memory_agents.js";
import { showMemoryPlots } from "./memory_plots.js";

const SECONDS = 15;
const NAMED = 5; // agents named in a group
const GROUP_TITLES = {
  "hall of fame": "Hall of Fame",
  "high performer": "High performers",
  unproven: "Unproven",
  "needs improvement": "Needs improvement",
  quarantined: "Quarantined",
  eliminated: "Eliminated",
};
const whole = (share) => `${Math.round(share * 100)}`.replace("-", "−");
const range = (low, high) => `${whole(low)} to ${whole(high)} %`;

function showTotals({ agents, hit_rate: hits, learning: { effect } }) {
  const sum = (key) => agents.reduce((total, agent) => total + agent[key], 0);
  const share = (value) => (value === null ? "–" : `${whole(value)} %`);
  const possible = ({ works, asked }) => {
    if (works) return [share(hits.related_rate), `of ${plural(works, "proven work")} have an earlier related one`];
    if (asked) return [share(hits.knew_something_rate), `of ${plural(asked, "mission")} had any proven work to recall`];
    return ["–", "nobody has asked yet"];
  };
  const surely = (low, high) => (low === null ? "too few missions to tell" : `95 %: ${range(low, high)}`);
  const totals = [
    ["Memory hits", share(hits.rate), hits.asked ? `${count(hits.hits)} of ${plural(hits.asked, "mission")} that asked` : "nobody has asked yet"],
    ["Possible", ...possible(hits)],
    ["Time saved by memory", share(effect.time_saved), surely(effect.time_saved_low, effect.time_saved_high)],
    ["Success gained", effect.success_gained === null ? "–" : `${whole(effect.success_gained)} points`, surely(effect.success_gained_low, effect.success_gained_high)],
    ["Memories", count(sum("memories")), `proven works to recall; ${plural(sum("vectors"), "vector")} stored`],
    ["On disk", `${count(Math.round(sum("bytes") / 2 ** 20))} MiB`, `of ${plural(agents.length, "agent")}`],
  ];
  keyed(
    byId("totals"),
    totals,
    ([what]) => what,
    ([what]) => h("div", {}, h("dt", {}, what), h("dd"), h("dd", { class: "note" })),
    (node, [, value, note]) => {
      setText(node.children[1], value);
      setText(node.children[2], note);
    },
  );
}

function showGroups(groups) {
  const cards = Object.entries(groups).map(([name, { meaning, agents }]) => {
    const named = agents.slice(0, NAMED).map((agent) => h("li", {}, h("a", { href: `/#agent=${encodeURIComponent(agent)}` }, agent)));
    const more = agents.length > NAMED && h("li", { class: "quiet" }, `and ${count(agents.length - NAMED)} more`);
    return h(
      "li",
      { class: `group ${name.replaceAll(" ", "-")}` },
      h("h3", {}, h("i", { class: "fill" }), GROUP_TITLES[name] ?? name),
      h("strong", {}, count(agents.length)),
      h("p", { class: "note" }, meaning.split(":")[0]),
      h("ul", {}, named, more),
    );
  });
  const next = h("ul", {}, cards);
  if (byId("groups").innerHTML !== next.innerHTML) put(byId("groups"), cards);
}

function say(is, text) {
  const node = byId("connection");
  node.dataset.is = is;
  setText(node, text);
}

function showAway(away) {
  keyed(
    byId("notices"),
    away,
    ({ what }) => what,
    ({ what, why }) => h("li", { class: "notice bad" }, h("strong", {}, `${what} is away`), " ", h("span", {}, why)),
    () => undefined,
  );
}

async function read() {
  const response = await fetch("/api/memory").catch(() => null);
  if (!response?.ok) return say("lost", "cannot be read now, trying again …");
  const figures = await response.json();
  showAway(figures.away ?? []);
  if (!figures.agents) return say("lost", "PostgreSQL was away from the start");
  say("live", `as of ${at(Date.now())}`);
  showTotals(figures);
  showGroups(figures.groups);
  showMemoryPlots(figures);
  showAgents(figures);
}

async function goOn() {
  if (!document.hidden) await read();
  setTimeout(goOn, SECONDS * 1000);
}

goOn();
document.addEventListener("visibilitychange", () => document.hidden || read());
