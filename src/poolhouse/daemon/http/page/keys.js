// The keys, the same as in connmon's window.

/** Every key: its label, a description, and the name of its action. */
export const KEYS = [
  { keys: ["p"], shown: "p", action: "programs", meaning: "all programs" },
  { keys: ["h"], shown: "h", action: "hosts", meaning: "all hosts" },
  { keys: ["l"], shown: "l", action: "lines", meaning: "the lines that hold connections" },
  { keys: ["w"], shown: "w", action: "why", meaning: "why: what the verdicts are made from, and what to do" },
  { keys: ["e"], shown: "e", action: "events", meaning: "events: what appeared, fell silent, or recovered" },
  { keys: ["ArrowUp", "k"], shown: "↑ k", action: "up", meaning: "the row above" },
  { keys: ["ArrowDown", "j"], shown: "↓ j", action: "down", meaning: "the row below" },
  { keys: ["Home", "g"], shown: "Home g", action: "first", meaning: "the first row" },
  { keys: ["End", "G"], shown: "End G", action: "last", meaning: "the last row" },
  { keys: ["ArrowLeft"], shown: "←", action: "earlier", meaning: "the time cursor earlier" },
  { keys: ["ArrowRight"], shown: "→", action: "later", meaning: "the time cursor later" },
  { keys: ["+", "="], shown: "+", action: "closer", meaning: "half as much time in the charts" },
  { keys: ["-"], shown: "-", action: "farther", meaning: "twice as much, up to the hour" },
  { keys: [], shown: "↵", action: "", meaning: "open the host, program, pool or line in this row" },
  { keys: ["Escape", "Backspace"], shown: "esc", action: "back", meaning: "now, then the whole hour, then without the filter, then the view before" },
  { keys: ["/"], shown: "/", action: "filter", meaning: "show only rows whose names contain a text" },
  { keys: ["s"], shown: "s", action: "sort", meaning: "sort by the next column" },
  { keys: ["S"], shown: "S", action: "sortBack", meaning: "sort by the column before" },
  { keys: ["i"], shown: "i", action: "reverse", meaning: "reverse the order" },
  { keys: [" "], shown: "space", action: "pause", meaning: "pause, or resume" },
  { keys: ["r"], shown: "r", action: "retry", meaning: "try to connect now" },
  { keys: ["?"], shown: "?", action: "legend", meaning: "the legend" },
];

/** Call a key's action when it is pressed outside text fields; `actions` has a function for each action. */
export function listen(actions) {
  const byKey = new Map(KEYS.flatMap(({ keys, action }) => keys.map((key) => [key, action])));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    const isTyping = event.target instanceof HTMLInputElement;
    if (isTyping && event.key !== "Escape") return;
    // The space bar activates a focused button.
    if (event.key === " " && event.target instanceof HTMLButtonElement) return;
    const action = byKey.get(event.key);
    if (action === undefined || document.querySelector("dialog[open]") !== null) return;
    if (actions[action](event) !== false) event.preventDefault();
  });
}
