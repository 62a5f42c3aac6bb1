// How values are written, and small helpers for the document.

const decimal = (digits) => new Intl.NumberFormat("en", { maximumFractionDigits: digits });

// scaled writes n with the unit that leaves one to three digits before the point.
function scaled(n, units, step) {
  let i = 0;
  while (n >= step && i < units.length - 1) {
    n /= step;
    i++;
  }
  return decimal(n < 10 && i > 0 ? 1 : 0).format(n) + " " + units[i];
}

/** bytesPerSecond writes a rate in decimal units, as network people do. */
export const bytesPerSecond = (n) => scaled(n, ["B/s", "kB/s", "MB/s", "GB/s"], 1000);
/** bytes writes an amount of data in decimal units. */
export const bytes = (n) => scaled(n, ["B", "kB", "MB", "GB", "TB", "PB"], 1000);
/** size writes the size of a disk, given in sectors of 512 bytes, in binary units. */
export const size = (sectors) => (sectors ? scaled(sectors * 512, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 1024) : "–");
/** count writes a number. */
export const count = (n) => decimal(0).format(n);
/** perSecond writes a rate of operations. */
export const perSecond = (n) => decimal(n > 0 && n < 10 ? 1 : 0).format(n) + "/s";
/** latency writes a time given in microseconds; 0 means that there was none. */
export const latency = (us) => (us > 0 ? (us < 1000 ? decimal(0).format(us) + " µs" : us < 1e6 ? decimal(us < 1e4 ? 1 : 0).format(us / 1000) + " ms" : decimal(1).format(us / 1e6) + " s") : "–");
/** clock writes the time of day. */
export const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** span writes a duration in milliseconds with one or two units. */
export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
}

/** ago says how long ago a moment was, by the server's clock. */
export const ago = (ms, now) => (ms ? (now - ms < 5000 ? "now" : span(now - ms) + " ago") : "never");

/** plural is a number with the word for it. */
export const plural = (n, one, many) => count(n) + " " + (n === 1 ? one : many);

/** h makes an element. Attributes that are null or false are left out; on… are listeners; children may be text. */
export function h(tag, attrs, ...children) {
  const el = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs || {})) {
    if (v == null || v === false) continue;
    if (k.startsWith("on")) el.addEventListener(k.slice(2), v);
    else if (k === "class") el.className = v;
    else el.setAttribute(k, v === true ? "" : v);
  }
  el.append(...children.flat().filter((c) => c != null && c !== false));
  return el;
}

/** put writes text into an element, and touches it only when that changes something. */
export function put(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

/** $ finds an element by id. */
export const $ = (id) => document.getElementById(id);
