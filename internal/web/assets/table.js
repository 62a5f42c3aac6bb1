// Tables that change in place: rows and cells stay the same elements, so that focus and reading position are kept.
import { h, put } from "./format.js";

/**
 * Table shows rows of objects. columns: [{id, label, cell(row) -> text or {text, sub, link, state, title}, num, wide, head, sort}].
 * The column with head names the row. With onsort its headings sort. On a narrow screen rows become small cards, therefore the
 * explicit roles: some browsers forget what a table is when its display changes.
 */
export class Table {
  constructor(box, { caption, columns, key, empty, onsort, onopen }) {
    Object.assign(this, { columns, key, onsort, onopen, rows: new Map() });
    this.body = h("tbody", { role: "rowgroup" });
    this.heads = columns.map((c) => this.heading(c));
    this.table = h("table", { class: "rows", role: "table" }, h("caption", { class: "sr" }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, this.heads)), this.body);
    this.empty = h("p", { class: "none" }, empty);
    this.box = h("div", { class: "scroll" }, this.table);
    box.replaceChildren(this.box, this.empty);
    this.say("Loading…");
  }

  heading(c) {
    const attrs = { scope: "col", role: "columnheader", class: c.num ? "num" : null };
    if (!this.onsort || !c.sort) return h("th", attrs, c.label);
    return h("th", attrs, h("button", { type: "button", onclick: () => this.onsort(c.sort) }, c.label, h("span", { class: "arrow", "aria-hidden": "true" })));
  }

  /** sorted marks the column that the rows are sorted by. */
  sorted(by, desc) {
    this.columns.forEach((c, i) => {
      if (!c.sort) return;
      const th = this.heads[i];
      if (c.sort === by) th.setAttribute("aria-sort", desc ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
      put(th.querySelector(".arrow"), c.sort === by ? (desc ? "▾" : "▴") : "");
    });
  }

  /** say shows a sentence in place of rows. */
  say(text) {
    this.box.hidden = true;
    this.empty.hidden = false;
    put(this.empty, text);
  }

  /** show shows the rows of a list in its order. */
  show(list, empty) {
    const focused = document.activeElement, inside = this.body.contains(focused);
    if (!list.length) {
      this.rows.clear();
      this.body.replaceChildren();
      if (inside) this.refocus();
      return this.say(empty);
    }
    this.box.hidden = false;
    this.empty.hidden = true;
    const seen = new Set();
    list.forEach((x, i) => {
      const k = this.key(x);
      seen.add(k);
      let row = this.rows.get(k);
      if (!row) this.rows.set(k, (row = this.row()));
      this.columns.forEach((c, j) => this.fill(row.cells[j], c, x));
      if (this.body.children[i] !== row.el) this.body.insertBefore(row.el, this.body.children[i] || null);
    });
    for (const [k, row] of this.rows) {
      if (seen.has(k)) continue;
      row.el.remove();
      this.rows.delete(k);
    }
    if (inside && !focused.isConnected) this.refocus();
    else if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  }

  // refocus is for when the row that had the focus is gone: somebody with a keyboard goes on from here, not from the top of the page.
  refocus() {
    const section = this.table.closest("[tabindex]");
    if (section) section.focus({ preventScroll: true });
  }

  row() {
    const cells = this.columns.map((c) => {
      const attrs = c.head ? { scope: "row", role: "rowheader" } : { role: "cell", "data-label": c.bare ? null : c.label };
      attrs.class = [c.num && "num", c.wide && "wide", c.class].filter(Boolean).join(" ") || null;
      return h(c.head ? "th" : "td", attrs);
    });
    return { el: h("tr", { role: "row" }, cells), cells };
  }

  // fill writes a cell when what it says has changed.
  fill(td, c, x) {
    let v = c.cell(x);
    if (typeof v !== "object") v = { text: v };
    const now = JSON.stringify(v);
    if (td.said === now) return;
    td.said = now;
    td.classList.toggle("blank", v.text === "–" || v.text === "");
    td.classList.toggle("zero", /^0( B)?(\/s)?$/.test(v.text)); // left out where room is short
    let main = v.text;
    if (v.state) main = h("span", { class: "pill", "data-state": v.state }, v.text);
    else if (v.link) {
      const old = td.querySelector("a"); // it may have the focus
      main = old || h("a", { href: "#" + v.link, onclick: (e) => { e.preventDefault(); this.onopen(e.currentTarget.getAttribute("href").slice(1)); } });
      main.textContent = v.text;
      main.setAttribute("href", "#" + v.link);
    }
    const sub = v.sub ? [h("span", { class: "sub" }, v.sub)] : [];
    if (v.link && td.firstChild === main) {
      while (td.lastChild !== main) td.lastChild.remove();
      td.append(...sub);
    } else td.replaceChildren(main, ...sub);
  }
}

