// The legend: the meaning of the signs, the keys, and one sentence for every column of the view.

import { element } from "./dom.js";
import { KEYS } from "./keys.js";

const SIGNS = [
  ["●", "reporting"],
  ["!", "beside a red number: callers wait, or reports are late"],
  ["○", "late: no report for two intervals; the row is dim, and gone after five"],
  ["–", "not known: the source does not send it"],
  ["≤", "at most this: the source knows an upper bound only"],
  ["▾ ▴", "the column that the table is sorted by: largest first, smallest first"],
];

/** Open the legend of these tables. */
export function openLegend(tables) {
  const list = (title, pairs) => [
    element("h3", {}, title),
    element("dl", {}, ...pairs.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)])),
  ];
  const close = element("button", { type: "button" }, "Close (esc)");
  const dialog = element(
    "dialog",
    { class: "legend", "aria-label": "Legend" },
    element("h2", {}, "Legend"),
    close,
    ...list("Signs", SIGNS),
    ...list("Keys", KEYS.map(({ shown, meaning }) => [shown, meaning])),
    ...tables.flatMap((table) =>
      list(table.title, table.columns.map(({ heading, meaning }) => [heading, meaning])),
    ),
  );
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
