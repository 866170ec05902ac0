// The parts of a view besides its figures and tables: facts, counters, distributions, and the verdicts in full.

import { distributionView } from "./distribution.js";
import { element } from "./dom.js";
import { whyCard } from "./verdict.js";

export class DetailView {
  constructor() {
    this.root = element("div", { class: "detail" });
    this.before = "";
  }

  /** Show these parts of a frame; they are few, so a change rebuilds them. */
  show({ facts = [], counters = [], distributions = [], verdicts = [] }) {
    const made = JSON.stringify([facts, counters, distributions, verdicts]);
    if (made === this.before) return;
    this.before = made;
    this.root.replaceChildren(
      ...verdicts.map(whyCard),
      ...(facts.length ? [factsView(facts)] : []),
      ...(distributions.length
        ? [element("div", { class: "distributions" }, ...distributions.map(distributionView))]
        : []),
      ...(counters.length ? [countersView(counters)] : []),
    );
  }
}

function factsView(facts) {
  return element(
    "dl",
    { class: "facts" },
    ...facts.map(([label, text]) => element("div", {}, element("dt", {}, label), element("dd", {}, text))),
  );
}

function countersView(counters) {
  const heading = (text) => element("th", { scope: "col" }, text);
  return element(
    "table",
    { class: "counters" },
    element("caption", {}, "Counters"),
    element("thead", {}, element("tr", {}, heading("counter"), heading("since start"), heading("per second"))),
    element(
      "tbody",
      {},
      ...counters.map(([name, since, perSecond, tone]) =>
        element(
          "tr",
          { "data-tone": tone },
          element("th", { scope: "row" }, name),
          element("td", {}, since),
          element("td", {}, tone === "bad" ? `${perSecond} !` : perSecond),
        ),
      ),
    ),
  );
}
