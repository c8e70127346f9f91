// What plots share: when they are drawn, their axes, their words. SVG, no library.

import { byId, count, h, put } from "./dom.js";

export const HEIGHT = 170;
export const LEFT = 34;
export const BOTTOM = 22;
export const TOP = 10;
const drawn = new Map(); // element → what draws it

const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) drawn.get(target)?.();
});

// Draws into the element `id` with its width, again when figures or width change.
export function plot(id, figures, draw) {
  const node = byId(id);
  const text = JSON.stringify(figures);
  if (node.dataset.text === text) return;
  node.dataset.text = text;
  const show = () => {
    const width = Math.floor(node.clientWidth);
    if (width > 0) put(node, draw(width));
  };
  if (!drawn.has(node)) widths.observe(node);
  drawn.set(node, show);
  show();
}

export const empty = (text) => [h("p", { class: "empty" }, text)];

export const svg = (width, height, label, ...children) =>
  h("svg", { role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, width, height }, ...children);

// Steps of 1, 2 or 5 times a power of ten, at most four of them; whole ones where things are counted.
function ticks(most, whole) {
  const rough = whole ? Math.max(most / 4, 1) : most / 4 || 0.25;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough * 0.999);
  return Array.from({ length: Math.ceil(most / step - 0.001) + 1 }, (_, index) => index * step);
}

export function grid(width, most, { left = LEFT, show = count, values = ticks(most, show === count) } = {}) {
  const top = values.at(-1);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
  const lines = values.flatMap((value) => [
    h("line", { class: value ? "grid" : "axis", x1: left, x2: width, y1: y(value), y2: y(value) }),
    h("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, show(value)),
  ]);
  return { y, lines };
}
