// The dialog with everything about one export.
import * as api from "./api.js";
import { Chart } from "./chart.js";
import { busy, dialog, toast } from "./dialog.js";
import * as edit from "./edit.js";
import { ago, bytes, bytesPerSecond, count, h, latency, put, size } from "./format.js";
import { Table } from "./table.js";

/** detail opens the dialog for an address. page has now(), writable(), refresh() and minutes(). It returns {update, close}. */
export function detail(address, page, onclose) {
  let latest = null, busyNow = false, gone = false;
  const d = dialog(address, { onclose });
  const state = h("p"), facts = h("dl", { class: "kv" }), charts = h("div", { class: "charts two" }), counters = h("dl", { class: "kv" }), settings = h("dl", { class: "kv" });
  const peers = h("div"), actions = h("div", { class: "buttons" });
  d.body.append(state, facts, actions, h("h3", {}, "Now"), charts, h("h3", {}, "Initiators"), peers, h("h3", {}, "Counters"), counters,
    h("details", { class: "more" }, h("summary", {}, "Settings in force"), settings));
  const rate = new Chart(charts, { title: "Throughput", format: bytesPerSecond, floor: 1000, series: [{ key: "r", label: "Read" }, { key: "w", label: "Written" }] });
  const time = new Chart(charts, { title: "Latency", format: latency, floor: 100, series: [{ key: "p50", label: "Median" }, { key: "p99", label: "99 %" }] });
  const table = new Table(peers, { caption: "Initiators of " + address, empty: "", key: (p) => p.mac, columns: [
    { label: "Initiator", head: true, wide: true, cell: (p) => ({ text: p.name || p.mac || "all others", sub: p.name ? p.mac : "" }) },
    { label: "Interface", cell: (p) => p.interface || "–" },
    { label: "Read", num: true, cell: (p) => bytesPerSecond(p.r) },
    { label: "Written", num: true, cell: (p) => bytesPerSecond(p.w) },
    { label: "Seen again", num: true, cell: (p) => count(p.retransmits) },
    { label: "Last seen", cell: (p) => ago(p.last_seen, page.now()) },
  ] });

  const button = (label, fn, cls) => h("button", { type: "button", class: cls, onclick: fn }, label);
  const after = () => { update(); page.refresh(); };
  const buttons = {
    edit: button("Change settings", () => edit.edit(latest, after), "primary"),
    announce: button("Announce", () => busy(actions, async () => {
      try {
        const r = api.result(await api.post("announce", { exports: [address] }));
        toast(address + ": " + (r.note || "announced"));
        d.fail(null);
      } catch (err) {
        d.fail(err);
      }
    })),
    config: button("Clear config string", () => edit.clear(latest, "config", "config string", after)),
    mask: button("Clear MAC mask", () => edit.clear(latest, "mask", "MAC mask", after)),
    reserve: button("Clear reservation", () => edit.clear(latest, "reserve", "reservation", after)),
    stats: button("Clear counters", () => edit.clear(latest, "stats", "statistics", after)),
    remove: button("Remove", () => edit.remove(latest, page.now, () => { d.close(); page.refresh(); }), "danger"),
  };
  actions.append(...Object.values(buttons));
  actions.hidden = true;

  const kv = (dl, rows) => {
    const now = JSON.stringify(rows);
    if (dl.said === now) return;
    dl.said = now;
    dl.replaceChildren(...rows.flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
  };

  function show(v) {
    const e = (latest = v.export);
    put(d.heading, e.address + (e.name ? " " + e.name : ""));
    state.replaceChildren(h("span", { class: "pill", "data-state": e.state }, e.state), e.why ? " " + e.why : "");
    kv(facts, [["Source", e.source + (e.path && e.path !== e.source ? " (" + e.path + ")" : "")], ["Size", e.sectors ? size(e.sectors) + ", " + count(e.sectors) + " sectors" : "not open"],
      ["Interfaces", e.served.join(", ") || "none"], ...(e.waiting || []).map((w) => ["Waiting", w]), ["Configured", e.origin + (e.unsaved ? ", with changes that the next start will not know" : "")],
      ["Queue", v.queue[0] + " on the storage, " + v.queue[1] + " waiting, " + v.queue[2] + " at most"],
      ["Config string", e.config_string || "empty"], ["MAC mask", e.mask.join(", ") || "empty: everybody"], ["Reserved for", e.reserve.join(", ") || "nobody"],
      ["Serial number", e.serial || "–"], ["Lane", String(e.lane)]]);
    rate.show(v.history, page.minutes(), page.now());
    time.show(v.history, page.minutes(), page.now());
    table.show(v.peers, "No initiator has used it yet.");
    kv(counters, v.counts.map((c) => [c.label, c.bytes ? bytes(c.n) : count(c.n)]));
    kv(settings, Object.entries(e.settings).sort().map(([k, val]) => [k, val || "–"]));
    actions.hidden = !page.writable();
    buttons.config.hidden = !e.config_string;
    buttons.mask.hidden = !e.mask.length;
    buttons.reserve.hidden = !e.reserve.length;
  }

  async function update() {
    if (busyNow || gone) return;
    busyNow = true;
    try {
      show(await api.get("exports/" + address));
      d.fail(null);
    } catch (err) {
      if (err.code === "not-found") {
        gone = true;
        actions.hidden = true;
      }
      d.fail(err);
    } finally {
      busyNow = false;
    }
  }
  update();
  return { update, close: d.close };
}
