// Plots of memory: how often it helps, what it is worth, how that grows.

import { BOTTOM, HEIGHT, empty, grid, plot, svg } from "./drawing.js";
import { count, duration, h, percent, plural } from "./dom.js";

const LEFT = 48;
const ROW = 42; // of a row of intervals: its words above, its line below
const GOAL = 0.7; // hits, from the proposal
const DAY = 86_400_000;
const minutes = (value) => (value === 0 ? "0" : duration(value * 60));
const ARMS = { memory: ["with memory", "with"], control: ["without memory", "without"] };
const RECALLED = { "with recalled work": "with", "without recalled work": "without" };

export function showMemoryPlots({ hit_rate: hits, learning, trends, similarity, vectors }) {
  plot("hits", hits, (width) => (hits.asked + hits.works ? hitPlot(width, hits) : empty("No mission has asked its memory yet.")));
  plot("worth", learning.arm, (width) => worth(width, learning));
  plot("curve", learning.curve, (width) =>
    curve(width, learning.curve, { value: "minutes", low: "minutes_low", high: "minutes_high", show: minutes, what: "typical time" }),
  );
  plot("curve-hits", learning.curve, (width) =>
    curve(width, { memory: learning.curve.memory }, { value: "hit_rate", low: "hit_low", high: "hit_high", show: percent, what: "memory hits", shares: true }),
  );
  plot("trends", trends, (width) => weekly(width, trends));
  plot("similarity", [similarity, vectors], (width) => [...distribution(width, similarity), h("p", { class: "note" }, whatCounts(vectors))]);
}

function hitPlot(width, hits) {
  const rows = [
    { label: "were given similar work", value: hits.rate, low: hits.low, high: hits.high, kind: "with", note: `of ${plural(hits.asked, "mission")}` },
    { label: "had any proven work to recall", value: hits.knew_something_rate, kind: "without", note: `of ${plural(hits.asked, "mission")}` },
    { label: "proven works with an earlier related one, by files", value: hits.related_rate, kind: "without", note: hits.works ? `of ${count(hits.works)}` : "none tells its files" },
  ];
  return [intervals(width, rows, { show: percent, mark: { at: GOAL, words: `goal ${percent(GOAL)}` } })];
}

function whatCounts({ model, calibrated }) {
  if (model === null) return "Nothing is embedded yet: words alone count.";
  if (calibrated) return `Words count together with the vectors of ${model}.`;
  return `Words alone count, since nobody has calibrated ${model}: its vectors choose candidates only.`;
}

function worth(width, { arm, recalled }) {
  if (arm.length === 0) return empty("No mission has ended yet.");
  const named = [
    ...arm.toReversed().map((point) => ({ point, label: ARMS[point.name][0], kind: ARMS[point.name][1] })),
    ...recalled.map((point) => ({ point, label: point.name, kind: RECALLED[point.name] })),
  ];
  const rows = (value, low, high) =>
    named.map(({ point, label, kind }) => ({ label, kind, value: point[value], low: point[low], high: point[high], note: `of ${plural(point.missions, "mission")}` }));
  const times = rows("minutes", "minutes_low", "minutes_high");
  const most = Math.max(...times.flatMap(({ value, high }) => [value ?? 0, high ?? 0]), 1e-9);
  return [
    h("h3", {}, "Success rate"),
    intervals(width, rows("success_rate", "success_low", "success_high"), { show: percent }),
    h("h3", {}, "Typical time"),
    intervals(width, times, { show: minutes, most }),
    h("p", { class: "note" }, undecided(arm)),
    h("p", { class: "note" }, "Who recalled nothing may have had the stranger issues: only the first two rows of each are a fair comparison."),
  ];
}

function undecided(arms) {
  if (!arms.some(({ pending, declined }) => pending + declined)) return null;
  const told = arms.toReversed().map(({ name, pending, declined }) => `${ARMS[name][0]} ${count(pending)} not judged yet and ${count(declined)} declined`);
  return `Success is that of all missions taken, so these count as none yet: ${told.join(", ")}.`;
}

// One row each: what it is, its value in words, and a dot on a line from 0 to `most` with its interval.
function intervals(width, rows, { show, most = 1, mark = null }) {
  const height = rows.length * ROW + 4;
  const x = (value) => 6 + (Math.min(value, most) / most) * (width - 12);
  const told = ({ label, value, low, high, note }) =>
    `${label}: ${value === null ? "nothing to tell yet" : show(value)}${low === null || low === undefined ? "" : ` (${show(low)} to ${show(high)})`} ${note}`;
  const shapes = rows.map((row, index) => {
    const { label, value, low, high, note, kind } = row;
    const middle = index * ROW + 28;
    return h(
      "g",
      { class: kind },
      h("title", {}, told(row)),
      h("text", { class: "label", x: 0, y: index * ROW + 14 }, label),
      h("text", { x: width, y: index * ROW + 14, "text-anchor": "end" }, value === null ? `– ${width < 420 ? "" : note}` : `${show(value)} ${width < 420 ? "" : note}`),
      h("line", { class: "grid", x1: x(0), x2: x(most), y1: middle, y2: middle }),
      low !== null && low !== undefined && h("line", { class: "whisker", x1: x(low), x2: x(high), y1: middle, y2: middle }),
      value !== null && h("circle", { class: "fill dot", cx: x(value), cy: middle, r: 5 }),
    );
  });
  const goal = mark && [
    rows.map((_, index) => h("line", { class: "goal", x1: x(mark.at), x2: x(mark.at), y1: index * ROW + 19, y2: index * ROW + 37 })),
    h("text", { x: x(mark.at), y: height + 8, "text-anchor": "middle" }, mark.words),
  ];
  return svg(width, mark ? height + 14 : height, rows.map(told).join("; "), goal, shapes);
}

function curve(width, arms, { value, low, high, show, what, shares = false }) {
  const names = [...new Set(Object.values(arms).flatMap((points) => points.map(({ name }) => name)))].sort((one, two) => parseInt(one) - parseInt(two));
  const series = Object.entries(arms).map(([arm, points]) => ({
    label: ARMS[arm][0],
    kind: ARMS[arm][1],
    points: names.map((name) => {
      const point = points.find((each) => each.name === name);
      return point && point[value] !== null ? { value: point[value], low: point[low], high: point[high], note: plural(point.missions, "mission") } : null;
    }),
  }));
  if (!series.some(({ points }) => points.some(Boolean))) return empty("No mission has ended yet.");
  return lines(width, names, series, { show, what, shares });
}

function weekly(width, trends) {
  if (trends.length === 0) return empty("No mission has ended yet.");
  const { names, weeks } = allWeeks(trends);
  const points = (key, part, whole) =>
    weeks.map((week) => (week && week[key] !== null ? { value: week[key], note: `${count(week[part])} of ${count(whole(week))}` } : null));
  const series = [
    { label: "succeeded", kind: "done", points: points("success_rate", "successes", (week) => week.successes + week.failures) },
    { label: "memory hits", kind: "with", points: points("hit_rate", "hits", (week) => week.asked) },
  ];
  return lines(width, names, series, { show: percent, what: "by week", shares: true, behind: weeks.map((week) => week?.outcomes ?? 0) });
}

// Every week from the first to the last; null where nothing ended. `places`: where each week of `trends` stands.
export function allWeeks(trends) {
  const moments = trends.map(({ week }) => Date.parse(week));
  const format = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
  const length = trends.length ? Math.round((moments.at(-1) - moments[0]) / (7 * DAY)) + 1 : 0;
  const places = moments.map((moment) => Math.round((moment - moments[0]) / (7 * DAY)));
  const weeks = Array.from({ length }, (_, index) => trends[places.indexOf(index)] ?? null);
  return { places, weeks, names: weeks.map((_, index) => format.format(moments[0] + index * 7 * DAY)) };
}

function lines(width, names, series, { show, what, shares, behind = [] }) {
  const all = series.flatMap(({ points }) => points.filter(Boolean));
  const most = shares ? 1 : Math.max(...all.map(({ value, high }) => high ?? value));
  const axis = grid(width, most, { left: LEFT, show, ...(shares && { values: [0, 0.25, 0.5, 0.75, 1] }) });
  const step = (width - LEFT) / names.length;
  const x = (index) => LEFT + (index + 0.5) * step;
  const { y } = axis;
  const tallest = Math.max(...behind, 1);
  const columns = behind.map((value, index) =>
    h("g", {}, h("title", {}, `${names[index]}: ${plural(value, "outcome")}`), h("rect", { class: "behind", x: x(index) - step * 0.4, width: step * 0.8, y: y((value / tallest) * 0.4), height: y(0) - y((value / tallest) * 0.4) })),
  );
  const shapes = series.map(({ label, kind, points }) => {
    const here = points.map((point, index) => point && { ...point, index });
    return h("g", { class: kind }, runs(here).map((run) => [band(run, x, y), h("path", { class: "stroke", d: path(run, x, (point) => y(point.value)) })]), here.filter(Boolean).map((point) => dot(point, label, names, x, y, show)));
  });
  const every = Math.max(Math.ceil(54 / step), 1);
  const words = names.map((name, index) => (index % every === 0 && x(index) < width - 18 ? h("text", { x: x(index), y: HEIGHT - 6, "text-anchor": "middle" }, name) : null));
  const spoken = series
    .map(({ label, points }) => {
      const last = points.findLast(Boolean);
      return `${label}: ${last ? `${show(last.value)} at the last` : "nothing to tell yet"}`;
    })
    .join("; ");
  const legend = [
    ...series.map(({ label, kind }) => h("li", { class: kind }, h("i", { class: "fill" }), label)),
    behind.length > 0 && h("li", {}, h("i", { class: "behind" }), "outcomes"),
  ];
  return [svg(width, HEIGHT, `${what}: ${spoken}`, axis.lines, columns, shapes, words), h("ul", { class: "legend" }, legend)];
}

// Neighbours without a gap between them.
function runs(points) {
  const found = [[]];
  for (const point of points) {
    if (point) found.at(-1).push(point);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((run) => run.length > 0);
}

const path = (run, x, y) => run.map((point, index) => `${index ? "L" : "M"}${x(point.index).toFixed(1)},${y(point).toFixed(1)}`).join("");

function band(run, x, y) {
  const sure = run.filter(({ low }) => low !== null && low !== undefined);
  if (sure.length < 2) return null;
  const back = sure.toReversed().map((point) => `L${x(point.index).toFixed(1)},${y(point.low).toFixed(1)}`);
  return h("path", { class: "band", d: `${path(sure, x, (point) => y(point.high))}${back.join("")}Z` });
}

function dot({ index, value, low, high, note }, label, names, x, y, show) {
  const sure = low !== null && low !== undefined;
  const title = `${label}, ${names[index]}: ${show(value)}${sure ? ` (${show(low)} to ${show(high)})` : ""}, ${note}`;
  return h(
    "g",
    {},
    h("title", {}, title),
    sure && h("line", { class: "whisker thin", x1: x(index), x2: x(index), y1: y(low), y2: y(high) }),
    h("circle", { class: "fill dot", cx: x(index), cy: y(value), r: 4 }),
  );
}

function distribution(width, bins) {
  if (bins.length === 0) return empty("Nothing has been recalled yet.");
  const first = Math.min(...bins.map(({ from }) => from), 0.7);
  const length = Math.round((1 - first) * 20);
  const counts = Array.from({ length }, () => 0);
  for (const { from, count: value } of bins) counts[Math.round((from - first) * 20)] = value;
  const { y, lines: axis } = grid(width, Math.max(...counts), { left: LEFT });
  const step = (width - LEFT) / length;
  const bound = (index) => percent(first + index / 20);
  const shapes = counts.map((value, index) =>
    h(
      "g",
      {},
      h("title", {}, `${plural(value, "work")} recalled with ${bound(index)} to ${bound(index + 1)}`),
      h("rect", { class: "fill running", x: LEFT + index * step + 1, width: Math.max(step - 2, 1), y: y(value), height: y(0) - y(value), rx: 2 }),
    ),
  );
  const every = Math.max(Math.ceil(44 / step), 1);
  const names = counts.map((_, index) => (index % every === 0 ? h("text", { x: LEFT + index * step, y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, bound(index)) : null));
  const total = counts.reduce((sum, value) => sum + value, 0);
  const spoken = `${plural(total, "work")} recalled: ${counts.map((value, index) => `${count(value)} with ${bound(index)} to ${bound(index + 1)}`).join(", ")}`;
  return [svg(width, HEIGHT, spoken, axis, shapes, names), h("p", { class: "note" }, `${plural(total, "work")} recalled in all; below 70 % none is shown to an agent.`)];
}
