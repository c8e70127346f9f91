// Three small plots of missions: how many ended when, how long they took, who works most.

import { openAgent } from "./detail.js";
import { BOTTOM, HEIGHT, LEFT, empty, grid, plot, svg } from "./drawing.js";
import { count, duration, h, plural } from "./dom.js";

export function showPlots({ overTime, latency, regions }, states) {
  plot("over-time", overTime, (width) => columns(width, overTime, states));
  plot("latency", latency, (width) => histogram(width, latency));
  const busiest = regions
    .flatMap((region) => region.agents)
    .map(([name, , , , done, failed, other]) => ({ name, done, failed, other, all: done + failed + other }))
    .filter(({ all }) => all > 0)
    .sort((one, two) => two.all - one.all || one.name.localeCompare(two.name))
    .slice(0, 8);
  plot("busiest", busiest, (width) => bars(width, busiest));
}

function columns(width, { from, width: seconds, states: series }, states) {
  const present = states.filter((state) => series[state]);
  if (present.length === 0) return empty("No mission has ended yet.");
  const length = series[present[0]].length;
  const sums = Array.from({ length }, (_, index) => present.reduce((sum, state) => sum + series[state][index], 0));
  const { y, lines } = grid(width, Math.max(...sums));
  const step = (width - LEFT) / Math.max(length, 12);
  const moment = (index) => from + index * seconds * 1000;
  const shapes = [];
  for (let index = 0; index < length; index += 1) {
    if (!sums[index]) continue;
    let below = 0;
    const column = present.map((state) => {
      const value = series[state][index];
      const rect = value > 0 && h("rect", { class: `fill ${state}`, x: LEFT + index * step + step * 0.1, width: step * 0.8, y: y(below + value), height: y(below) - y(below + value) });
      below += value;
      return rect;
    });
    const words = present.filter((state) => series[state][index]).map((state) => `${series[state][index]} ${state}`);
    shapes.push(h("g", {}, h("title", {}, `${label(moment(index), seconds)}: ${words.join(", ")}`), column));
  }
  const every = Math.max(Math.ceil(72 / step), 1);
  const names = [];
  for (let index = 0; index < length && LEFT + index * step < width - 52; index += every) {
    names.push(h("text", { x: LEFT + index * step, y: HEIGHT - 6 }, label(moment(index), seconds)));
  }
  const total = sums.reduce((sum, value) => sum + value, 0);
  const spoken = `${plural(total, "mission")} ended since ${label(from, seconds)}: ${present.map((state) => `${series[state].reduce((sum, value) => sum + value, 0)} ${state}`).join(", ")}`;
  const legend = h("ul", { class: "legend" }, present.map((state) => h("li", {}, h("i", { class: `fill ${state}` }), state)));
  return [svg(width, HEIGHT, spoken, lines, shapes, names), legend];
}

function label(moment, seconds) {
  const options =
    seconds < 60
      ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
      : seconds < 21_600
        ? { hour: "2-digit", minute: "2-digit" }
        : { day: "numeric", month: "short" };
  return new Intl.DateTimeFormat("en-GB", options).format(moment);
}

function histogram(width, { bounds, counts, p50, p99 }) {
  if (bounds.length === 0) return empty("No mission has been worked yet.");
  const { y, lines } = grid(width, Math.max(...counts));
  const step = Math.min((width - LEFT) / bounds.length, 72);
  const shapes = counts.map((value, index) =>
    h(
      "g",
      {},
      h("title", {}, `${plural(value, "mission")} within ${duration(bounds[index])}`),
      h("rect", { class: "fill running", x: LEFT + index * step + 1, width: Math.max(step - 2, 1), y: y(value), height: y(0) - y(value), rx: 2 }),
    ),
  );
  const every = Math.max(Math.ceil(46 / step), 1);
  const names = bounds.map((bound, index) =>
    index % every === 0 ? h("text", { x: LEFT + (index + 0.5) * step, y: HEIGHT - 6, "text-anchor": "middle" }, `≤ ${duration(bound)}`) : null,
  );
  const spoken = `Half of the missions took at most ${duration(p50)}, 99 percent at most ${duration(p99)}`;
  const legend = h("ul", { class: "legend" }, h("li", {}, "median ", h("b", {}, duration(p50))), h("li", {}, "99 % within ", h("b", {}, duration(p99))));
  return [svg(width, HEIGHT, spoken, lines, shapes, names), legend];
}

function bars(width, agents) {
  if (agents.length === 0) return empty("No agent has ended a mission yet.");
  const most = agents[0].all;
  const rows = agents.map(({ name, done, failed, other, all }) => {
    let x = 0;
    const length = Math.max(width * 0.5 - 40, 40);
    const parts = [["done", done], ["failed", failed], ["cancelled", other]].map(([state, value]) => {
      const rect = value > 0 && h("rect", { class: `fill ${state}`, x, y: 3, height: 12, width: Math.max((value / most) * length, 2) });
      x += (value / most) * length;
      return rect;
    });
    const words = [done && `${done} done`, failed && `${failed} failed`, other && `${other} declined or cancelled`].filter(Boolean).join(", ");
    return h(
      "li",
      {},
      h("button", { class: "agent", type: "button", click: () => openAgent(name) }, name),
      svg(length + 40, 18, words, parts, h("text", { x: x + 6, y: 13 }, count(all))),
    );
  });
  return [h("ul", { class: "bars" }, rows)];
}
