// Memory, money, routing and errors, each in a few lines.

import { openAgent, openMission } from "./detail.js";
import { byId, count, dollars, foreign, h, percent, plural } from "./dom.js";

export function showFacts({ memory, money, misroutes, shares, errors, executor }) {
  fill("memory", [
    meter("asked and found", memory.hit, memory.asked, count),
    stack([["proven", memory.proven, "done"], ["pending", memory.pending, "queued"], ["refuted", memory.refuted, "failed"]], "outcomes"),
    memory.control > 0 && note(`${plural(memory.control, "mission")} worked without memory, to measure what memory is worth`),
  ]);
  fill("money", [
    meter("today", money.day.usd, money.day.cap, dollars),
    meter("this month", money.month.usd, money.month.cap, dollars),
    note(executor === "recall" ? "No model runs, so nothing is spent." : `At most ${dollars(money.missionCap)} a mission.`),
    list(money.agents.map(({ agent, usd }) => [agentButton(agent), h("b", {}, dollars(usd))])),
  ]);
  fill("routing", [
    note(
      shares.over.length
        ? `${plural(shares.over.length, "agent")} over ${percent(shares.cap)} of the newest ${plural(shares.window, "mission")}`
        : `No agent over ${percent(shares.cap)} of the newest ${plural(shares.window, "mission")}`,
    ),
    list(shares.over.map(({ agent, share }) => [agentButton(agent), h("b", {}, percent(share))])),
    note(misroutes.count ? `${plural(misroutes.count, "misroute")}, relabelled by people` : "No misroutes"),
    list(misroutes.latest.map((mission) => [missionButton(mission), h("span", {}, `${mission.misroutedFrom} → ${mission.agent}`)])),
  ]);
  fill("errors", [
    note(errors.count ? plural(errors.count, "failed mission") : "No failed missions"),
    list(errors.failed.map((mission) => [missionButton(mission), h("span", {}, foreign(mission.reason ?? "no reason was given"))])),
    note(
      `${plural(errors.effectsWaiting, "effect")} on GitHub waiting, ${count(errors.effectsRefused)} refused` +
        (errors.deliveriesWaiting ? `; ${plural(errors.deliveriesWaiting, "delivery", "deliveries")} to be worked` : ""),
    ),
    list(
      errors.effects.map(({ kind, mission, number, refused, error }) => [
        missionButton({ id: mission, number, title: kind.replace("_", " ") }),
        h("span", {}, refused ? "refused: " : "will be tried again: ", foreign(error)),
      ]),
    ),
  ]);
  byId("errors").classList.toggle("bad", errors.count + errors.effectsRefused > 0);
}

function fill(id, parts) {
  const body = byId(id).lastElementChild;
  const next = h("div", {}, parts);
  if (body.isEqualNode(next)) return;
  const focused = [...body.querySelectorAll("button")].indexOf(document.activeElement);
  body.replaceWith(next);
  next.querySelectorAll("button")[focused]?.focus();
}

function meter(what, value, most, format) {
  const share = most > 0 ? Math.min(value / most, 1) : 0;
  const bar = h("div", { class: "meter", role: "meter", "aria-label": what, "aria-valuemin": 0, "aria-valuemax": most, "aria-valuenow": value }, h("span", { class: share > 0.8 && format === dollars ? "fill failed" : "fill running" }));
  bar.firstChild.style.setProperty("width", percent(share).replace(" ", ""));
  return h("div", { class: "fact" }, h("span", {}, what), h("b", {}, `${format(value)} of ${format(most)}`), bar);
}

function stack(parts, what) {
  const all = parts.reduce((sum, [, value]) => sum + value, 0);
  const bar = h("div", { class: "stack", "aria-hidden": "true" });
  for (const [, value, state] of parts) {
    if (!value) continue;
    const piece = h("span", { class: `fill ${state}` });
    piece.style.setProperty("flex-grow", value);
    bar.append(piece);
  }
  const legend = parts.map(([name, value, state]) => h("li", {}, h("i", { class: `fill ${state}` }), h("b", {}, count(value)), ` ${name}`));
  return h("div", { class: "fact" }, h("span", {}, what), h("b", {}, count(all)), bar, h("ul", { class: "legend" }, legend));
}

const note = (text) => h("p", { class: "note" }, text);
const list = (rows) => rows.length > 0 && h("ul", { class: "rows" }, rows.map((row) => h("li", {}, row)));
const agentButton = (name) => h("button", { class: "agent", type: "button", click: () => openAgent(name) }, name);
const missionButton = ({ id, number, title }) =>
  h("button", { class: "mission", type: "button", click: () => openMission(id) }, `#${number} `, foreign(title));
