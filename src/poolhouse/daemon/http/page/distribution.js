// A distribution of durations: bars over a logarithmic axis, with its quantiles marked and listed as text.

import { element, svg } from "./dom.js";

const HEIGHT = 60;

/** The picture of one distribution of a frame. */
export function distributionView({ title, count, since, quantiles, bars, marks, ticks }) {
  const words = quantiles.map(([name, text]) => `${name} ${text}`).join(", ");
  return element(
    "figure",
    { class: "distribution" },
    element("figcaption", {}, element("strong", {}, title), ` ${count} ${since}`),
    bars.length === 0 ? element("p", { class: "note" }, "nothing recorded") : picture(title, words, bars, marks, ticks),
    element("dl", {}, ...quantiles.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text)))),
  );
}

function picture(title, words, bars, marks, ticks) {
  const width = 360 / bars.length;
  const columns = bars.map((share, place) =>
    share > 0
      ? svg("rect", {
          class: "bar",
          x: (place * width).toFixed(2),
          y: (HEIGHT - Math.max(1.5, share * HEIGHT)).toFixed(2),
          width: (width * 0.86).toFixed(2),
          height: Math.max(1.5, share * HEIGHT).toFixed(2),
        })
      : null,
  );
  const axis = svg("line", { class: "axis", x1: 0, x2: 360, y1: HEIGHT + 0.5, y2: HEIGHT + 0.5 });
  // If marks are close together, only the first is named; the text below lists all of them.
  let named = -1;
  const arrows = marks.map(([name, place]) => {
    const hasName = place - named > 0.08;
    if (hasName) named = place;
    return svg(
      "g",
      { class: "mark" },
      svg("line", { x1: place * 360, x2: place * 360, y1: 4, y2: HEIGHT }),
      hasName ? svg("text", { x: place * 360, y: HEIGHT + 11, "text-anchor": anchor(place) }, name) : null,
    );
  });
  const labels = ticks.map(([label, place]) =>
    svg("text", { class: "tick", x: place * 360, y: HEIGHT + 22, "text-anchor": anchor(place) }, label),
  );
  return svg(
    "svg",
    { viewBox: `0 0 360 ${HEIGHT + 25}`, role: "img", "aria-label": `${title}: ${words}` },
    svg("title", {}, `${title}: ${words}`),
    ...columns,
    axis,
    ...arrows,
    ...labels,
  );
}

function anchor(place) {
  return place < 0.06 ? "start" : place > 0.94 ? "end" : "middle";
}
