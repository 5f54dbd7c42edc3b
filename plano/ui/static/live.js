// Collects the answers of /ui/data over time and from all processes that serve one port.

import { Chart, count, dollars, element, seconds } from "./charts.js";

const COLUMNS = 60;
const COLOURS = 7; // and one more for all the others
const REST = "others";
const KEPT = 200;
const STALE = 15; // seconds after which a silent process counts as gone
const WORST = ["ejected", "resting", "probing", "no_model", "ramping", "in"];
const STATES = {
  in: ["in", "good"],
  ramping: ["coming back", "warn"],
  probing: ["being probed", "warn"],
  no_model: ["unknown model", "warn"],
  resting: ["resting", "bad"],
  ejected: ["out", "bad"],
};

const node = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

export class Live {
  constructor() {
    this.workers = new Map();
    this.rows = [];
    this.colours = new Map();
    this.offset = 0;
    this.bins = [0.001, 1.1];
    this.told = null;
    this.listed = null;
    const bars = { kind: "bars" };
    this.charts = {
      rate: new Chart("Requests per second", { ...bars, format: count, id: "chart-rate" }),
      latency: new Chart("Latency", { kind: "lines", format: seconds, id: "chart-latency" }),
      errors: new Chart("Errors per second", { ...bars, format: count, id: "chart-errors", empty: "no errors" }),
      tokens: new Chart("Tokens per second", { ...bars, format: count, id: "chart-tokens" }),
      cost: new Chart("Cost per minute", { ...bars, format: dollars, id: "chart-cost", empty: "no prices are known, or nothing was spent" }),
      first: new Chart("Time to first token", { kind: "lines", format: seconds, id: "chart-first", empty: "no streams yet" }),
    };
    node("charts").append(...Object.values(this.charts).map((chart) => chart.node));
    for (const name of ["span", "group", "quantile"]) node(name).addEventListener("change", () => this.draw());
    node("filter").addEventListener("input", () => this.list());
    node("only-errors").addEventListener("change", () => this.list());
    node("details-close").addEventListener("click", () => node("details").close());
    window.addEventListener("resize", () => this.draw());
  }

  get seen() {
    return [...this.workers.values()].map((worker) => worker.seen).join(",");
  }

  add(data) {
    const fresh = !this.workers.has(data.worker);
    if (fresh) this.workers.set(data.worker, { counts: new Map() });
    const worker = this.workers.get(data.worker);
    Object.assign(worker, { seen: data.seen, running: data.running, targets: data.targets, heard: data.now });
    for (const line of data.counts) worker.counts.set(line.slice(0, 3).join("\n"), line);
    for (const [key, line] of worker.counts) {
      if (line[0] >= data.now - data.window) break; // they come in order
      worker.counts.delete(key);
    }
    if (data.requests.length) {
      const known = fresh ? new Set(this.rows.map((row) => row.id + row.at)) : new Set();
      const added = data.requests.filter((row) => !known.has(row.id + row.at));
      this.rows = [...added, ...this.rows].sort((one, other) => other.at - one.at).slice(0, KEPT);
    }
    this.offset = data.now - Date.now() / 1000;
    this.bins = data.bins;
    this.told = data;
    if (data.models) showModels(data.models);
    node("version").textContent = data.version;
    node("whose").textContent = data.operator
      ? ""
      : `You see the requests of ${data.caller}'s tenant. An operator's key shows those of all tenants.`;
  }

  draw() {
    if (!this.told) return;
    const view = this.view();
    this.tiles(view);
    this.legend(view);
    this.graphs(view);
    this.totals(view);
    this.targets();
    this.list();
  }

  // The counts of the chosen time, in columns, by model or by provider.
  view() {
    const span = Number(chosen("span"));
    const step = span / COLUMNS;
    const now = Date.now() / 1000 + this.offset;
    const end = (Math.floor(now / step) + 1) * step;
    const byProvider = chosen("group") === "provider";
    const all = blank();
    const series = new Map();
    const places = new Map();
    for (const { counts } of this.workers.values()) {
      for (const line of counts.values()) {
        const column = Math.floor((line[0] - (end - span)) / step);
        if (column < 0 || column >= COLUMNS) continue;
        const [, provider, model] = line;
        const name = byProvider ? provider : model;
        for (const sum of [at(series, name, columns)[column], at(places, `${provider}\n${model}`, blank), all]) merge(sum, line);
      }
    }
    const sums = new Map([...series].map(([name, list]) => [name, list.reduce((sum, one) => sum + one.requests, 0)]));
    const names = [...sums.keys()].sort((one, other) => sums.get(other) - sums.get(one) || one.localeCompare(other));
    for (const name of names) this.colour(name);
    return { span, step, end, now, all, series: this.gathered(series, names), places };
  }

  // Each name keeps its colour; names that come after all colours are taken share one.
  colour(name) {
    if (!this.colours.has(name) && this.colours.size < COLOURS) this.colours.set(name, this.colours.size);
    return this.colours.get(name) ?? COLOURS;
  }

  gathered(series, names) {
    const found = [];
    let rest = null;
    for (const name of names) {
      const colour = this.colour(name);
      if (colour < COLOURS) found.push({ name, colour, columns: series.get(name) });
      else if (rest) series.get(name).forEach((sum, column) => join(rest.columns[column], sum));
      else found.push((rest = { name: REST, colour, columns: series.get(name) }));
    }
    return found;
  }

  tiles({ all, span }) {
    const running = this.alive();
    const known = running.every((worker) => worker.running !== null);
    const share = all.requests ? (100 * all.errors) / all.requests : 0;
    const tiles = [
      ["Requests", count(all.requests), `in ${span / 60} min`],
      ["In progress", known ? count(running.reduce((sum, worker) => sum + worker.running, 0)) : "–", ""],
      ["Errors", all.requests ? trimmed(share) : "–", all.requests ? "%" : ""],
      ["Latency p50", ...unit(seconds(this.quantile(all.times, 0.5)))],
      ["Latency p95", ...unit(seconds(this.quantile(all.times, 0.95)))],
      ["First token", ...unit(seconds(this.quantile(all.firstTokens, 0.5)))],
      ["Tokens", ...unit(count(all.input + all.output))],
      ["Cost", dollars(all.dollars), ""],
    ];
    node("tiles").replaceChildren(
      ...tiles.map(([name, value, unit]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, value, " ", element("small", {}, unit ?? ""))),
      ),
    );
  }

  alive() {
    return [...this.workers.values()].filter((worker) => worker.heard > this.told.now - STALE);
  }

  // Each process knows the targets' health for itself; a target is shown as the process that sees it worst does.
  targets() {
    const known = this.alive().filter((worker) => worker.targets);
    const found = new Map();
    for (const { targets } of known) {
      for (const one of targets) {
        const key = [one.place, one.model, one.key_no].join("\n");
        const other = found.get(key);
        const running = one.in_flight + (other?.in_flight ?? 0);
        const worse = !other || WORST.indexOf(one.state) < WORST.indexOf(other.state);
        found.set(key, { ...(worse ? one : other), in_flight: running });
      }
    }
    const lines = [...found.values()].sort(
      (one, other) => WORST.indexOf(one.state) - WORST.indexOf(other.state) || one.place.localeCompare(other.place),
    );
    node("targets-card").hidden = !known.length;
    node("targets").hidden = !lines.length;
    node("targets-empty").hidden = lines.length > 0;
    node("targets").tBodies[0].replaceChildren(...lines.map(targetRow));
  }

  legend({ series }) {
    node("legend").replaceChildren(
      ...series.map(({ name, colour }) => element("li", {}, element("span", { class: `swatch s${colour}` }), name)),
    );
  }

  graphs({ series, span, step, end, all }) {
    const quantile = Number(chosen("quantile"));
    const labels = [`−${span / 60} min`, `−${span / 120} min`.replace("0.5 min", "30 s"), "now"];
    const times = Array.from({ length: COLUMNS }, (_, column) => clock(end - span + column * step));
    const draw = (chart, now, value) => {
      const drawn = series.map(({ name, colour, columns }) => ({ name, colour, values: columns.map(value) }));
      chart.draw({ columns: COLUMNS, series: drawn, labels, times, now });
    };
    const word = quantile === 0.5 ? "p50" : "p95";
    draw(this.charts.rate, `${count(all.requests)} in all`, (sum) => sum.requests / step);
    draw(this.charts.errors, all.errors ? `${count(all.errors)} in all` : "none", (sum) => sum.errors / step);
    draw(this.charts.tokens, `${count(all.input + all.output)} in all`, (sum) => (sum.input + sum.output) / step);
    draw(this.charts.cost, all.dollars ? `${dollars(all.dollars)} in all` : "", (sum) => (sum.dollars * 60) / step);
    draw(this.charts.latency, `${word} ${seconds(this.quantile(all.times, quantile))}`, (sum) => this.quantile(sum.times, quantile));
    draw(this.charts.first, `${word} ${seconds(this.quantile(all.firstTokens, quantile))}`, (sum) => this.quantile(sum.firstTokens, quantile));
  }

  totals({ places }) {
    const lines = [...places].sort(([, one], [, other]) => other.requests - one.requests);
    const byProvider = chosen("group") === "provider";
    node("totals").tBodies[0].replaceChildren(
      ...lines.map(([place, sum]) => {
        const [provider, model] = place.split("\n");
        const swatch = element("span", { class: `swatch s${this.colour(byProvider ? provider : model)}` });
        return row([
          [element("span", { class: "model-cell" }, swatch, element("span", {}, model)), "Model", "wide"],
          [provider, "Provider"],
          [count(sum.requests), "Requests", "number"],
          [sum.errors ? element("span", { class: "badge bad" }, count(sum.errors)) : "0", "Errors", "number"],
          [seconds(this.quantile(sum.times, 0.5)), "p50", "number"],
          [seconds(this.quantile(sum.times, 0.95)), "p95", "number"],
          [seconds(this.quantile(sum.firstTokens, 0.5)), "First token", "number"],
          [count(sum.input), "Tokens in", "number"],
          [count(sum.output), "Tokens out", "number"],
          [sum.dollars ? dollars(sum.dollars) : "–", "Cost", "number"],
        ]);
      }),
    );
    node("totals").hidden = !lines.length;
    node("totals-empty").hidden = lines.length > 0;
  }

  list() {
    if (node("requests").hidden) return;
    const wanted = node("filter").value.trim().toLowerCase();
    const onlyErrors = node("only-errors").checked;
    const shown = this.rows.filter(
      (one) => (!onlyErrors || failed(one)) && (!wanted || words(one).includes(wanted)),
    );
    const now = shown.map((one) => one.id + one.at).join();
    if (now !== this.listed) node("rows").tBodies[0].replaceChildren(...shown.map(requestRow)); // else focus would be lost
    this.listed = now;
    node("rows").hidden = !shown.length;
    node("rows-empty").hidden = shown.length > 0;
    node("rows-empty").textContent = this.rows.length
      ? "None of the last requests matches."
      : "None yet. Send a prompt in the playground, and the request appears here.";
  }

  quantile(bins, share) {
    const sorted = Object.entries(bins).map(([bin, many]) => [Number(bin), many]).sort((one, other) => one[0] - other[0]);
    const total = sorted.reduce((sum, [, many]) => sum + many, 0);
    if (!total) return null;
    const [shortest, factor] = this.bins;
    let passed = 0;
    for (const [bin, many] of sorted) {
      passed += many;
      if (passed >= share * total) return bin === 0 ? shortest : shortest * factor ** (bin - 0.5);
    }
    return null;
  }
}

function blank() {
  return { requests: 0, errors: 0, input: 0, output: 0, dollars: 0, times: {}, firstTokens: {} };
}

function columns() {
  return Array.from({ length: COLUMNS }, blank);
}

function at(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

function merge(sum, [, , , requests, errors, input, output, dollars, times, firstTokens]) {
  join(sum, { requests, errors, input, output, dollars, times, firstTokens });
}

function join(sum, more) {
  for (const name of ["requests", "errors", "input", "output", "dollars"]) sum[name] += more[name];
  for (const name of ["times", "firstTokens"]) {
    for (const [bin, many] of Object.entries(more[name])) sum[name][bin] = (sum[name][bin] ?? 0) + many;
  }
}

function trimmed(value) {
  return value >= 10 ? value.toFixed(0) : String(Number(value.toFixed(1)));
}

// Splits "123 ms" in two, because the number is shown large and the unit small.
function unit(text) {
  const [value, ...rest] = text.split(" ");
  return [value, rest.join(" ")];
}

function clock(second) {
  return new Date(second * 1000).toLocaleTimeString([], { hour12: false });
}

function failed(one) {
  return one.status >= 400 || one.outcome === "failed";
}

function words(one) {
  return [one.id, one.caller, one.asked, one.served, one.client, one.upstream, one.status, one.error, one.outcome, one.moved, one.limited_by]
    .join(" ")
    .toLowerCase();
}

function row(cells, attributes = {}) {
  return element("tr", attributes, ...cells.map(([content, label, kind]) => element("td", { "data-label": label, class: kind ?? "" }, content)));
}

function requestRow(one) {
  const asked = one.asked ?? "(no name)";
  const model = element("span", {}, asked);
  if (one.served && one.served !== asked) model.append(element("span", { class: "sub" }, `→ ${one.served}`));
  const api = element("span", {}, one.client);
  const more = [one.upstream && one.upstream !== one.client ? `→ ${one.upstream}` : "", one.stream ? "stream" : ""].filter(Boolean);
  if (more.length) api.append(element("span", { class: "sub" }, more.join(", ")));
  const status = element("span", {}, badge(one));
  if (one.error && one.outcome !== "aborted") status.append(element("span", { class: "sub" }, one.error));
  else if (one.attempts.length > 1) status.append(element("span", { class: "sub" }, `${one.attempts.length} attempts`));
  const time = element("button", { type: "button", class: "open", "aria-haspopup": "dialog", title: "Show details" }, clock(one.at));
  const made = row([
    [time, "Time"],
    [one.caller, "Caller", "more"],
    [model, "Model", "wide"],
    [api, "API", "more"],
    [status, "Status"],
    [seconds(one.seconds), "Time taken", "number"],
    [seconds(one.first_token), "First token", "number more"],
    [tokens(one, one.input), "Tokens in", "number more"],
    [tokens(one, one.output), "Tokens out", "number more"],
    [dollars(one.dollars), "Cost", "number more"],
    [one.losses.length ? one.losses.join(", ") : "–", "Lost", "more"],
  ]);
  made.addEventListener("click", () => {
    if (!window.getSelection().toString()) showDetails(one); // a selection is there to be copied
  });
  return made;
}

function badge(one) {
  const left = one.outcome === "aborted";
  return element("span", { class: `badge ${left ? "warn" : failed(one) ? "bad" : "good"}` }, left ? "client left" : String(one.status));
}

function tokens(one, many) {
  return many === null ? "–" : `${one.estimated ? "≈ " : ""}${count(many)}`;
}

// All that the gateway has kept of a request; it keeps nothing of what was said.
function showDetails(one) {
  const facts = [
    ["Request id", one.id],
    ["Ended", new Date(one.at * 1000).toLocaleString([], { hour12: false })],
    ["Status", badge(one)],
    ["Outcome", { aborted: "the client left", failed: "the stream broke" }[one.outcome] ?? null],
    ["Error", one.error],
    ["Caller", one.caller],
    ["Model asked for", one.asked],
    ["Answered by", one.served],
    ["Client's API", one.client],
    ["Upstream's API", one.upstream],
    ["Streamed", one.stream ? "yes" : "no"],
    ["Time taken", seconds(one.seconds)],
    ["First token", seconds(one.first_token)],
    ["Tokens in", tokens(one, one.input)],
    ["Tokens out", tokens(one, one.output)],
    ["Tokens are", one.estimated ? "estimated, because the upstream did not report them" : null],
    ["Cost", one.dollars === null ? null : dollars(one.dollars)],
    ["Lost in translation", one.losses.join(", ")],
    ...(one.attempts.length > 1 || one.moved ? one.attempts : []).map((each, index) => [`Attempt ${index + 1}`, attempt(each)]),
    ["Fell back after", one.moved],
    ["Limited by", one.limited_by],
  ].filter(([, value]) => value !== null && value !== "" && value !== "–");
  node("details-facts").replaceChildren(
    ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
  node("details").showModal();
}

function attempt({ entry, key_no, class: failure, status, ms, waited_ms }) {
  const how = element("span", { class: `badge ${failure ? "bad" : "good"}` }, failure ?? "answered");
  const more = [status || "", ms === undefined ? "" : seconds(ms / 1000), waited_ms ? `after ${seconds(waited_ms / 1000)}` : ""];
  const where = key_no ? `${entry}, key ${key_no}` : entry;
  return element("span", {}, how, " ", where, element("span", { class: "sub" }, more.filter(Boolean).join(", ")));
}

function targetRow(one) {
  const [word, kind] = STATES[one.state];
  return row([
    [one.model, "Model", "wide"],
    [one.place, "Entry", "full"],
    [String(one.key_no), "Key", "number"],
    [element("span", { class: `badge ${kind}` }, word), "State"],
    [one.why ?? "–", "Why"],
    [one.seconds === null ? "–" : `in ${Math.ceil(one.seconds)} s`, "Next try", "number"],
    [count(one.in_flight), "In progress", "number"],
  ]);
}

function showModels(models) {
  node("names").tBodies[0].replaceChildren(
    ...models.map((model) =>
      row([
        [element("span", {}, model.name), "Name", "wide"],
        [model.alias ? element("span", {}, element("span", { class: "badge" }, "alias"), ` of ${model.target}`) : model.name.endsWith("*") ? "any model of the provider" : "model", "Kind", "full"],
        [model.provider, "Provider"],
        [model.apis.join(", ") || "–", "APIs"],
      ]),
    ),
  );
  node("model-names").replaceChildren(
    ...models.filter((model) => !model.name.endsWith("*")).map((model) => element("option", { value: model.name })),
  );
  const first = models.find((model) => model.alias) ?? models.find((model) => !model.name.endsWith("*"));
  if (first && !node("model").value) node("model").value = first.name;
}
