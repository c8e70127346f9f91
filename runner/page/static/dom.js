// Elements and words. Text becomes text nodes and nothing else: what strangers wrote is never markup.

const SVG_TAGS = new Set(["svg", "g", "rect", "line", "text", "title", "path", "circle"]);

export function h(tag, attributes = {}, ...children) {
  const node = SVG_TAGS.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  return put(node, ...children);
}

// Replaces what `node` holds; lists are opened, and what is not there (null, false) is left out.
export function put(node, ...children) {
  node.replaceChildren(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== ""),
  );
  return node;
}

export const byId = (id) => document.getElementById(id);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Text that may run in either direction, kept from turning its neighbours around.
export const foreign = (text, attributes = {}) => h("bdi", { dir: "auto", ...attributes }, text);

// `words` in a matcher's reason stand out.
export const reason = (text) =>
  text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

export const issueLink = (mission) =>
  h(
    "a",
    { href: mission.url, target: "_blank", rel: "noopener noreferrer" },
    h("span", { class: "number" }, `#${mission.number}`),
    " ",
    foreign(mission.title),
  );

// A recalled work; of one that was erased since, only the figure stayed.
export const recalledName = ({ number, title }) => (title === null ? h("i", { class: "quiet" }, "erased") : [`#${number} `, foreign(title)]);

// Which element stands for which key; kept ones are updated in place, so that focus and motion survive.
export function keyed(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let node = old.get(name);
    if (node === undefined) {
      node = make(item);
      node.dataset.key = name;
    }
    old.delete(name);
    update(node, item);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of old.values()) node.remove();
}

const integer = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export const count = (value) => integer.format(value);
export const plural = (value, word, words = `${word}s`) => `${count(value)} ${value === 1 ? word : words}`;
export const percent = (share) => `${Math.round(share * 100)} %`;
export const dollars = (usd) => `$${usd.toFixed(usd !== 0 && Math.abs(usd) < 1 ? 4 : 2)}`;
export const at = (milliseconds) =>
  (Math.abs(Date.now() - milliseconds) < 72_000_000 ? clock : day).format(milliseconds);

export function duration(seconds) {
  if (seconds < 0.9995) return `${Math.max(Math.round(seconds * 1000), 0)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}
