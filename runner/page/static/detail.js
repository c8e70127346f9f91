// One mission or one agent in full, in a sheet over the page; #mission=… and #agent=… lead straight to it.

import { at, byId, count, dollars, duration, foreign, h, issueLink, percent, plural, put, reason, recalledName } from "./dom.js";

export const openMission = (id) => go("mission", id);
export const openAgent = (name) => go("agent", name);

function go(kind, key) {
  location.hash = `${kind}=${encodeURIComponent(key)}`;
}

const sheet = byId("detail");
sheet.addEventListener("close", () => {
  if (location.hash) history.replaceState(null, "", location.pathname);
});
sheet.addEventListener("click", (event) => {
  if (event.target === sheet) sheet.close(); // the backdrop
});

export async function openFromAddress() {
  const [kind, key] = location.hash.slice(1).split("=", 2);
  if (!key || !["mission", "agent"].includes(kind)) {
    sheet.close();
    return;
  }
  const body = byId("detail-body");
  const response = await fetch(`/api/${kind}s/${key}`).catch(() => null);
  if (!response?.ok) {
    put(body, h("h2", { id: "detail-title" }, response?.status === 404 ? `There is no such ${kind}.` : "It cannot be read now."));
  } else {
    const text = await response.text();
    if (!sheet.open || body.dataset.text !== text) {
      body.dataset.text = text;
      const shown = kind === "mission" ? mission(JSON.parse(text)) : agent(JSON.parse(text));
      put(body, shown);
    }
  }
  if (!sheet.open && location.hash) sheet.showModal();
}

// With each snapshot, what is open is read anew.
export function refresh() {
  if (sheet.open) openFromAddress();
}

const section = (title, ...children) => [h("h3", {}, title), ...children];
const facts = (rows) =>
  h("dl", { class: "facts" }, rows.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
const link = (url, text) => h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text);
const agentLink = (name) => h("button", { class: "agent", type: "button", click: () => openAgent(name) }, name);

function bar(share, state) {
  const node = h("span", { class: "meter", "aria-hidden": "true" }, h("span", { class: `fill ${state}` }));
  node.firstChild.style.setProperty("width", `${Math.max(Math.min(share, 1), 0.01) * 100}%`);
  return node;
}

function mission(m) {
  const most = Math.max(...m.candidates.map(([, points]) => points), 1);
  const { claimed, accepted, finished } = m;
  return [
    h("p", {}, h("span", { class: `chip ${m.state}` }, m.state), h("span", { class: "quiet" }, ` ${m.repository}`)),
    h("h2", { id: "detail-title" }, issueLink(m)),
    m.reason && h("p", { class: m.state === "failed" ? "ending bad" : "ending" }, foreign(m.reason)),
    facts([
      ["agent", m.agent && agentLink(m.agent)],
      ["accepted", at(accepted)],
      ["waited", claimed && duration((claimed - accepted) / 1000)],
      ["worked", claimed && finished && duration((finished - claimed) / 1000)],
      ["why it exists", m.event],
      ["author", foreign(m.author)],
      ["labels", m.labels.length > 0 && m.labels.map((label) => h("span", { class: "tag" }, foreign(label)))],
      ["region", m.region && `${m.region}, zone ${m.zone}`],
      ["attempts", m.attempts > 1 && count(m.attempts)],
      ["cost", (m.paid || m.usd > 0) && `${dollars(m.usd)}, ${plural(m.tokens, "token")}`],
      ["approved by", m.approvedBy],
      ["comment", m.comment && link(m.comment, "on the issue")],
      ["pull request", m.pullRequest && link(m.pullRequest, m.pullRequest.split("/").at(-1))],
    ]),
    section(
      "Why this agent",
      m.misroutedFrom && h("p", {}, "A person's label chose it; the matcher had chosen ", agentLink(m.misroutedFrom), "."),
      h("ol", { class: "candidates" }, m.candidates.map(([name, points]) => h("li", {}, agentLink(name), bar(points / most, name === m.agent ? "running" : "queued"), h("b", {}, points.toFixed(1))))),
      h("ul", { class: "reasons" }, m.why.map((text) => h("li", {}, reason(text)))),
    ),
    section("Recalled", recalled(m)),
    section("Outcome", outcome(m)),
    m.answer && section("Answer", h("pre", { dir: "auto" }, m.answer)),
    m.effects.length > 0 && section("On GitHub", h("ul", { class: "rows" }, m.effects.map(({ kind, done, refused, error }) => h("li", {}, h("b", {}, kind.replace("_", " ")), h("span", {}, done ? `done at ${at(done)}` : refused ? "refused: " : "waits ", !done && error && foreign(error)))))),
    m.body && section("Issue", h("pre", { dir: "auto" }, m.body)),
  ];
}

function recalled({ recalled: works, control, state }) {
  if (works === null) {
    const why = control ? "This mission works without memory, to measure what memory is worth." : "Memory was not asked.";
    return h("p", { class: "quiet" }, ["running", "queued", "waiting"].includes(state) && !control ? "Not yet asked." : why);
  }
  if (works.length === 0) return h("p", { class: "quiet" }, "Nothing similar among this agent's proven successes.");
  return h("ol", { class: "candidates" }, works.map((work) => h("li", {}, h("span", {}, recalledName(work)), bar(work.similarity, "done"), h("b", {}, percent(work.similarity)), work.why && h("small", {}, work.why))));
}

function outcome({ outcome: known }) {
  if (known === null) return h("p", { class: "quiet" }, "None was remembered.");
  const words = { pending: "Pending: the repository has not judged it yet.", succeeded: "Proven, so it may be recalled", failed: "Refuted, so it is never recalled" };
  return h("p", {}, words[known.state], known.by && [" (", foreign(known.by), ", ", at(known.at), ")"]);
}

function agent(a) {
  const { outcomes } = a;
  return [
    h("p", { class: "quiet" }, `${a.region} · ${a.location} · zone ${a.zone}`),
    h("h2", { id: "detail-title" }, a.name),
    h("p", { class: "lead" }, a.description),
    facts([
      ...Object.entries(a.states).map(([state, value]) => [state, count(value)]),
      ["proven", outcomes && count(outcomes.proven)],
      ["pending", outcomes && count(outcomes.pending)],
      ["refuted", outcomes && count(outcomes.refuted)],
      ["mean time", outcomes?.seconds !== null && outcomes?.seconds !== undefined && duration(outcomes.seconds)],
      ["specialization", a.specialization],
      ["personality", a.personality],
      ["tools", a.tools.join(", ")],
    ]),
    a.responsibilities.length > 0 && section("Responsibilities", h("ul", { class: "reasons" }, a.responsibilities.map((text) => h("li", {}, text)))),
    section(
      "Newest missions",
      a.missions.length === 0
        ? h("p", { class: "quiet" }, "None yet.")
        : h("ul", { class: "rows" }, a.missions.map((m) => h("li", {}, h("span", { class: `chip ${m.state}` }, m.state), h("button", { class: "mission", type: "button", click: () => openMission(m.id) }, `#${m.number} `, foreign(m.title))))),
    ),
  ];
}
