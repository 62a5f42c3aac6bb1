// The page: asks every two seconds, and shows what came.
import * as api from "./api.js";
import { Chart } from "./chart.js";
import { detail } from "./detail.js";
import { announce, toast } from "./dialog.js";
import * as edit from "./edit.js";
import { $, ago, bytesPerSecond, clock, count, h, latency, perSecond, plural, put, size, span } from "./format.js";
import { Table } from "./table.js";

const state = { q: "", state: "", sort: "address", desc: false, page: 1, paused: false, history: [], view: null, shift: 0, failed: 0, started: "", open: null, warned: new Map() };
const now = () => Date.now() + state.shift; // the server's clock
const minutes = () => Number($("window").value);
const writable = () => Boolean(state.view && state.view.writable && api.unlocked());
let timer = 0, asking = false, again = false;

const exportTable = new Table($("exporttable"), {
  caption: "Exports", empty: "Loading…", key: (e) => e.address, onopen: open, onsort: sortBy,
  columns: [
    { label: "Address", sort: "address", head: true, cell: (e) => ({ text: e.address, link: e.address, sub: e.name }) },
    { label: "State", sort: "state", bare: true, cell: (e) => ({ text: e.state + (e.unsaved ? " *" : ""), state: e.state, sub: [e.read_only && "read-only", e.why, e.errors && plural(e.errors, "error", "errors")].filter(Boolean).join("; ") }) },
    { label: "Source", sort: "source", wide: true, class: "src", bare: true, cell: (e) => e.source },
    { label: "Size", sort: "size", num: true, cell: (e) => size(e.sectors) },
    { label: "Interfaces", cell: (e) => e.served.join(", ") || "–" },
    { label: "Initiators", sort: "initiators", num: true, cell: (e) => count(e.users) },
    { label: "Read", sort: "read", num: true, cell: (e) => bytesPerSecond(e.now.r) },
    { label: "Written", sort: "write", num: true, cell: (e) => bytesPerSecond(e.now.w) },
    { label: "Requests", sort: "ops", num: true, cell: (e) => perSecond(e.now.ro + e.now.wo) },
    { label: "Latency 99 %", sort: "latency", num: true, cell: (e) => latency(e.now.p99) },
  ],
});
const initiatorTable = new Table($("initiatortable"), {
  caption: "Initiators", empty: "Loading…", key: (p) => p.mac,
  columns: [
    { label: "Initiator", head: true, wide: true, cell: (p) => ({ text: p.name || p.mac || "all others", sub: p.name ? p.mac : "" }) },
    { label: "Interface", cell: (p) => p.interface || "–" },
    { label: "Exports", cell: (p) => p.exports.slice(0, 4).join(", ") + (p.exports.length + (p.more || 0) > 4 ? " and " + (p.exports.length + (p.more || 0) - 4) + " more" : "") },
    { label: "Read", num: true, cell: (p) => bytesPerSecond(p.r) },
    { label: "Written", num: true, cell: (p) => bytesPerSecond(p.w) },
    { label: "Requests", num: true, cell: (p) => perSecond(p.ops) },
    { label: "Seen again", num: true, cell: (p) => count(p.retransmits) },
    { label: "Refused", num: true, cell: (p) => count(p.denied) },
    { label: "Last seen", cell: (p) => ago(p.last_seen, now()) },
  ],
});
const interfaceTable = new Table($("interfacetable"), {
  caption: "Interfaces", empty: "Loading…", key: (i) => i.name,
  columns: [
    { label: "Interface", head: true, cell: (i) => i.name },
    { label: "State", bare: true, cell: (i) => ({ text: i.state === "serving" && !i.up ? "link down" : i.state, state: i.state === "serving" && !i.up ? "problem" : i.state, sub: i.why }) },
    { label: "MAC address", cell: (i) => i.mac || "–" },
    { label: "MTU", num: true, cell: (i) => (i.mtu ? String(i.mtu) : "–") },
    { label: "Exports", num: true, cell: (i) => count(i.exports) },
    { label: "Received", num: true, cell: (i) => bytesPerSecond(i.rx) },
    { label: "Sent", num: true, cell: (i) => bytesPerSecond(i.tx) },
    { label: "Frames", num: true, cell: (i) => perSecond(i.rx_ops + i.tx_ops) },
    { label: "Lost in the ring", num: true, cell: (i) => count(i.dropped) },
  ],
});
const charts = [
  new Chart($("chartbox"), { title: "Throughput", format: bytesPerSecond, floor: 1000, series: [{ key: "r", label: "Read" }, { key: "w", label: "Written" }] }),
  new Chart($("chartbox"), { title: "Requests", format: perSecond, floor: 10, series: [{ key: "ro", label: "Reads" }, { key: "wo", label: "Writes" }] }),
  new Chart($("chartbox"), { title: "Latency", format: latency, floor: 100, series: [{ key: "p50", label: "Median" }, { key: "p99", label: "99 %" }] }),
];

// ---- asking

async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  clearTimeout(timer);
  try {
    const p = new URLSearchParams({ page: state.page, sort: state.sort, dir: state.desc ? "desc" : "asc" });
    if (state.q) p.set("q", state.q);
    if (state.state) p.set("state", state.state);
    const v = await api.get("view?" + p);
    state.shift = v.at - Date.now();
    await past(v);
    answered();
    show(v);
    if (state.open) state.open.update();
  } catch (err) {
    unanswered(err);
  } finally {
    asking = false;
    plan();
    if (again) {
      again = false;
      refresh();
    }
  }
}

// past gets the points that are missing: all on a fresh page, after a restart of goaoe, and after the page was out of sight.
async function past(v) {
  const last = state.history.length ? state.history[state.history.length - 1].t : 0;
  if (v.status.started !== state.started) state.history = [];
  else if (v.totals.point.t === last) return;
  state.started = v.status.started;
  const since = state.history.length ? last : 0;
  const more = since && v.totals.point.t - since < 4000 ? [v.totals.point] : (await api.get("history?since=" + since)).points;
  state.history = [...state.history, ...more].filter((p) => p.t > v.at - 15 * 60000);
}

function plan() {
  clearTimeout(timer);
  if (state.paused || document.hidden) return;
  timer = setTimeout(refresh, Math.min(15000, (state.view ? state.view.every : 2000) * (state.failed ? 1 + state.failed / 2 : 1)));
}

function answered() {
  if (state.failed) {
    announce("goaoe answers again.");
    $("gone").hidden = true;
    document.documentElement.classList.remove("stale");
  }
  state.failed = 0;
}

function unanswered(err) {
  if (!state.failed++) {
    const text = err.code === "gone" ? "Since " + clock(Date.now()) + ": " + err.message + ". Trying again…" : err.text;
    put($("gone"), text + (state.view ? " What you see below is what it said last." : ""));
    $("gone").hidden = false;
    document.documentElement.classList.add("stale");
    pill("gone", "No answer");
    if (!state.view) {
      put($("warnings").firstElementChild, "Nothing is known yet.");
      for (const t of [exportTable, initiatorTable, interfaceTable]) t.say("Nothing is known yet.");
    }
  }
}

// ---- showing

function show(v) {
  state.view = v;
  state.page = v.page.number;
  const s = v.status;
  document.title = "goaoe on " + v.host;
  put($("title"), "goaoe on " + v.host);
  put($("facts"), "Version " + s.version + ", running for " + span(v.at - Date.parse(s.started)));
  $("unlock").hidden = !v.writable;
  put($("unlock"), api.unlocked() ? "Lock changes" : "Unlock changes");
  $("add").hidden = $("reload").hidden = !writable();
  put($("foot"), (s.config ? "Configuration: " + s.config + ". " : "") + "Counters since " + new Date(v.since).toLocaleString() + "." + (v.writable ? "" : " This page only shows: no token is set.") + (s.unsaved ? " * not saved: the next start does not know of it." : ""));
  warnings(v.warnings);
  tiles(v);
  charts.forEach((c) => c.show(state.history, minutes(), v.at));
  states(v);
  exportTable.sorted(state.sort, state.desc);
  exportTable.show(v.exports, v.totals.exports ? "No export matches." : "There are no exports yet. " + (writable() ? "Add one with the button above." : "Add one: goaoe add SHELF.SLOT SOURCE"));
  put($("found"), found(v));
  $("pager").hidden = v.page.pages < 2;
  put($("pageno"), "Page " + v.page.number + " of " + count(v.page.pages));
  $("prev").disabled = v.page.number <= 1;
  $("next").disabled = v.page.number >= v.page.pages;
  initiators(v);
  interfaceTable.show(v.interfaces, "No interface is served.");
}

function found(v) {
  const from = (v.page.number - 1) * v.page.size + 1;
  const all = v.page.found === v.totals.exports ? plural(v.page.found, "export", "exports") : count(v.page.found) + " of " + plural(v.totals.exports, "export", "exports");
  return v.page.pages > 1 ? count(from) + " to " + count(from + v.exports.length - 1) + " of " + all : v.totals.exports ? all : "";
}

function initiators(v) {
  const q = $("iq").value.trim().toLowerCase();
  const list = v.initiators.filter((p) => !q || (p.name || "").toLowerCase().includes(q) || p.mac.includes(q) || p.exports.includes(q));
  initiatorTable.show(list.slice(0, 100), v.initiators.length ? "No initiator matches." : "No initiator has asked for anything yet.");
}

function tiles(v) {
  const t = v.totals, p = t.point;
  const rows = [
    ["Exports served", count(t.states.serving || 0), " of " + count(t.exports)], ["Capacity", size(t.sectors), ""], ["Initiators", count(v.peers), ""],
    ["Read", bytesPerSecond(p.r), " " + perSecond(p.ro)], ["Written", bytesPerSecond(p.w), " " + perSecond(p.wo)], ["Latency 99 %", latency(p.p99), p.p50 ? " median " + latency(p.p50) : ""],
  ];
  if (!$("tiles").children.length) $("tiles").append(...rows.map(([k]) => h("div", {}, h("dt", {}, k), h("dd", {}, h("span"), h("small")))));
  rows.forEach(([, big, little], i) => {
    const dd = $("tiles").children[i].lastChild;
    put(dd.firstChild, big);
    put(dd.lastChild, little);
  });
}

function states(v) {
  const have = Object.keys(v.totals.states).sort();
  if (state.state && !have.includes(state.state)) have.push(state.state);
  const said = have.join();
  if ($("fstate").said === said) return;
  $("fstate").said = said;
  $("fstate").replaceChildren(h("option", { value: "" }, "All"), ...have.map((s) => h("option", { value: s, selected: s === state.state }, s)));
}

function pill(kind, text) {
  $("state").dataset.state = kind;
  put($("state"), text);
}

let showAll = false;

function warnings(list) {
  const n = (l) => list.filter((w) => w.level === l).length;
  if (n("problem")) pill("problem", plural(n("problem"), "problem", "problems"));
  else if (n("warning")) pill("warning", plural(n("warning"), "warning", "warnings"));
  else pill("ok", "Running well");
  // Only what is new is said aloud, not each new number in what is known.
  const fresh = list.filter((w) => !state.warned.has(w.id) && w.level !== "note"), ended = [...state.warned.values()].filter((w) => w.level !== "note" && !list.some((x) => x.id === w.id));
  if (fresh.length || ended.length) announce([...fresh.slice(0, 3).map((w) => w.level + ": " + (w.subject ? w.subject + ": " : "") + w.text), fresh.length > 3 ? "and " + (fresh.length - 3) + " more" : "", ended.length ? plural(ended.length, "finding is", "findings are") + " over" : ""].filter(Boolean).join(". "));
  state.warned = new Map(list.map((w) => [w.id, w]));
  const said = JSON.stringify([list, showAll]);
  if ($("warnings").said === said) return;
  $("warnings").said = said;
  if (!list.length) return $("warnings").replaceChildren(h("p", { class: "fine" }, "Everything is fine."));
  const few = 6, shown = showAll ? list : list.slice(0, few);
  const items = shown.map((w) => h("li", {}, h("span", { class: "pill", "data-state": w.level }, w.level),
    h("div", { class: "body" }, w.subject && h("b", {}, /^e\d+\.\d+$/.test(w.subject) ? h("a", { href: "#" + w.subject, onclick: (e) => { e.preventDefault(); open(w.subject); } }, w.subject) : w.subject, ": "), w.text, w.fix && h("div", { class: "fix" }, w.fix))));
  const focused = document.activeElement && document.activeElement.id === "showall";
  const more = list.length > few && h("button", { type: "button", class: "more", id: "showall", "aria-expanded": String(showAll), onclick: () => { showAll = !showAll; warnings(list); } }, showAll ? "Show fewer" : "Show all " + list.length);
  $("warnings").replaceChildren(...[h("ul", { class: "warnings" }, items), more].filter(Boolean));
  if (focused && more) more.focus();
}

// ---- doing

function open(address) {
  if (state.open) state.open.close();
  history.replaceState(null, "", "#" + address);
  state.open = detail(address, { now, writable, refresh, minutes }, () => {
    state.open = null;
    history.replaceState(null, "", location.pathname);
  });
}

function sortBy(column) {
  const numbers = ["size", "initiators", "read", "write", "ops", "latency"]; // the largest first
  state.desc = state.sort === column ? !state.desc : numbers.includes(column);
  state.sort = column;
  state.page = 1;
  $("sort").value = column;
  refresh();
}

let typing = 0;
$("q").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    state.q = $("q").value.trim();
    state.page = 1;
    refresh();
  }, 200);
});
$("filter").addEventListener("submit", (e) => e.preventDefault());
$("fstate").addEventListener("change", () => {
  state.state = $("fstate").value;
  state.page = 1;
  refresh();
});
$("sort").append(...exportTable.columns.filter((c) => c.sort).map((c) => h("option", { value: c.sort }, c.label)));
$("sort").addEventListener("change", () => sortBy($("sort").value));
$("prev").addEventListener("click", () => { state.page--; refresh(); });
$("next").addEventListener("click", () => { state.page++; refresh(); });
$("iq").addEventListener("input", () => state.view && initiators(state.view));
$("window").addEventListener("change", () => state.view && charts.forEach((c) => c.show(state.history, minutes(), state.view.at)));
$("pause").addEventListener("click", () => {
  state.paused = !state.paused;
  $("pause").setAttribute("aria-pressed", String(state.paused));
  put($("pause"), state.paused ? "Paused" : "Pause");
  state.paused ? clearTimeout(timer) : refresh();
});
$("unlock").addEventListener("click", () => {
  if (!api.unlocked()) return edit.token(() => { toast("Changes are possible now"); refresh(); });
  api.lock();
  toast("Changes are locked");
  refresh();
});
$("add").addEventListener("click", () => edit.add(() => refresh()));
$("reload").addEventListener("click", () => edit.reload(refresh));
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : state.paused || refresh()));
window.addEventListener("hashchange", () => /^#e\d+\.\d+$/.test(location.hash) && open(location.hash.slice(1)));

await refresh();
if (/^#e\d+\.\d+$/.test(location.hash)) open(location.hash.slice(1));
