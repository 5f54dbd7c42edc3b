// Charts as hand-made SVG: stacked bars for values that add up, lines for the others.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 46;
const BOTTOM = 18;
const TOP = 6;
const BRIDGED = 6; // columns

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A card with a title, the latest value, and a chart as wide as the card.
export class Chart {
  constructor(title, { kind, format, id, empty = "nothing yet" }) {
    this.title = title;
    this.kind = kind;
    this.format = format;
    this.empty = empty;
    this.now = element("span", { class: "chart-now" });
    this.svg = shape("svg", { role: "img", "aria-label": title });
    this.tip = element("div", { class: "tip" });
    this.tip.hidden = true;
    this.node = element(
      "div",
      { class: "card chart", id },
      element("div", { class: "chart-head" }, element("h2", {}, title), this.now),
      this.svg,
      this.tip,
    );
    this.data = null;
    this.at = null;
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
  }

  // `columns` is the number of columns; `series` is a list of {name, colour, values}, where a missing value is null.
  draw({ columns, series, labels, times, now }) {
    this.data = { columns, series, labels, times };
    this.now.textContent = now;
    const width = this.svg.clientWidth;
    const height = this.svg.clientHeight;
    if (!width) return; // not shown
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const most = this.most();
    const top = nice(most);
    const inner = { x: LEFT, y: TOP, width: width - LEFT - 4, height: height - TOP - BOTTOM };
    const parts = this.axes(inner, top, labels);
    if (most === 0) {
      const text = shape("text", { x: inner.x + inner.width / 2, y: inner.y + inner.height / 2, "text-anchor": "middle" });
      text.textContent = this.empty;
      parts.push(text);
    }
    parts.push(...(this.kind === "bars" ? this.bars(inner, top) : this.lines(inner, top)));
    if (this.at !== null) parts.push(this.cursor(inner));
    this.svg.replaceChildren(...parts);
    this.svg.setAttribute("aria-label", `${this.title}: ${now || "none"}; at most ${this.format(most)}`);
    this.inner = inner;
    this.fill();
  }

  most() {
    const { columns, series } = this.data;
    let most = 0;
    for (let column = 0; column < columns; column++) {
      let total = 0;
      for (const { values } of series) {
        const value = values[column] ?? 0;
        total = this.kind === "bars" ? total + value : Math.max(total, value);
      }
      most = Math.max(most, total);
    }
    return most;
  }

  axes(inner, top, labels) {
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const y = Math.round(inner.y + inner.height * (1 - share)) + 0.5;
      parts.push(shape("line", { class: "grid", x1: inner.x, x2: inner.x + inner.width, y1: y, y2: y }));
      const text = shape("text", { x: inner.x - 6, y: y + 4, "text-anchor": "end" });
      text.textContent = top ? this.format(top * share) : share ? "" : "0";
      parts.push(text);
    }
    labels.forEach((label, index) => {
      const share = index / (labels.length - 1);
      const anchor = index === 0 ? "start" : index === labels.length - 1 ? "end" : "middle";
      const text = shape("text", { x: inner.x + inner.width * share, y: inner.y + inner.height + 14, "text-anchor": anchor });
      text.textContent = label;
      parts.push(text);
    });
    return parts;
  }

  bars(inner, top) {
    const { columns, series } = this.data;
    const step = inner.width / columns;
    const thick = Math.max(1, step - Math.min(2, step * 0.25));
    const floors = new Array(columns).fill(0);
    return series.map(({ colour, name, values }) => {
      let path = "";
      for (let column = 0; column < columns; column++) {
        const value = values[column] ?? 0;
        if (!value || !top) continue;
        const low = (floors[column] / top) * inner.height;
        const high = Math.max(1, (value / top) * inner.height);
        const x = inner.x + column * step + (step - thick) / 2;
        path += `M${x.toFixed(1)} ${(inner.y + inner.height - low - high).toFixed(1)}h${thick.toFixed(1)}v${high.toFixed(1)}h-${thick.toFixed(1)}z`;
        floors[column] += value;
      }
      return shape("path", { class: `bar s${colour}`, d: path, "data-name": name });
    });
  }

  lines(inner, top) {
    const { columns, series } = this.data;
    const step = inner.width / columns;
    return series.flatMap(({ colour, name, values }) => {
      const points = [];
      values.forEach((value, column) => {
        if (value === null || !top) return;
        const x = (inner.x + (column + 0.5) * step).toFixed(1);
        const y = (inner.y + inner.height * (1 - value / top)).toFixed(1);
        points.push({ x, y, column });
      });
      // A gap of a few columns is bridged; otherwise one request per minute would be nothing but dots.
      const joined = (one, other) => one && other && other.column - one.column <= BRIDGED;
      const path = points.map((point, n) => `${joined(points[n - 1], point) ? "L" : "M"}${point.x} ${point.y}`).join("");
      const alone = points.filter((point, n) => !joined(points[n - 1], point) && !joined(point, points[n + 1]));
      return [
        shape("path", { class: `line s${colour}`, d: path, "data-name": name }),
        ...alone.map(({ x, y }) => shape("circle", { class: `point s${colour}`, cx: x, cy: y, r: 3.5 })),
      ];
    });
  }

  cursor(inner) {
    const x = inner.x + (this.at + 0.5) * (inner.width / this.data.columns);
    return shape("line", { class: "cursor", x1: x, x2: x, y1: inner.y, y2: inner.y + inner.height });
  }

  point(event) {
    if (!this.data || !this.inner) return;
    if (event === null) {
      this.at = null;
    } else {
      const box = this.svg.getBoundingClientRect();
      const share = (event.clientX - box.left - this.inner.x) / this.inner.width;
      this.at = share < 0 || share > 1 ? null : Math.min(this.data.columns - 1, Math.floor(share * this.data.columns));
    }
    this.svg.querySelector(".cursor")?.remove();
    if (this.at !== null) this.svg.append(this.cursor(this.inner));
    this.fill();
  }

  // Describes the column under the pointer.
  fill() {
    this.tip.hidden = this.at === null;
    if (this.at === null) return;
    const lines = this.data.series
      .filter(({ values }) => values[this.at])
      .map(({ name, colour, values }) =>
        element("div", {}, element("span", { class: `swatch s${colour}` }), name, element("b", {}, this.format(values[this.at]))),
      );
    const time = element("div", { class: "muted" }, this.data.times[this.at]);
    this.tip.replaceChildren(time, ...(lines.length ? lines : [element("div", {}, "nothing")]));
    const right = this.at > this.data.columns / 2;
    this.tip.style.left = right ? "auto" : `${LEFT + 20 + (this.at / this.data.columns) * this.inner.width}px`;
    this.tip.style.right = right ? `${24 + (1 - this.at / this.data.columns) * this.inner.width}px` : "auto";
  }
}

// The next round number, so that the axis does not twitch with every request.
export function nice(value) {
  if (!value) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  for (const factor of [1, 1.5, 2, 3, 4, 5, 6, 8, 10]) if (value <= factor * power * 1.0001) return factor * power;
  return 10 * power;
}

export function count(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1e6) return `${trim(value / 1e6)} M`;
  if (value >= 1e4) return `${trim(value / 1e3)} k`;
  return value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : trim(value);
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.0995) return `${trim(value * 1000)} ms`;
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  return value < 90 ? `${trim(value)} s` : `${trim(value / 60)} min`;
}

export function dollars(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "$0";
  if (value < 0.0001) return "<$0.0001";
  if (value < 0.1) return `$${value.toFixed(4)}`;
  return `$${value.toFixed(2)}`;
}

function trim(value) {
  return String(Number(value.toPrecision(value >= 100 ? 3 : 2 + (value >= 10))));
}
