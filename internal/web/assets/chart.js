// Line charts of the last minutes, as SVG. Colours come from the style sheet, so that light and dark need nothing here.
import { clock, h, put } from "./format.js";

const NS = "http://www.w3.org/2000/svg";
const left = 58, right = 6, top = 8, bottom = 20; // room around the plot, in pixels
const gap = 40000; // milliseconds without a point that interrupt a line
let number = 0;

function s(tag, attrs, text) {
  const el = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(attrs)) el.setAttribute(k, v);
  if (text != null) el.textContent = text;
  return el;
}

// ceiling is the next round number that is not below n: 1, 2 or 5 times a power of ten.
function ceiling(n) {
  const p = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].find((m) => m * p >= n * 0.999) * p;
}

/** Chart shows one or two series of points. series: [{key, label}]; format writes a value; floor is the least height of the scale. */
export class Chart {
  constructor(box, { title, series, format, floor }) {
    Object.assign(this, { series, format, floor, title, points: [], minutes: 15, at: null, drawn: 0 });
    const id = "chart" + ++number;
    this.keys = series.map((x, i) => h("span", { class: i ? "key b" : "key" }));
    this.plot = h("div", { class: "plot" });
    this.empty = h("div", { class: "empty" }, "Nothing yet. The line begins as soon as there are two samples.");
    this.body = h("tbody");
    this.details = h("details", { class: "data", ontoggle: () => this.table() }, h("summary", {}, "As a table"),
      h("table", {}, h("caption", { class: "sr" }, title + ", one row per half minute"),
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Time"), series.map((x) => h("th", { scope: "col", class: "num" }, x.label)))), this.body));
    this.svg = s("svg", { role: "img", "aria-labelledby": id });
    this.name = s("title", { id }, title);
    box.append(h("figure", {}, h("figcaption", {}, h("b", {}, title), this.keys), this.plot, this.details));
    this.plot.append(this.svg, this.empty);
    this.svg.addEventListener("pointermove", (e) => this.point(e));
    this.svg.addEventListener("pointerleave", () => { this.at = null; this.draw(); });
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  /** show draws points (ascending by t) of the last minutes before end. */
  show(points, minutes, end) {
    this.points = points.filter((p) => p.t >= end - minutes * 60000);
    this.minutes = minutes;
    this.end = end;
    this.draw();
    if (this.details.open && end - this.drawn > 10000) this.table();
  }

  point(e) {
    const x = e.clientX - this.svg.getBoundingClientRect().left, w = this.plot.clientWidth - left - right;
    const t = this.end - (1 - (x - left) / w) * this.minutes * 60000;
    this.at = this.points.reduce((best, p) => (!best || Math.abs(p.t - t) < Math.abs(best.t - t) ? p : best), null);
    this.draw();
  }

  draw() {
    const width = this.plot.clientWidth, height = this.plot.clientHeight, pts = this.points;
    this.empty.hidden = pts.length > 1;
    const shown = this.at && pts.includes(this.at) ? this.at : pts[pts.length - 1];
    this.series.forEach((x, i) => put(this.keys[i], x.label + " " + (shown ? this.format(shown[x.key]) : "–") + (i === this.series.length - 1 && shown === this.at ? " at " + clock(shown.t) : "")));
    if (!width || !this.end) return;
    const max = ceiling(Math.max(this.floor, ...this.series.map((x) => pts.reduce((m, p) => Math.max(m, p[x.key]), 0))));
    const X = (t) => left + (width - left - right) * (1 - (this.end - t) / (this.minutes * 60000));
    const Y = (v) => top + (height - top - bottom) * (1 - v / max);
    const out = [this.name];
    for (let i = 0; i <= 2; i += pts.length > 1 ? 1 : 2) {
      const y = Math.round(Y((max * i) / 2)) + 0.5;
      out.push(s("line", { class: "grid", x1: left, x2: width - right, y1: y, y2: y }), s("text", { x: left - 6, y: y + 3.5, "text-anchor": "end" }, i ? this.format((max * i) / 2) : "0"));
    }
    out.push(s("text", { x: left, y: height - 4 }, this.minutes + " min ago"), s("text", { x: width - right, y: height - 4, "text-anchor": "end" }, "now"));
    if (pts.length > 1) {
      this.series.forEach((x, i) => {
        const c = i ? " b" : "";
        for (const run of runs(pts)) {
          const line = run.map((p, j) => (j ? "L" : "M") + X(p.t).toFixed(1) + " " + Y(p[x.key]).toFixed(1)).join("");
          out.push(s("path", { class: "area" + c, d: line + "L" + X(run[run.length - 1].t).toFixed(1) + " " + Y(0) + "L" + X(run[0].t).toFixed(1) + " " + Y(0) + "Z" }), s("path", { class: "line" + c, d: line }));
        }
      });
      if (this.at) out.push(s("line", { class: "cursor", x1: X(this.at.t), x2: X(this.at.t), y1: top, y2: height - bottom }));
    }
    put(this.name, this.summary());
    this.svg.replaceChildren(...out);
  }

  // summary says the chart in a sentence.
  summary() {
    const pts = this.points;
    if (pts.length < 2) return this.title + ": nothing yet";
    return this.title + " over the last " + this.minutes + " minutes. " + this.series.map((x) => {
      const v = pts.map((p) => p[x.key]);
      return x.label + ": now " + this.format(v[v.length - 1]) + ", at most " + this.format(Math.max(...v)) + ", on average " + this.format(v.reduce((a, b) => a + b, 0) / v.length);
    }).join("; ");
  }

  table() {
    if (!this.details.open) return;
    this.drawn = this.end;
    const rows = [];
    let last = Infinity;
    for (const p of [...this.points].reverse()) {
      if (last - p.t < 30000) continue;
      last = p.t;
      rows.push(h("tr", {}, h("th", { scope: "row" }, clock(p.t)), this.series.map((x) => h("td", { class: "num" }, this.format(p[x.key])))));
    }
    this.body.replaceChildren(...rows);
  }
}

// runs cuts points where nothing was sampled for a while.
function runs(pts) {
  const out = [[pts[0]]];
  for (let i = 1; i < pts.length; i++) {
    if (pts[i].t - pts[i - 1].t > gap) out.push([]);
    out[out.length - 1].push(pts[i]);
  }
  return out;
}
