// The figures of a view: how many, how full, how fast and how long.

import { element, setAttribute, setText } from "./dom.js";
import { meter } from "./spark.js";

export class FiguresView {
  constructor() {
    this.root = element("dl", { class: "figures" });
    this.shown = new Map();
  }

  show(figures) {
    const gone = new Set(this.shown.keys());
    for (const figure of figures) {
      gone.delete(figure.label);
      let made = this.shown.get(figure.label);
      if (made === undefined) {
        const text = element("dd");
        const bar = "share" in figure ? meter() : null;
        const root = element("div", {}, element("dt", {}, figure.label), text, bar);
        made = { root, text, bar };
        this.shown.set(figure.label, made);
      }
      this.root.append(made.root);
      const isBad = figure.tone === "bad";
      setText(made.text, isBad ? `${figure.text} !` : figure.text);
      setAttribute(made.root, "data-tone", figure.tone ?? null);
      made.bar?.show(figure.share);
    }
    for (const label of gone) {
      this.shown.get(label).root.remove();
      this.shown.delete(label);
    }
  }
}
