// The table of agents: what each one's record shows, what it recalled, what its memory holds.

import { byId, count, duration, h, percent, plural, put, setText } from "./dom.js";
import { svg } from "./drawing.js";
import { allWeeks } from "./memory_plots.js";

const FIRST = 20; // rows before somebody asks for all
const LIMITS = [0.3, 0.5, 0.7, 0.85]; // where groups begin and end
const GROUPS = ["eliminated", "quarantined", "needs improvement", "unproven", "high performer", "hall of fame"];
const COLUMNS = [
  { key: "agent", title: "Agent", value: (agent) => agent.agent },
  { key: "group", title: "Group", value: (agent) => GROUPS.indexOf(agent.group), detail: true },
  { key: "record", title: "Record", value: (agent) => agent.surely_above ?? -1 },
  { key: "missions", title: "Missions", value: (agent) => agent.missions, number: true, detail: true },
  { key: "hits", title: "Hits", value: (agent) => (agent.asked ? agent.hits / agent.asked : -1), number: true },
  { key: "minutes", title: "Mean time", value: (agent) => agent.minutes ?? -1, number: true, detail: true },
  { key: "memories", title: "Memories", value: (agent) => agent.memories, number: true },
  { key: "bytes", title: "KiB", value: (agent) => agent.bytes, number: true, detail: true },
  { key: "weeks", title: "Weeks", value: (agent) => agent.weeks.reduce((sum, [, right, wrong]) => sum + right + wrong, 0), detail: true },
];
const narrow = matchMedia("(max-width: 620px)");
const order = { key: "record", falling: true };
let open = false;
let shown = null;

export function showAgents(figures) {
  shown = figures;
  const { agents, trends } = figures;
  const text = JSON.stringify([agents, trends.length, order, open, narrow.matches]);
  const body = byId("rows");
  if (body.dataset.text === text) return;
  body.dataset.text = text;
  const { value } = COLUMNS.find(({ key }) => key === order.key);
  const sign = order.falling ? -1 : 1;
  const sorted = agents.toSorted((one, two) => {
    const [a, b] = [value(one), value(two)];
    return (a < b ? -sign : a > b ? sign : 0) || two.missions - one.missions || one.agent.localeCompare(two.agent);
  });
  const { places, names } = allWeeks(trends);
  put(byId("columns"), COLUMNS.map(heading));
  put(body, (open ? sorted : sorted.slice(0, FIRST)).map((agent) => row(agent, places, names.length)));
  setText(byId("agents-note"), "successes among judged missions, with the bounds that decide about the group; mean times of missions, not of backfilled pull requests");
  const all = byId("all");
  all.hidden = agents.length <= FIRST;
  setText(all, open ? `Only the first ${FIRST}` : `All ${plural(agents.length, "agent")}`);
}

byId("all").addEventListener("click", () => {
  open = !open;
  showAgents(shown);
});

narrow.addEventListener("change", () => shown && showAgents(shown));

function heading({ key, title, number, detail }) {
  const sorted = order.key === key ? (order.falling ? "descending" : "ascending") : null;
  const turn = () => {
    order.falling = order.key === key ? !order.falling : key !== "agent";
    order.key = key;
    showAgents(shown);
    byId("columns").querySelector(`[data-key="${key}"]`)?.focus();
  };
  return h(
    "th",
    { scope: "col", class: classes(number, detail), "aria-sort": sorted },
    h("button", { type: "button", click: turn, "data-key": key }, title, sorted && h("span", { "aria-hidden": "true" }, order.falling ? " ▾" : " ▴")),
  );
}

const classes = (number, detail) => [number && "number", detail && "detail"].filter(Boolean).join(" ") || null;
const cell = (content, { number, detail } = {}) => h("td", { class: classes(number, detail) }, content);

function row(agent, places, weeks) {
  const group = agent.group.replaceAll(" ", "-");
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("a", { href: `/#agent=${encodeURIComponent(agent.agent)}` }, agent.agent)),
    cell(h("span", { class: `chip ${group}` }, agent.group), { detail: true }),
    cell(h("span", { class: group }, record(agent))),
    cell(count(agent.missions), { number: true, detail: true }),
    cell(agent.asked ? [percent(agent.hits / agent.asked), h("small", { class: "detail" }, ` of ${count(agent.asked)}`)] : "–", { number: true }),
    cell(agent.minutes === null ? "–" : duration(agent.minutes * 60), { number: true, detail: true }),
    cell(count(agent.memories), { number: true }),
    cell(count(Math.round(agent.bytes / 1024)), { number: true, detail: true }),
    cell(agent.weeks.length > 0 && spark(agent, places, weeks), { detail: true }),
  );
}

// From 0 to 100 %: a line between the bounds, a dot at the rate, faint lines where groups begin.
function record({ agent, successes, failures, success_rate: rate, surely_above: low, surely_below: high }) {
  const judged = successes + failures;
  if (judged === 0) return h("span", { class: "quiet" }, "not judged yet");
  const [width, height] = [narrow.matches ? 90 : 150, 18];
  const x = (share) => 5 + share * (width - 10);
  const words = `${agent}: ${count(successes)} of ${plural(judged, "judged mission")} succeeded, surely between ${percent(low)} and ${percent(high)}`;
  return svg(
    width,
    height,
    words,
    h("title", {}, words),
    h("line", { class: "grid", x1: x(0), x2: x(1), y1: 9, y2: 9 }),
    LIMITS.map((limit) => h("line", { class: "limit", x1: x(limit), x2: x(limit), y1: 2, y2: 16 })),
    h("line", { class: "whisker", x1: x(low), x2: x(high), y1: 9, y2: 9 }),
    h("circle", { class: "fill dot", cx: x(rate), cy: 9, r: 4.5 }),
  );
}

function spark({ agent, weeks }, places, length) {
  const [step, height] = [4, 20];
  const most = Math.max(...weeks.map(([, right, wrong]) => right + wrong), 1);
  const tall = (value) => (value / most) * height;
  const columns = weeks.map(([week, right, wrong]) => [
    right > 0 && h("rect", { class: "fill done", x: places[week] * step, width: step - 1, y: height - tall(right), height: tall(right) }),
    wrong > 0 && h("rect", { class: "fill failed", x: places[week] * step, width: step - 1, y: height - tall(right + wrong), height: tall(wrong) }),
  ]);
  const [right, wrong] = [1, 2].map((index) => weeks.reduce((sum, week) => sum + week[index], 0));
  return svg(length * step, height, `${agent}, by week: ${count(right)} succeeded, ${count(wrong)} failed in all`, columns);
}
