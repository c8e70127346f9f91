// The agents by region: quiet tiles that come alive when their agent works.

import { openAgent } from "./detail.js";
import { byId, count, h, keyed, plural, setText } from "./dom.js";

const MANY = 150; // then a tile is a square without its name

export function showFleet(regions) {
  const parent = byId("regions");
  parent.classList.toggle("many", regions.reduce((sum, region) => sum + region.agents.length, 0) > MANY);
  keyed(parent, regions, (region) => region.name, makeRegion, updateRegion);
}

function makeRegion(region) {
  const heading = h("h3", {}, region.name, " ", h("small", {}, `${region.location} · zone ${region.zone}`), h("small", { class: "ready" }));
  const label = `Agents in ${region.name}; arrow keys move between them`;
  return h("section", { class: "region" }, heading, h("div", { class: "tiles", role: "group", "aria-label": label, keydown: move }));
}

function updateRegion(node, region) {
  const ready = region.agents.filter(([, presence]) => presence === "ready").length;
  const drafts = region.drafts.length ? `, ${plural(region.drafts.length, "draft")}` : "";
  setText(node.querySelector(".ready"), `${count(ready)} of ${count(region.agents.length)} ready${drafts}`);
  const tiles = node.querySelector(".tiles");
  keyed(tiles, region.agents, ([name]) => name, makeTile, updateTile);
  if (!tiles.querySelector("[tabindex='0']")) tiles.firstElementChild?.setAttribute("tabindex", "0");
}

function makeTile([name]) {
  return h(
    "button",
    { class: "tile", type: "button", tabindex: "-1", click: () => openAgent(name) },
    h("i", { class: "dot" }),
    h("span", { class: "name" }, name),
    h("span", { class: "working" }),
    h("span", { class: "queued" }),
    h("span", { class: "done" }),
  );
}

function updateTile(node, [name, presence, working, queued, done, failed]) {
  const before = node.dataset.done;
  node.dataset.presence = presence;
  node.dataset.working = working > 0;
  node.dataset.done = done;
  const [, , work, queue, ended] = node.children;
  setText(work, working ? count(working) : "");
  setText(queue, queued ? `+${count(queued)}` : "");
  setText(ended, done ? count(done) : "");
  const parts = [presence, working && `${count(working)} in work`, queued && `${count(queued)} queued`, `${count(done)} done`, failed && `${count(failed)} failed`];
  const label = `${name}: ${parts.filter(Boolean).join(", ")}`;
  if (node.title !== label) {
    node.title = label;
    node.setAttribute("aria-label", label);
  }
  if (before !== undefined && Number(before) < done) {
    node.classList.remove("just-done");
    void node.offsetWidth; // lets the same animation run again
    node.classList.add("just-done");
  }
}

// One tab stop a region; arrows go on from there.
function move(event) {
  const tiles = [...event.currentTarget.children];
  const here = tiles.indexOf(document.activeElement);
  if (here < 0) return;
  const top = tiles[0].offsetTop;
  const columns = Math.max(tiles.filter((tile) => tile.offsetTop === top).length, 1);
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -here, End: tiles.length - 1 - here };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const next = tiles[here + steps[event.key]];
  if (next === undefined) return;
  tiles[here].setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}
