// Dialogs: a frame for all of them, and the form fields in them.
import { $, h, put } from "./format.js";

let number = 0;

/**
 * dialog opens a modal dialog with a title and returns {el, body, close, fail}. It is removed when it closes, the focus goes back to
 * where it was (the browser does that), and onclose is called.
 */
export function dialog(title, { small, onclose } = {}) {
  const id = "dialog" + ++number;
  const heading = h("h2", { id, tabindex: "-1" }, title);
  const body = h("div");
  const problem = h("div", { role: "alert" });
  const el = h("dialog", { "aria-labelledby": id, class: small ? "small" : null },
    h("div", { class: "inner" }, h("div", { class: "titlebar" }, heading, h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => el.close() }, "×")), body, problem),
    // What is said meanwhile: outside of a modal dialog nobody sees or hears it.
    h("p", { class: "sr announcer", role: "status", "aria-live": "polite" }), h("div", { class: "toasts", role: "status", "aria-live": "polite" }));
  const before = document.activeElement;
  el.addEventListener("close", () => {
    el.remove();
    if (before && before.isConnected) before.focus();
    else if (!document.querySelector("dialog[open]")) $("exports").focus();
    if (onclose) onclose();
  });
  $("dialogs").append(el);
  el.showModal();
  heading.focus();
  const fail = (error, ...more) => {
    problem.replaceChildren(...(error ? [h("div", { class: "error" }, h("p", {}, error.text || String(error)), ...more)] : []));
    if (error) problem.scrollIntoView({ block: "nearest" });
  };
  return { el, body, heading, fail, close: () => el.close() };
}

/** text makes a field with a label above it. Its element has value(). */
export function text(name, label, { value = "", hint, required, type = "text", options, ...attrs } = {}) {
  const id = "f" + ++number;
  const control = options ? h("select", { id, name }, options.map((o) => h("option", { value: o, selected: o === value }, o)))
    : h("input", { id, name, type, value, required, autocomplete: "off", autocapitalize: "none", spellcheck: "false", ...attrs });
  if (hint) control.setAttribute("aria-describedby", id + "h");
  const el = h("div", { class: "field" }, h("label", { for: id }, label, required && h("span", { class: "muted" }, " (required)")), control, hint && h("div", { class: "hint", id: id + "h" }, hint));
  return Object.assign(el, { key: name, control, value: () => control.value.trim() });
}

/** check makes a box to tick. Its value() is "true" or "false". */
export function check(name, label, { value = false, hint } = {}) {
  const id = "f" + ++number;
  const control = h("input", { id, name, type: "checkbox", "aria-describedby": hint ? id + "h" : null });
  control.checked = value;
  const el = h("div", { class: "check" }, control, h("div", {}, h("label", { for: id }, label), hint && h("div", { class: "hint muted", id: id + "h" }, hint)));
  return Object.assign(el, { key: name, control, value: () => String(control.checked) });
}

/** busy disables the buttons of a form while fn runs. */
export async function busy(form, fn) {
  const buttons = [...form.querySelectorAll("button")].filter((b) => !b.disabled);
  const focused = document.activeElement;
  form.setAttribute("aria-busy", "true");
  buttons.forEach((b) => (b.disabled = true));
  try {
    return await fn();
  } finally {
    form.removeAttribute("aria-busy");
    buttons.forEach((b) => (b.disabled = false));
    if (focused && focused.isConnected && form.contains(focused)) focused.focus();
  }
}

const front = () => [...document.querySelectorAll("dialog[open]")].pop() || document;

/** announce has screen readers say something. */
export const announce = (message) => put(front().querySelector(".announcer"), message);

/** toast says something for some seconds. */
export function toast(message) {
  const p = h("p", {}, message);
  front().querySelector(".toasts").append(p);
  setTimeout(() => p.remove(), 6000);
}
