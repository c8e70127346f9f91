// The newest missions: what came in, who got it and why, what was recalled, how it ended.

import { openAgent, openMission } from "./detail.js";
import { at, byId, count, duration, foreign, h, issueLink, keyed, percent, put, reason, recalledName, setText } from "./dom.js";

let offset = 0; // of the server's clock against ours

export function showMissions({ now, missions, issues }) {
  offset = now - Date.now();
  const live = issues.queued + issues.waiting;
  const listed = missions.filter(({ state }) => state === "queued" || state === "waiting").length;
  setText(byId("missions-note"), live > listed ? `${count(live - listed)} more wait` : "");
  const list = byId("mission-list");
  const first = list.childElementCount === 0;
  keyed(list, missions, ({ id }) => id, (mission) => h("li", { class: first ? "" : "new", "data-mission": mission.number }), update);
  list.classList.toggle("empty", missions.length === 0);
  tick();
}

export function tick() {
  for (const node of document.querySelectorAll("[data-since]")) {
    setText(node, duration((Date.now() + offset - Number(node.dataset.since)) / 1000));
  }
}

function update(node, mission) {
  const text = JSON.stringify(mission);
  if (node.dataset.text === text) return;
  node.dataset.text = text;
  if (node.dataset.state && node.dataset.state !== mission.state) node.classList.add("changed");
  node.dataset.state = mission.state;
  const focused = node.contains(document.activeElement) && document.activeElement.className;
  put(
    node,
    h("span", { class: `chip ${mission.state}` }, mission.state),
    h("h3", {}, issueLink(mission)),
    h("span", { class: "took" }, took(mission)),
    h("p", { class: "route" }, route(mission)),
    h("p", { class: "why" }, why(mission)),
    memory(mission),
    ending(mission),
    h("button", { class: "more", type: "button", "aria-label": `Details of mission #${mission.number}`, click: () => openMission(mission.id) }, "›"),
  );
  if (focused) node.querySelector(`.${focused.split(" ")[0]}`)?.focus();
}

function took({ state, accepted, claimed, finished }) {
  if (state === "running") return h("b", { "data-since": claimed ?? accepted });
  if (finished === null) return h("b", { "data-since": accepted });
  return [finished > accepted && h("b", {}, duration((finished - accepted) / 1000)), h("time", {}, at(finished))];
}

function route({ agent, score, runnersUp, misroutedFrom }) {
  const others = runnersUp.map(([name, points]) => `${name} ${points.toFixed(1)}`).join(", ");
  return [
    scores(agent, score, runnersUp),
    agent
      ? h("button", { class: "agent", type: "button", click: () => openAgent(agent) }, agent)
      : h("span", { class: "agent none" }, "no agent"),
    misroutedFrom && h("span", { class: "tag" }, `a person's choice over ${misroutedFrom}`),
    others && h("span", {}, agent ? `${(score ?? 0).toFixed(1)} before ${others}` : `nearest: ${others}`),
  ];
}

function why({ why: reasons, agent, recalledCount, control }) {
  if (agent === null) return null; // its ending says so
  const asked = control ? "control: works without memory" : recalledCount === 0 && "nothing similar in memory";
  return [...reasons.map(reason), asked || null].map((part, index) => part && [index ? " · " : null, part]);
}

// The winner's points above the runners-up, as bars.
function scores(agent, score, runnersUp) {
  const bars = [...(agent ? [score ?? 0] : []), ...runnersUp.map(([, points]) => points)];
  if (!bars.some((points) => points > 0)) return null;
  const most = Math.max(...bars, 1);
  return h(
    "svg",
    { class: "scores", viewBox: "0 0 40 14", width: 40, height: 14, "aria-hidden": "true" },
    bars.map((points, index) =>
      h("rect", { class: index === 0 && agent ? "won" : "", x: 0, y: index * 5, height: 3.5, rx: 1.5, width: Math.max((points / most) * 40, 1) }),
    ),
  );
}

function memory({ recalled, recalledCount }) {
  if (!recalledCount) return null;
  const more = recalledCount - recalled.length;
  return h(
    "p",
    { class: "recalled" },
    "recalled ",
    recalled.map((work) => h("span", {}, h("b", {}, percent(work.similarity)), " ", recalledName(work), " ")),
    more > 0 && `and ${more} more`,
  );
}

function ending({ state, reason: text, attempts }) {
  if (state === "done" || (!text && attempts < 2)) return null;
  const words = [attempts > 1 && `attempt ${attempts}`, text].filter(Boolean).join(": ");
  return h("p", { class: state === "failed" ? "ending bad" : "ending" }, foreign(words.replaceAll("`", "")));
}
