// The top of the page: how far the issues are, what is away or paused, the totals.

import { at, byId, count, dollars, duration, h, keyed, percent, plural, put, setText } from "./dom.js";

const LIVE = ["running", "queued", "waiting"];

export function showHeader({ issues, zone, executor }, states) {
  const all = states.reduce((sum, state) => sum + issues[state], 0);
  const live = LIVE.reduce((sum, state) => sum + issues[state], 0);
  put(
    byId("headline"),
    h("strong", {}, count(all - live)),
    all === 0 ? " issues yet" : ` of ${plural(all, "issue")} in a final state`,
  );
  const bar = byId("bar");
  bar.setAttribute("aria-valuemax", Math.max(all, 1));
  bar.setAttribute("aria-valuenow", all - live);
  const shown = states.filter((state) => issues[state] > 0);
  keyed(
    bar,
    shown,
    (state) => state,
    (state) => h("span", { class: `fill ${state}`, title: state }),
    (node, state) => node.style.setProperty("flex-grow", issues[state]),
  );
  keyed(
    byId("legend"),
    shown,
    (state) => state,
    (state) => h("li", {}, h("i", { class: `fill ${state}` }), h("b"), ` ${state}`),
    (node, state) => setText(node.querySelector("b"), count(issues[state])),
  );
  const work = { recall: "no model runs", model: "a model works", actions: "GitHub Actions work" }[executor];
  setText(byId("place"), `zone ${zone} · executor ${executor}: ${work}`);
}

export function showNotices({ away, errors, shares }) {
  const notices = away.map(({ what, why }) => ["bad", `${what} is away`, why]);
  for (const pause of errors?.pauses ?? []) {
    const what = { all: "Everything is paused", paid: "Paid work is paused" }[pause.scope];
    const why = `by ${pause.by} since ${at(pause.since)}${pause.reason ? `: ${pause.reason}` : ""}`;
    notices.push(["warn", what ?? `${pause.scope.replace("agent:", "")} is paused`, why]);
  }
  for (const { agent, share } of shares?.over ?? []) {
    const why = `more than ${percent(shares.cap)}, over the newest ${plural(shares.window, "mission")}`;
    notices.push(["warn", `${agent} takes ${percent(share)} of the missions`, why]);
  }
  keyed(
    byId("notices"),
    notices,
    ([, what]) => what,
    ([kind, what]) => h("li", { class: `notice ${kind}` }, h("strong", {}, what), " ", h("span")),
    (node, [, , why]) => setText(node.querySelector("span"), why),
  );
}

export function showTotals({ regions, issues, latency, memory, money, misroutes, errors }) {
  const agents = regions.flatMap((region) => region.agents);
  const ready = agents.filter(([, presence]) => presence === "ready").length;
  const unknown = agents.every(([, presence]) => presence === "unknown");
  const working = agents.reduce((sum, agent) => sum + agent[2], 0);
  const wrong = errors.count + errors.effectsRefused;
  const totals = [
    ["Agents ready", unknown ? "?" : count(ready), `of ${count(agents.length)}`, !unknown && ready < agents.length && "warn"],
    ["In work", count(working), `${count(issues.queued + issues.waiting)} waiting`, working > 0 && "busy"],
    ["Median time", latency.p50 === null ? "–" : duration(latency.p50), latency.p99 === null ? "no mission yet" : `99 % within ${duration(latency.p99)}`],
    ["Memory hits", memory.asked ? percent(memory.hit / memory.asked) : "–", `${count(memory.hit)} of ${count(memory.asked)} asked`],
    ["Proven outcomes", count(memory.proven), `${count(memory.pending)} pending, ${count(memory.refuted)} refuted`],
    ["Spent today", dollars(money.day.usd), `${dollars(money.month.usd)} this month`],
    ["Misroutes", count(misroutes.count), "relabelled by people"],
    ["Errors", count(wrong), wrong ? "see below" : "none", wrong > 0 && "bad"],
  ];
  keyed(
    byId("totals"),
    totals,
    ([what]) => what,
    ([what]) => h("div", {}, h("dt", {}, what), h("dd"), h("dd", { class: "note" })),
    (node, [, value, note, kind]) => {
      node.className = kind || "";
      setText(node.children[1], value);
      setText(node.children[2], note);
    },
  );
}
