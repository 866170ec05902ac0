// The line at the top: what is wrong and why, or that nothing is wrong.

import { element, setText } from "./dom.js";

export class VerdictView {
  constructor(root) {
    this.text = element("p", { class: "verdict-line" });
    this.why = element("a", { class: "why", href: "/verdicts", title: "Why (w)" }, "why");
    this.root = root;
    root.append(this.text, this.why);
    root.hidden = true;
  }

  /** Show the verdict of a frame; null if the processes report too little for one. */
  show(verdict) {
    this.root.hidden = verdict === null;
    if (verdict === null) return;
    this.root.dataset.tone = verdict.tone;
    // Set only if the sentence differs, so that a screen reader reads each sentence once.
    setText(this.text, `${verdict.sign} ${verdict.text}`);
    this.why.hidden = verdict.standing === 0;
    const more = verdict.standing > 1 ? `why, and ${verdict.standing - 1} more` : "why";
    setText(this.why, more);
  }
}

/** The page of a verdict: the numbers behind it, what to do, and what would disprove it. */
export function whyCard(verdict) {
  const row = (label, text) => (text ? [element("dt", {}, label), element("dd", {}, text)] : []);
  return element(
    "article",
    { class: "why-card", "data-severity": verdict.severity },
    element(
      "h2",
      {},
      `${verdict.severity === "alarm" ? "✗" : "•"} ${verdict.cause}`,
      element("small", {}, `${verdict.severity}, for ${verdict.standing_for}`),
    ),
    element("p", {}, element("a", { href: verdict.to }, verdict.headline)),
    element(
      "dl",
      {},
      ...row("what it is", verdict.what_it_is),
      ...verdict.facts.flatMap(([label, text]) => row(label, text)),
      ...row("what to do", verdict.do),
      ...row("wrong if", verdict.disprove),
      ...row("more", `poolhouse explain ${verdict.cause}`),
    ),
  );
}
