// Small inline charts: a share as a bar, a series as columns.

import { svg } from "./dom.js";

// A shorter series is aligned to the right.
const LEAST_COLUMNS = 30;

/** A bar whose filled part is a share from 0 to 1; the number is next to it as text. */
export function meter() {
  const filled = svg("rect", { class: "meter-filled", height: 6, width: 0, rx: 1 });
  const root = svg(
    "svg",
    { class: "meter", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "meter-whole", width: 100, height: 6, rx: 1 }),
    filled,
  );
  let before = null;
  root.show = (share) => {
    if (share === before) return;
    before = share;
    // Only 0 looks empty, and only 1 looks full.
    const width = share > 0 ? (share >= 1 ? 100 : Math.min(97, Math.max(3, share * 100))) : 0;
    filled.setAttribute("width", String(width));
  };
  return root;
}

/**
 * A series as columns; null is a gap, `top` fills the height (the largest value if it is null). The same row has the
 * newest value as a number, so a screen reader misses nothing.
 */
export function sparkline() {
  const path = svg("path");
  const root = svg(
    "svg",
    { class: "spark", viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" },
    path,
  );
  root.show = (values, top = null) => {
    const most = top > 0 ? top : Math.max(1, ...values.map((value) => value ?? 0));
    const width = 100 / Math.max(LEAST_COLUMNS, values.length);
    const first = Math.max(0, LEAST_COLUMNS - values.length);
    const parts = values.map((value, index) => {
      const place = first + index;
      if (value === null) return "";
      const height = value > 0 ? Math.max(1.5, Math.min(20, (20 * value) / most)) : 0.7;
      return `M${(place * width).toFixed(2)} 20v-${height.toFixed(2)}h${(width * 0.8).toFixed(2)}V20z`;
    });
    path.setAttribute("d", parts.join(""));
  };
  return root;
}
