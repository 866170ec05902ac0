// The last hour: charts that share one time cursor.
//
// The pointer, the slider and the keys move the cursor. A click or the slider pins it: the address then has the time
// (?at=14:03:20), so a colleague who opens it sees the same. Dragging over a chart, or + and -, selects a part of the
// hour for all charts (?from=14:00:00&to=14:10:00).

import { element, setAttribute, setText, svg, timeOfDay } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 70;
// Seconds between two times on a chart's axis: the first step that leaves room for every label is used.
const TICKS = [30, 60, 120, 300, 600];
const MOST_TICKS = 7;
// Samples in the shortest part of the hour that can be selected, a minute.
const LEAST_SAMPLES = 6;

export class TimelineView {
  /** `onPin` is called with a time for the address, "" for now; `onZoom` with a part's two times, "" for the hour. */
  constructor(onPin, onZoom) {
    this.onPin = onPin;
    this.onZoom = onZoom;
    this.charts = new Map();
    this.grid = element("div", { class: "charts" });
    this.slider = element("input", {
      type: "range",
      min: 0,
      "aria-label": "Time",
      input: () => this.pin(Number(this.slider.value)),
    });
    this.time = element("output", { class: "cursor-time" });
    const step = (by, label, text) =>
      element("button", { type: "button", "aria-label": label, title: label, click: () => this.step(by) }, text);
    this.now = element("button", { type: "button", click: () => this.onPin("") }, "now");
    this.title = element("h2", {}, "Last hour");
    this.hour = element("button", { type: "button", title: "The whole hour (-)", click: () => onZoom("", "") }, "whole hour");
    this.hour.hidden = true;
    this.root = element(
      "section",
      { class: "timeline", "aria-label": "The last hour" },
      element(
        "div",
        { class: "timeline-head" },
        this.title,
        step(-1, "Earlier (←)", "◀"),
        this.slider,
        step(1, "Later (→)", "▶"),
        this.time,
        this.now,
        this.hour,
      ),
      this.grid,
    );
    this.root.hidden = true;
    // The hour, the visible part of it, and the sample where a drag began.
    this.whole = null;
    this.past = null;
    this.held = null;
    this.hovered = null;
    this.pinned = null;
  }

  /** Show the last hour; `at`, `from` and `to` are the times in the address, "" for now and for the whole hour. */
  show(whole, { at, from, to }) {
    this.whole = whole;
    this.times = `${from} ${to}`;
    const past = cut(whole, from, to);
    this.past = past;
    this.root.hidden = past.times.length < 2;
    if (this.root.hidden) return;
    this.hour.hidden = past === whole;
    const ends = [past.times[0], past.times.at(-1)].map((time) => timeOfDay(time));
    this.period = past === whole ? "last hour" : ends.join(" to ");
    setText(this.title, past === whole ? "Last hour" : ends.join(" – "));
    this.slider.max = String(past.times.length - 1);
    const titles = past.charts.map((chart) => chart.title);
    for (const chart of past.charts) {
      let made = this.charts.get(chart.title);
      if (made === undefined) {
        made = this.chartOf(chart);
        this.charts.set(chart.title, made);
        this.grid.append(made.root);
      }
      this.draw(made, chart);
    }
    for (const [title, made] of this.charts) made.root.hidden = !titles.includes(title);
    this.place({ at, from, to });
  }

  /** Move the cursor to the time in the address, and show the part of the hour in it. */
  place({ at, from, to }) {
    if (this.past === null || this.root.hidden) return;
    if (this.times !== `${from} ${to}`) {
      this.held = this.hovered = null;
      this.show(this.whole, { at, from, to });
      return;
    }
    this.pinned = at === "" ? null : nearest(this.past.times, at);
    this.mark();
  }

  /** Move the cursor by this many samples. */
  step(by) {
    if (this.past === null || this.root.hidden) return false;
    const last = this.past.times.length - 1;
    this.pin(Math.min(last, Math.max(0, (this.pinned ?? last) + by)));
    return true;
  }

  pin(index) {
    this.pinned = index;
    this.onPin(this.past.times[index] === this.whole.times.at(-1) ? "" : timeOfDay(this.past.times[index]));
    this.mark();
  }

  /** Show a part of the hour around the cursor, `factor` times as long as the visible part. */
  zoom(factor) {
    if (this.past === null || this.root.hidden) return false;
    const { times } = this.whole;
    const last = this.past.times.length - 1;
    const length = Math.max(LEAST_SAMPLES, Math.round(last * factor));
    const middle = times.indexOf(this.past.times[0]) + (this.pinned ?? last);
    const first = Math.min(times.length - 1 - length, Math.max(0, Math.round(middle - length / 2)));
    this.zoomTo(times, first, first + length);
    return true;
  }

  /** Show the samples from index `first` to `last`. */
  zoomTo(times, first, last) {
    if (first <= 0 && last >= this.whole.times.length - 1) this.onZoom("", "");
    else this.onZoom(timeOfDay(times[first]), timeOfDay(times[last]));
  }

  chartOf(chart) {
    const area = svg("path", { class: "area" });
    const lines = chart.series.map((_, place) => svg("path", { class: `series series-${place}` }));
    const marks = svg("g");
    const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT });
    const chosen = svg("rect", { class: "chosen", y: 0, height: HEIGHT, width: 0 });
    const picture = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      svg("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }),
      area,
      marks,
      ...lines,
      chosen,
      cursor,
    );
    const values = element("span", { class: "values" });
    const top = element("span", { class: "top-value", "aria-hidden": "true" });
    const ticks = element("div", { class: "ticks", "aria-hidden": "true" });
    const stage = element("div", { class: "stage" }, picture, top);
    const root = element("figure", { class: "chart" }, element("figcaption", {}, chart.title, " ", values), stage, ticks);
    stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      stage.setPointerCapture(event.pointerId);
      this.held = this.indexAt(event, stage);
    });
    stage.addEventListener("pointermove", (event) => {
      this.hovered = this.indexAt(event, stage);
      this.mark();
    });
    stage.addEventListener("pointerup", (event) => this.release(this.indexAt(event, stage)));
    for (const name of ["pointerleave", "pointercancel"])
      stage.addEventListener(name, () => {
        this.held = this.hovered = null;
        this.mark();
      });
    return { root, picture, area, lines, marks, chosen, cursor, values, top, ticks };
  }

  /** Handle the end of a click or drag: a drag selects a part of the hour, a click pins a time. */
  release(index) {
    if (this.held === null) return;
    const [first, last] = [Math.min(this.held, index), Math.max(this.held, index)];
    this.held = null;
    if (last - first >= LEAST_SAMPLES) this.zoomTo(this.past.times, first, last);
    else this.pin(index);
  }

  indexAt(event, stage) {
    const box = stage.getBoundingClientRect();
    const last = this.past.times.length - 1;
    return Math.min(last, Math.max(0, Math.round(((event.clientX - box.left) / box.width) * last)));
  }

  draw(made, chart) {
    made.chart = chart;
    const { times, marks } = this.past;
    const last = times.length - 1;
    const x = (index) => (index / last) * WIDTH;
    const y = (value) => HEIGHT - 1 - (chart.top > 0 ? value / chart.top : 0) * (HEIGHT - 6);
    chart.series.forEach(({ values }, place) => made.lines[place].setAttribute("d", lineOf(values, x, y)));
    made.area.setAttribute("d", areaOf(chart.series[0].values, x, y));
    setText(made.top, chart.top_text);
    const known = chart.series[0].values.filter((value) => value !== null);
    const words = `${chart.title}, ${this.period}: at the end ${chart.series[0].texts.at(-1)}, at most ${known.length ? chart.top_text : "–"}`;
    setAttribute(made.picture, "aria-label", words);
    made.marks.replaceChildren(
      ...marks.map(({ time, text, tone }) => {
        const at = x(fraction(times, time));
        const line = svg("line", { class: `verdict-mark ${tone}`, x1: at, x2: at, y1: 0, y2: HEIGHT });
        line.append(svg("title", {}, `${timeOfDay(time)} ${text}`));
        return line;
      }),
    );
    const seconds = TICKS.find((one) => (times[last] - times[0]) / one < MOST_TICKS) ?? TICKS.at(-1);
    const labels = [];
    for (let time = Math.ceil(times[0] / seconds) * seconds; time <= times[last]; time += seconds) {
      const share = fraction(times, time) / last;
      if (share < 0.06 || share > 0.94) continue;
      const label = element("span", {}, timeOfDay(time).slice(0, seconds < 60 ? 8 : 5));
      label.style.setProperty("left", `${share * 100}%`);
      labels.push(label);
    }
    made.ticks.replaceChildren(...labels);
  }

  /** Update cursor, values and time to the pointer, or else to the pin, or else to now. */
  mark() {
    const { times } = this.past;
    const last = times.length - 1;
    const index = Math.min(last, this.hovered ?? this.pinned ?? last);
    const isNow = this.hovered === null && this.pinned === null && times[last] === this.whole.times.at(-1);
    const [begin, end] = [Math.min(this.held ?? index, index), Math.max(this.held ?? index, index)];
    const at = String((index / last) * WIDTH);
    for (const made of this.charts.values()) {
      made.cursor.setAttribute("x1", at);
      made.cursor.setAttribute("x2", at);
      made.cursor.classList.toggle("is-now", isNow);
      made.chosen.setAttribute("x", String((begin / last) * WIDTH));
      made.chosen.setAttribute("width", String(((end - begin) / last) * WIDTH));
      setText(made.values, made.chart.series.map(({ name, texts }) => `${name} ${texts[index]}`).join(" · "));
    }
    this.slider.value = String(index);
    const time = timeOfDay(times[index]);
    setAttribute(this.slider, "aria-valuetext", time);
    setText(this.time, isNow ? `now ${time}` : time);
    this.now.disabled = this.pinned === null;
  }
}

/** The part of the past between two times of day; all of it if there is no such part. */
export function cut(past, from, to) {
  const first = from && nearest(past.times, from);
  const last = to && nearest(past.times, to);
  if (!Number.isInteger(first) || !Number.isInteger(last) || last <= first) return past;
  const part = (values) => values.slice(first, last + 1);
  const times = part(past.times);
  const charts = past.charts.map((chart) => {
    const series = chart.series.map((one) => ({ ...one, values: part(one.values), texts: part(one.texts) }));
    return { ...chart, series, ...topOf(series) };
  });
  const marks = past.marks.filter(({ time }) => time >= times[0] && time <= times.at(-1));
  return { ...past, times, charts, marks };
}

/** The largest value of some series, as a number and as text. */
function topOf(series) {
  let found = { top: 0, top_text: "–" };
  for (const { values, texts } of series)
    values.forEach((value, index) => {
      if (value !== null && (value > found.top || found.top_text === "–")) found = { top: value, top_text: texts[index] };
    });
  return found;
}

/** The index of the sample nearest to a time of day; null if the text is not a time. */
export function nearest(times, at) {
  const wanted = at.split(":").map(Number);
  if (wanted.some((part) => !Number.isFinite(part))) return null;
  const date = new Date(times.at(-1) * 1000);
  date.setHours(wanted[0], wanted[1] ?? 0, wanted[2] ?? 0, 0);
  let seconds = date.getTime() / 1000;
  if (seconds > times.at(-1) + 1) seconds -= 86400;
  let best = 0;
  for (let index = 0; index < times.length; index += 1)
    if (Math.abs(times[index] - seconds) < Math.abs(times[best] - seconds)) best = index;
  return best;
}

/** The position of a time among the samples, as a fractional index. */
function fraction(times, time) {
  let index = times.findIndex((one) => one >= time);
  if (index < 0) index = times.length - 1;
  if (index === 0) return 0;
  const before = times[index - 1];
  return index - 1 + Math.min(1, (time - before) / Math.max(0.001, times[index] - before));
}

function lineOf(values, x, y) {
  const parts = [];
  let isDown = false;
  values.forEach((value, index) => {
    if (value !== null) parts.push(`${isDown ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`);
    isDown = value !== null;
  });
  return parts.join("");
}

function areaOf(values, x, y) {
  const parts = [];
  let begun = null;
  values.forEach((value, index) => {
    if (value !== null) {
      if (begun === null) parts.push(`M${x(index).toFixed(1)} ${HEIGHT}`);
      begun ??= index;
      parts.push(`L${x(index).toFixed(1)} ${y(value).toFixed(1)}`);
    }
    const isEnd = begun !== null && (value === null || index === values.length - 1);
    if (isEnd) {
      parts.push(`L${x(value === null ? index - 1 : index).toFixed(1)} ${HEIGHT}Z`);
      begun = null;
    }
  });
  return parts.join("");
}
