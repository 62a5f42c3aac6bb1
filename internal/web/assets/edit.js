// What needs the token: add, change, remove and clear.
import * as api from "./api.js";
import { busy, check, dialog, text, toast } from "./dialog.js";
import { ago, h } from "./format.js";

// The settings with a field of their own; what else an export has is below "Further settings".
const common = [
  ["read-only", "bool", "Read-only", "Refuse writes."],
  ["write-cache", "bool", "Write cache", "Acknowledge writes before they are on stable storage. Faster; a power failure loses acknowledged writes."],
  ["name", "text", "Name", "For people: any text up to 64 characters."],
  ["interfaces", "text", "Interfaces", "Names or patterns, separated by commas: eth1, vlan*"],
  ["queue-length", "number", "Queue length", "Requests that are on the storage at a time, 2 to 1024.", 2, 1024],
  ["accept", "text", "Who is served", "MAC addresses, names of hosts or access lists, separated by commas."],
  ["deny", "text", "Who is not served", "The same; it wins over the field above."],
  ["write", "text", "Who may write", "The same. Who may read is set apart, below."],
];
const lists = ["accept", "deny", "read", "write", "config-read", "config-set", "initiator-limits"];
const hidden = ["address", "shelf", "slot", "force", "source"];

function field([key, kind, label, hint, min, max], settings) {
  const value = settings[key] ?? "";
  if (kind === "bool") return check(key, label, { value: value === "true", hint });
  return text(key, label, { value, hint, type: kind === "number" ? "number" : "text", min, max });
}

// fields makes the fields for an export's settings: [the common ones, all others].
function fields(settings) {
  const known = new Set([...common.map((c) => c[0]), ...hidden]);
  const other = [...new Set([...Object.keys(settings), ...lists])].filter((k) => !known.has(k)).sort();
  return [common.map((c) => field(c, settings)), other.map((k) => field([k, /^(true|false)$/.test(settings[k]) ? "bool" : "text", k], settings))];
}

const save = () => check("save", "Keep it after a restart", { value: true, hint: "Writes a file beside the configuration (conf.d). Otherwise the next start does not know of it." });

// values returns the settings whose field says something else than before. An access list that was not there stays away.
function values(all, before) {
  const out = {};
  for (const f of all) {
    const now = f.value(), was = before[f.key] ?? (f.control.type === "checkbox" ? "false" : "");
    if (now !== was) out[f.key] = now;
  }
  return out;
}

/** add asks for a new export. done is called with its address. */
export function add(done) {
  const d = dialog("Add an export");
  const address = text("address", "Address", { hint: "SHELF.SLOT, for example 0.1. A shelf alone, or nothing, takes the next free slot.", placeholder: "next free one" });
  const source = text("source", "Source", { required: true, hint: "What to serve: a path on the server such as /dev/vg/disk or /srv/image, UUID=…, LABEL=…, or mem:SIZE for tests.", placeholder: "/dev/…" });
  const [some, others] = fields({ "queue-length": "" });
  const keep = save();
  const form = h("form", { novalidate: true }, h("div", { class: "fields" }, address, source, some.filter((f) => f.key !== "queue-length"),
    h("details", {}, h("summary", {}, "Further settings"), h("div", { class: "fields" }, some.filter((f) => f.key === "queue-length"), others)), keep),
  h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Add"), h("button", { type: "button", onclick: d.close }, "Cancel")));
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    source.classList.toggle("bad", !source.value());
    if (!source.value()) {
      d.fail("A source is needed: what should be served?");
      return source.control.focus();
    }
    busy(form, async () => {
      try {
        const r = await api.change({ op: "add", address: address.value(), source: source.value(), settings: values([...some, ...others], {}) }, { save: keep.control.checked });
        d.close();
        done(r.address);
        toast(r.address + " was added" + (r.note ? ": " + r.note : ""));
      } catch (err) {
        d.fail(err);
      }
    });
  });
  d.body.append(form);
  address.control.focus();
}

/** edit changes settings of an export e. */
export function edit(e, done) {
  const d = dialog("Settings of " + e.address);
  const form = h("form", { novalidate: true });
  const fill = (e) => {
    const [some, others] = fields(e.settings);
    const keep = save();
    const all = [...some, ...others];
    form.replaceChildren(h("div", { class: "fields" }, some, h("details", {}, h("summary", {}, "Further settings"), h("div", { class: "fields" }, others)), keep),
      h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Apply"), h("button", { type: "button", onclick: d.close }, "Cancel")));
    form.onsubmit = (ev) => {
      ev.preventDefault();
      const changed = values(all, e.settings);
      const keeps = e.unsaved && keep.control.checked; // what was changed before without saving
      if (!Object.keys(changed).length && !keeps) return d.fail("Nothing was changed.");
      busy(form, async () => {
        try {
          const r = await api.change({ op: "set", address: e.address, settings: changed, revision: e.revision }, { save: keep.control.checked });
          d.close();
          done();
          toast(e.address + (Object.keys(changed).length ? " was changed" : " was saved") + (r.note ? ": " + r.note : ""));
        } catch (err) {
          if (err.code !== "conflict") return d.fail(err);
          d.fail({ text: "Somebody else changed " + e.address + " in the meantime. Nothing of yours was applied." },
            h("button", { type: "button", onclick: async () => { try { fill((await api.get("exports/" + e.address)).export); d.fail(null); d.heading.focus(); } catch (again) { d.fail(again); } } }, "Show its settings of now"));
        }
      });
    };
  };
  fill(e);
  d.body.append(form);
}

/** remove asks before an export is removed; who uses it is said, and then a box must be ticked. */
export function remove(e, now, done) {
  const d = dialog("Remove " + e.address + "?", { small: true });
  const users = h("div"), force = check("force", "Remove it all the same", { hint: "What is under way is finished; then these initiators lose the disk, and what they have not written yet." });
  const keep = save();
  const go = h("button", { type: "submit", class: "danger" }, "Remove");
  const form = h("form", { novalidate: true }, h("p", {}, "Source: ", h("code", {}, e.source), ". The data stays where it is."), users, h("div", { class: "fields" }, keep),
    h("div", { class: "buttons" }, go, h("button", { type: "button", onclick: d.close }, "Cancel")));
  const show = (list, said) => {
    if (!list.length && !said) return users.replaceChildren();
    users.replaceChildren(h("div", { class: "caution" }, h("p", {}, list.length ? "It is in use by:" : said),
      list.length ? h("ul", { class: "list" }, list.map((u) => h("li", {}, (u.name ? u.name + " (" + u.mac + ")" : u.mac) + (u.interface ? " on " + u.interface : "") + (u.reserved ? ", reserved" : "") + (u.last_seen ? ", last seen " + ago(Date.parse(u.last_seen), now()) : "")))) : null),
    h("div", { class: "fields" }, force));
    go.disabled = !force.control.checked;
  };
  force.control.addEventListener("change", () => (go.disabled = !force.control.checked));
  form.addEventListener("submit", (ev) => {
    ev.preventDefault();
    busy(form, async () => {
      try {
        const r = await api.change({ op: "remove", address: e.address, force: force.control.checked && users.contains(force) }, { save: keep.control.checked, wait_ms: 10000 });
        d.close();
        done();
        toast(e.address + " was removed" + (r.note ? ": " + r.note : ""));
      } catch (err) {
        if (err.code === "in-use") return show(await current(e), err.message);
        d.fail(err);
      }
    }).then(() => { if (form.isConnected) go.disabled = users.contains(force) && !force.control.checked; });
  });
  show(e.users);
  d.body.append(form);
}

async function current(e) {
  try {
    return (await api.get("exports/" + e.address)).export.users;
  } catch {
    return [];
  }
}

/** clear asks before a config string, mask or reservation is emptied. */
export function clear(e, what, label, done) {
  const d = dialog("Clear the " + label + " of " + e.address + "?", { small: true });
  const force = check("force", "Also when the holder of the reservation was seen a moment ago", {});
  const form = h("form", { novalidate: true }, h("p", {}, what === "stats" ? "All its counters begin at zero again." : "Initiators rely on it: it is emptied for all of them, and stays so."), what === "reserve" && h("div", { class: "fields" }, force),
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "danger" }, "Clear"), h("button", { type: "button", onclick: d.close }, "Cancel")));
  form.addEventListener("submit", (ev) => {
    ev.preventDefault();
    busy(form, async () => {
      try {
        api.result(await api.post("clear", { what, exports: [e.address], force: force.control.checked }));
        d.close();
        done();
        toast("The " + label + " of " + e.address + " was cleared");
      } catch (err) {
        d.fail(err);
      }
    });
  });
  d.body.append(form);
}

/** token asks for the token. done is called when it was right. */
export function token(done) {
  const d = dialog("Unlock changes", { small: true });
  const f = text("token", "Token", { type: "password", required: true, hint: "It is in the file on the server that token-file in [web] names. It is kept until this tab is closed." });
  const form = h("form", { novalidate: true }, !window.isSecureContext && h("p", { class: "caution" }, "This connection is not encrypted: whoever listens on the network learns the token. Better use an SSH tunnel (ssh -L 8480:localhost:8480 SERVER), or a proxy with TLS."),
    h("div", { class: "fields" }, f), h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Unlock"), h("button", { type: "button", onclick: d.close }, "Cancel")));
  form.addEventListener("submit", (ev) => {
    ev.preventDefault();
    if (!f.value()) return d.fail("Type the token.");
    busy(form, async () => {
      try {
        await api.unlock(f.value());
        d.close();
        done();
      } catch (err) {
        d.fail(err);
        f.control.select();
      }
    });
  });
  d.body.append(form);
  f.control.focus();
}

/** reload shows what a reload of the configuration would do, and does it. */
export async function reload(done) {
  const d = dialog("Reload the configuration");
  d.body.append(h("p", { class: "muted" }, "Reading the files…"));
  try {
    const plan = await api.getOwn("plan");
    const line = (c) => h("li", {}, h("b", {}, c.what + " " + c.subject), (c.keys || []).length ? ": " + c.keys.map((k) => k.name + " " + (k.old || "–") + " → " + (k.new || "–")).join(", ") : "",
      c.interrupt && " (interrupts I/O)", c.restart && " (from the next start on)", c.note && " (" + c.note + ")");
    const form = h("form", { novalidate: true },
      (plan.problems || []).length > 0 && h("div", { class: plan.ok ? "caution" : "error" }, h("p", {}, plan.ok ? "The files have something to look at:" : "The files have errors; nothing can be applied:"), h("ul", { class: "list" }, plan.problems.map((p) => h("li", {}, p)))),
      plan.ok && ((plan.changes || []).length ? h("ul", { class: "list" }, plan.changes.map(line)) : h("p", {}, "Nothing would change.")),
      plan.ok && h("p", { class: "muted" }, plan.kept + " exports stay as they are."),
      h("div", { class: "buttons" }, plan.ok && (plan.changes || []).length > 0 && h("button", { type: "submit", class: "primary" }, "Apply"), h("button", { type: "button", onclick: d.close }, "Close")));
    form.addEventListener("submit", (ev) => {
      ev.preventDefault();
      busy(form, async () => {
        try {
          const r = await api.post("reload", {});
          if (!r.ok) return d.fail("Nothing was applied: " + (r.problems || []).join("; "));
          d.close();
          done();
          toast("The configuration was reloaded");
        } catch (err) {
          d.fail(err);
        }
      });
    });
    d.body.replaceChildren(form);
  } catch (err) {
    d.body.replaceChildren();
    d.fail(err);
  }
}
