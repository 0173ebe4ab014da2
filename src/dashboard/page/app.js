"use strict";

// All text that comes from outside goes through textContent: the page makes no markup of it.

const MAX_REQUESTS = 200;
const MAX_POINTS = 300;
const WINDOW = 10;
// A certificate with fewer days left is marked.
const EXPIRES_SOON = 14;
// The name of the token in the storage of the tab, which belongs to this host and port.
const TOKEN = "token";
const byId = (id) => document.getElementById(id);
const state = { points: [], requests: [], hasRequests: false, paused: false, waiting: [], offset: 0, now: null, cleared: 0, query: "" };

// ---- Figures as people read them.

const grouped = (number) => number.toLocaleString("en-US");
const counted = (number, one, many) => `${grouped(number)} ${number === 1 ? one : many}`;
const percent = (share) => (share === null ? "–" : `${(share * 100).toFixed(share > 0 && share < 1 ? 1 : 0)} %`);

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? bytes : bytes.toFixed(1)} ${units[unit]}`;
}

function millis(number) {
  if (number === null) return "–";
  if (number === 0) return "0\u00a0ms";
  if (number >= 10000) return `${Math.round(number / 1000)}\u00a0s`;
  if (number >= 1000) return `${(number / 1000).toFixed(1)}\u00a0s`;
  return `${number >= 10 ? Math.round(number) : number.toFixed(1)}\u00a0ms`;
}

function duration(seconds) {
  if (seconds < 10) return `${Number.isInteger(seconds) ? seconds : seconds.toFixed(1)} s`;
  const parts = [[Math.floor(seconds / 86400), "d"], [Math.floor(seconds / 3600) % 24, "h"], [Math.floor(seconds / 60) % 60, "min"], [Math.floor(seconds) % 60, "s"]];
  const first = parts.findIndex(([number]) => number > 0);
  return parts.slice(first, first + 2).filter(([number]) => number > 0).map(([number, unit]) => `${number} ${unit}`).join(" ");
}

function ago(time) {
  const seconds = Math.max(0, Math.round((Date.now() - time) / 1000));
  return seconds < 2 ? "just now" : `${duration(seconds)} ago`;
}

const plain = (name) => name.replace(/^origin-/, "").replaceAll("-", " ");

function show(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// ---- Plots.

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The places of those values that are there, in runs: between two runs nothing was measured for more than `reach`
// seconds, and no line is to suggest otherwise.
function runs(values, reach) {
  const found = [];
  let last = -Infinity;
  values.forEach((value, index) => {
    if (value === null) return;
    if (index - last > reach) found.push([]);
    found[found.length - 1].push([index, value]);
    last = index;
  });
  return found;
}

// `series`: class and values (null: nothing to show), the newest last. `top` is the value of the upper edge, `reach` for
// how many seconds a value speaks.
function plot(id, series, top, label, reach, filled) {
  const target = byId(id);
  const width = Math.max(target.clientWidth, 120);
  const height = target.clientHeight || 168;
  const [left, right, above, below] = [46, 4, 8, 20];
  const x = (index, length) => left + ((MAX_POINTS - length + index) / (MAX_POINTS - 1)) * (width - left - right);
  const y = (value) => above + (1 - Math.min(value / top, 1)) * (height - above - below);
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    parts.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(share * top), y2: y(share * top) }));
    parts.push(svg("text", { x: left - 8, y: y(share * top) + 4, "text-anchor": "end" }, label(share * top)));
  }
  for (const [index, text, anchor] of [[0, "5 min ago", "start"], [MAX_POINTS - 1, "now", "end"]]) {
    parts.push(svg("text", { x: x(index, MAX_POINTS), y: height - 4, "text-anchor": anchor }, text));
  }
  for (const [name, values] of series) {
    for (const run of runs(values, reach)) {
      const places = run.map(([index, value]) => [x(index, values.length).toFixed(1), y(value).toFixed(1)]);
      const [first, last] = [places[0], places[places.length - 1]];
      if (places.length === 1) {
        parts.push(svg("circle", { class: name, cx: last[0], cy: last[1], r: 2 }));
        continue;
      }
      const path = `M${places.map((place) => place.join(" ")).join("L")}`;
      if (filled) parts.push(svg("path", { class: `area ${name}`, d: `${path}L${last[0]} ${y(0)}L${first[0]} ${y(0)}Z` }));
      parts.push(svg("path", { class: `line ${name}`, d: path }));
      // What is still going on ends in a dot.
      if (values.length - run[run.length - 1][0] <= reach) parts.push(svg("circle", { class: name, cx: last[0], cy: last[1], r: 3 }));
    }
  }
  target.setAttribute("viewBox", `0 0 ${width} ${height}`);
  target.replaceChildren(...parts);
}

// The ratio over the seconds up to each.
function ratios() {
  return state.points.map((_, index) => {
    const seconds = state.points.slice(Math.max(0, index - WINDOW + 1), index + 1);
    const requests = seconds.reduce((sum, point) => sum + point.requests, 0);
    return requests === 0 ? null : seconds.reduce((sum, point) => sum + point.from_cache, 0) / requests;
  });
}

function roundTop(value) {
  const step = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 4, 5, 10].map((factor) => factor * step).find((top) => top >= value) || 10 * step;
}

function drawPlots() {
  plot("ratio-plot", [["hit", ratios()]], 1, (share) => `${Math.round(share * 100)} %`, 1, true);
  const p90 = state.points.map((point) => point.p90_millis);
  const p50 = state.points.map((point) => point.p50_millis);
  const top = roundTop(Math.max(10, ...p90.filter((value) => value !== null)));
  plot("latency-plot", [["stale", p90], ["miss", p50]], top, millis, WINDOW, false);
}

// ---- What the proxy tells each second.

function showNow(now) {
  state.now = now;
  const { report } = now;
  const { saved, origin, cache } = report;
  show("origin-url", now.origin_url);
  show("about", ` on port ${now.port} · ${now.policy} · up ${duration(report.uptime_seconds)}`);
  show("try", `curl http://localhost:${now.port}/`);
  show("ratio", percent(report.hit_ratio));
  show("ratio-note", report.requests === 0 ? "No requests yet" : `of ${counted(report.requests, "request", "requests")}`);
  show("saved-requests", grouped(saved.requests));
  show("saved-bytes", `and ${size(saved.bytes)} from the origin`);
  show("saved-time", duration(saved.millis / 1000));
  show("latency", millis(origin.p50_millis));
  show("latency-note", origin.p90_millis === null ? "No response yet" : `estimated; p90 ${millis(origin.p90_millis)} · p99 ${millis(origin.p99_millis)}`);
  showOrigin(origin, report, cache);
  if (cache) {
    show("memory-used", size(cache.used_bytes));
    show("memory-limit", `of ${size(cache.limit_bytes)}`);
    byId("memory").value = Math.min(1, cache.used_bytes / cache.limit_bytes);
    show("memory-note", `${counted(cache.entries, "response", "responses")} cached, ${grouped(cache.evictions)} evicted`);
  } else {
    show("memory-note", "The cache does not respond.");
  }
  const disk = report.disk;
  byId("disk-note").hidden = !disk;
  if (disk) {
    const state = disk.bypassed ? `; not in use: ${disk.bypassed}` : "";
    show("disk-note", `On disk: ${counted(disk.responses, "response", "responses")}, ${size(disk.bytes)} of ${size(disk.limit_bytes)}${state}`);
  }
  const shared = report.shared;
  byId("shared-note").hidden = !shared;
  if (shared) {
    const state = shared.bypassed ? `; not in use: ${shared.bypassed}` : "";
    show("shared-note", `Shared by ${counted(shared.instances.length, "proxy", "proxies")}: ${grouped(shared.found)} of ${counted(shared.lookups, "lookup", "lookups")} found${state}`);
  }
  showClients(report);
  showReasons(report);
  byId("not-shown").hidden = now.not_shown === 0;
  show("not-shown", `${counted(now.not_shown, "request", "requests")} came too fast to list; the totals include them.`);
}

// The state of an origin: its colour, and a text.
function originState(origin, isAvoided) {
  if (origin.paused_seconds !== null) return ["bad", `Paused for ${origin.paused_seconds} s, as it has asked for`];
  if (isAvoided) return ["bad", "Avoided after a failure"];
  if (origin.last_failure === null && origin.last_answer === null) return ["unknown", "No requests yet"];
  const failedLast = origin.last_failure !== null && origin.last_failure >= (origin.last_answer || 0);
  return failedLast ? ["bad", "Failing"] : ["good", "Responding"];
}

function showOrigin(origin, report, cache) {
  const several = report.origins.map((one) => ({ ...one, state: originState(one, one.is_avoided) }));
  const failing = several.filter((one) => one.state[0] === "bad").length;
  const [colour, text] = report.is_offline ? ["unknown", "Offline: not contacted"] : failing === 0 && several.length > 0
    ? (origin.last_answer === null ? ["unknown", "No requests yet"] : ["good", "Responding"])
    : several.length > 0 ? ["bad", `${failing} of ${several.length} failing`] : originState(origin, false);
  byId("origin-state").dataset.state = colour;
  show("origin-text", text);
  showOrigins(several);
  show("last-answer", origin.last_answer === null ? "–" : ago(origin.last_answer));
  show("last-failure", origin.last_failure === null ? "none" : `${ago(origin.last_failure)} (${plain(origin.last_failure_kind)})`);
  show("origin-answers", grouped(origin.answers));
  show("origin-failures", grouped(origin.failures));
  show("received", size(report.received_bytes));
  show("fetches", cache ? grouped(cache.fetches) : "–");
  const { tunnels } = report;
  show("tunnels", tunnels.total === 0 ? "0" : `${grouped(tunnels.open)} of ${grouped(tunnels.total)} (${size(tunnels.to_origin_bytes + tunnels.to_client_bytes)})`);
}

// Several origins: each with its state and figures, the failing ones first. The list scrolls.
function showOrigins(origins) {
  byId("origins").hidden = origins.length === 0;
  const rank = { bad: 0, good: 1, unknown: 2 };
  origins.sort((one, other) => rank[one.state[0]] - rank[other.state[0]] || other.answers - one.answers);
  const text = JSON.stringify(origins);
  if (showOrigins.shown === text) return;
  showOrigins.shown = text;
  byId("origins").replaceChildren(...origins.map((one) => {
    const row = element("li");
    const name = element("span", "name path");
    name.dataset.state = one.state[0];
    const dot = element("span", "dot");
    dot.setAttribute("aria-hidden", "true");
    name.append(dot, one.origin);
    const latency = one.p50_millis === null ? "" : ` · median ${millis(one.p50_millis)} · p99 ${millis(one.p99_millis)}`;
    row.append(name, element("span", "count", grouped(one.answers)));
    row.append(element("span", "hint", `${one.state[1]}${latency} · ${counted(one.failures, "failure", "failures")}`));
    return row;
  }));
}

// A protocol of the report, such as `h2 tls`.
function protocol(name) {
  const [version, layer] = name.split(" ");
  return `${{ "http/1.1": "HTTP/1.1", h2: "HTTP/2" }[version] || version} ${layer === "tls" ? "over TLS" : "without TLS"}`;
}

// What clients speak, and which certificates they get. A certificate that ends soon is marked.
function showClients({ clients, certificates }) {
  showRows("protocols", Object.entries(clients.requests).map(([name, count]) => [protocol(name), grouped(count)]));
  const { tls_connections, plain_connections } = clients;
  const failed = Object.values(clients.failed_handshakes).reduce((sum, count) => sum + count, 0);
  const handshakes = failed === 0 ? "" : `; ${counted(failed, "TLS handshake", "TLS handshakes")} failed`;
  show("clients-note", `Connections: ${grouped(plain_connections)} without TLS, ${grouped(tls_connections)} with TLS${handshakes}`);
  showRows("certificates", certificates.map(({ name, source, not_after, seconds_left }) => {
    const days = Math.floor(seconds_left / 86400);
    const left = seconds_left === 0 ? "expired" : counted(days, "day", "days");
    const end = new Date(not_after).toISOString().slice(0, 10);
    return [name, left, `${source} · valid until ${end}`, days < EXPIRES_SOON ? "bad" : "good"];
  }));
}

const shownRows = {};

// Rows of a name, a count, a hint and the state of a dot; the last two may be missing.
function showRows(id, rows) {
  const list = byId(id);
  list.hidden = rows.length === 0;
  const text = JSON.stringify(rows);
  if (shownRows[id] === text) return;
  shownRows[id] = text;
  list.replaceChildren(...rows.map(([name, count, hint, dot]) => {
    const row = element("li");
    const title = element("span", dot ? "name" : "");
    if (dot) {
      title.dataset.state = dot;
      const mark = element("span", "dot");
      mark.setAttribute("aria-hidden", "true");
      title.append(mark);
    }
    title.append(name);
    row.append(title, element("span", "count", count));
    if (hint) row.append(element("span", "hint", hint));
    return row;
  }));
}

function showReasons(report) {
  const causes = [
    ...report.not_stored_by.map((cause) => [cause, "not stored: "]),
    ...report.not_reused_by.map((cause) => [cause, "not reused: "]),
    ...report.failed_by.map((cause) => [cause, "failed: "]),
    ...report.misses_by.map((cause) => [cause, ""]),
  ].sort(([one], [other]) => other.count - one.count).slice(0, 7);
  byId("reasons-empty").hidden = causes.length > 0;
  const text = JSON.stringify(causes);
  if (showReasons.shown === text) return;
  showReasons.shown = text;
  byId("reasons").replaceChildren(...causes.map(([cause, kind]) => {
    const row = element("li");
    row.append(element("span", "", kind + cause.name), element("span", "count", grouped(cause.count)));
    if (cause.hint) row.append(withRemedy("hint", "", cause.hint));
    return row;
  }));
}

// A hint that begins with a setting shows it as what is to be typed.
function withRemedy(className, before, hint) {
  const line = element("span", className, before);
  const setting = /^(\w+ = (?:true|"\w+")|ignore_client_cache_control|raise --\S+)(.*)$/.exec(hint);
  if (!setting) {
    line.append(hint);
    return line;
  }
  const remedy = element("span", "remedy");
  remedy.append(element("code", "", setting[1]), setting[2]);
  line.append(remedy);
  return line;
}

// ---- Requests.

const clock = (time) => new Date(time).toLocaleTimeString("en-GB");
const NOT_MATTERS = new Set(["uri-miss", null]);

function requestRow(seen) {
  const row = element("li");
  row.append(element("span", `badge ${seen.outcome}`, seen.outcome), element("span", "status", seen.status === null ? "–" : String(seen.status)));
  const target = element("span", "target path");
  target.append(element("span", "method", `${seen.method} `), seen.target);
  row.append(target, element("span", "number millis", `${grouped(seen.millis)} ms`), element("span", "number bytes", size(seen.bytes)));
  row.title = clock(seen.at);
  const isPlain = NOT_MATTERS.has(seen.reason);
  if (seen.remedy) row.append(withRemedy("why", `${seen.reason} · `, seen.remedy));
  else if (seen.problem) row.append(element("span", "why", seen.problem));
  else if (!isPlain) row.append(element("span", "why", seen.reason));
  return row;
}

function addRequests(list) {
  if (state.paused) {
    state.waiting = [...state.waiting, ...list].slice(-MAX_REQUESTS);
    show("pause", `Resume (${state.waiting.length})`);
    return;
  }
  const rows = byId("requests");
  for (const seen of list) {
    const row = requestRow(seen);
    // What was asked before the page was opened is no news.
    if (state.hasRequests) row.classList.add("new");
    rows.prepend(row);
  }
  while (rows.children.length > MAX_REQUESTS) rows.lastElementChild.remove();
  state.hasRequests = true;
  byId("requests-empty").hidden = rows.children.length > 0;
}

byId("pause").addEventListener("click", () => {
  state.paused = !state.paused;
  byId("pause").setAttribute("aria-pressed", String(state.paused));
  show("pause", state.paused ? "Resume" : "Pause");
  if (!state.paused) {
    addRequests(state.waiting);
    state.waiting = [];
  }
});

// ---- What is stored.

function fresh(entry) {
  if (entry.is_stale) return "stale";
  return entry.fresh_seconds === null ? "until cleared" : `fresh for ${duration(Math.max(0, entry.fresh_seconds))}`;
}

function entryRow(entry) {
  const row = element("li");
  const target = element("span", "target path");
  if (entry.method !== "GET") target.append(element("span", "method", `${entry.method} `));
  // What is no name says how the client has reached the proxy.
  const isName = /^[^ /]+$/.test(entry.host || "");
  target.append((isName ? entry.host : "") + entry.path);
  const notes = [];
  if (entry.host && !isName) notes.push(entry.host);
  if (entry.variants > 1) notes.push(`${entry.variants} variants`);
  if (entry.is_own) notes.push("one user's");
  if (entry.provenance) notes.push(entry.provenance);
  if (notes.length > 0) target.append(element("span", "method", ` (${notes.join(", ")})`));
  const purge = element("button", "", "Purge");
  purge.type = "button";
  purge.setAttribute("aria-label", `Purge ${entry.path}`);
  purge.addEventListener("click", () => remove("/api/purge", { path: entry.path }));
  row.append(
    element("span", "status", String(entry.status)), target, element("span", "number hits", counted(entry.hits, "hit", "hits")),
    element("span", "number size", size(entry.body_bytes)), element("span", "number", fresh(entry)), purge,
  );
  return row;
}

async function loadEntries(offset) {
  const query = byId("query").value.trim();
  const parameters = new URLSearchParams({ q: query, sort: byId("sort").value, offset: String(offset) });
  const answer = await request(`/api/entries?${parameters}`);
  if (!answer) return;
  if (answer.status === 403) return lock();
  if (!answer.ok) return say(await answer.text(), true);
  const listing = await answer.json();
  state.query = query;
  state.offset = offset + listing.entries.length;
  const rows = listing.entries.map(entryRow);
  if (offset === 0) byId("entries").replaceChildren(...rows);
  else byId("entries").append(...rows);
  byId("more").hidden = listing.more === 0;
  byId("entries-empty").hidden = listing.total > 0;
  show("entries-empty", query === "" ? "The cache is empty." : "No cached response matches.");
  show("entries-note", listing.total === 0 ? "" : `${grouped(listing.total)}${query === "" ? "" : " found"}, ${size(listing.bytes)}`);
  byId("purge-found").disabled = query === "" || listing.total === 0;
}

async function remove(path, body) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await request(path, options);
  if (!answer) return say("The proxy does not respond.", true);
  if (answer.status === 403) return lock();
  if (!answer.ok) return say(await answer.text(), true);
  const removed = await answer.json();
  const onDisk = removed.on_disk > 0 ? `; on disk: ${grouped(removed.on_disk)}` : "";
  const elsewhere = removed.unconfirmed === "" ? "" : ` ${removed.unconfirmed}.`;
  const done = path === "/api/clear" ? "Cleared" : "Purged";
  say(`${done} ${counted(removed.entries, "response", "responses")}, ${size(removed.bytes)}${onDisk}.${elsewhere}`, elsewhere !== "");
  await loadEntries(0);
}

function say(text, isBad) {
  byId("done").classList.toggle("bad", isBad);
  show("done", text.trim());
}

function ask(title, text, yes) {
  show("ask-title", title);
  show("ask-text", text);
  show("ask-yes", yes);
  const dialog = byId("ask");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  say("", false);
  loadEntries(0);
});
byId("sort").addEventListener("change", () => loadEntries(0));
byId("query").addEventListener("search", () => loadEntries(0));
byId("more").addEventListener("click", () => loadEntries(state.offset));
byId("purge-found").addEventListener("click", async () => {
  const { query } = state;
  if (await ask(`Purge ${query}?`, "Removes the responses found; the next requests for them go to the origin.", "Purge")) {
    await remove("/api/purge", { path: query });
  }
});
byId("clear").addEventListener("click", async () => {
  if (await ask("Clear all?", "Removes all cached responses; the next requests go to the origin.", "Clear all")) {
    await remove("/api/clear", {});
  }
});

// ---- The connection.

function showLive(live, text) {
  byId("live").dataset.state = live;
  show("live-text", text);
}

function lock() {
  sessionStorage.removeItem(TOKEN);
  byId("page").hidden = true;
  byId("locked").hidden = false;
  showLive("lost", "Locked");
}

// A response to a request with the token; null without a connection.
function request(path, { headers, ...options } = {}) {
  const authorization = { Authorization: `Bearer ${sessionStorage.getItem(TOKEN)}` };
  return fetch(path, { ...options, headers: { ...headers, ...authorization } }).catch(() => null);
}

let stored = null;
let isNew = true;

const EVENTS = {
  past(points) {
    state.points = points.slice(0, -1);
    byId("requests").replaceChildren();
    state.waiting = [];
  },
  now(now) {
    showLive("live", "Live");
    state.points = [...state.points, now.point].slice(-MAX_POINTS);
    showNow(now);
    drawPlots();
    const { cache } = now.report;
    const entries = cache ? `${cache.entries} ${cache.stored_bytes}` : null;
    // The list is asked for anew when it has changed and nobody is in the middle of it.
    const isUsed = byId("entries").contains(document.activeElement) || state.offset > 50;
    if (isNew || (entries !== stored && !isUsed && state.query === byId("query").value.trim())) loadEntries(0);
    stored = entries;
    isNew = false;
  },
  requests: addRequests,
};

// Calls a function of EVENTS for each event of a body: a line with its name, a line with its data, an empty line.
// An EventSource could not send the token in a header.
async function readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    // Most of a long event is read before its end: it is searched once.
    if (!value.includes("\n")) continue;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(event) || [];
      if (Object.hasOwn(EVENTS, name)) EVENTS[name](JSON.parse(data));
    }
  }
}

async function listen() {
  for (;;) {
    isNew = true;
    const answer = await request("/events");
    if (answer && answer.status === 403) return lock();
    if (answer && answer.ok) await readEvents(answer.body).catch(() => null);
    showLive("lost", "Connection lost, reconnecting");
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

// The token of a link is kept for this tab, so that a reload works, and does not stay in the address bar.
function keepToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return false;
  sessionStorage.setItem(TOKEN, token);
  history.replaceState(null, "", location.pathname);
  return true;
}

window.addEventListener("resize", drawPlots);
// A link that is opened in this tab changes the fragment only.
window.addEventListener("hashchange", () => keepToken() && location.reload());
keepToken();
if (sessionStorage.getItem(TOKEN)) listen();
else lock();
