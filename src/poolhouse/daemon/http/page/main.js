// The page: the address names the view, frames bring its data, and the modules of the parts draw it.

import { apiPath, changed, current } from "./address.js";
import { DetailView } from "./detail.js";
import { element, setAttribute, setText, timeOfDay } from "./dom.js";
import { FiguresView } from "./figures.js";
import { listen } from "./keys.js";
import { openLegend } from "./legend.js";
import { Live } from "./live.js";
import { FIRST_ROWS, TableView } from "./table.js";
import * as theme from "./theme.js";
import { TimelineView } from "./timeline.js";
import { VerdictView } from "./verdict.js";

const STATES = {
  live: "● live",
  asking: "● every 2 s",
  connecting: "… connecting",
  silent: "! no connection",
};

// A window of more than this width, in units of the font size, has room for further columns.
const WIDE = 130;
const isWide = () => innerWidth > WIDE * parseFloat(getComputedStyle(document.documentElement).fontSize);

// Time after the last key in the filter until the server is asked to filter.
const TYPING_MS = 200;

const find = (id) => document.getElementById(id);

class Page {
  constructor() {
    this.frame = null;
    this.waiting = null;
    this.isPaused = false;
    this.isPartial = false;
    this.path = null;
    this.verdict = new VerdictView(find("verdict"));
    this.status = "connecting";
    this.filter = element("input", {
      type: "search",
      id: "filter",
      "aria-label": "Filter by name",
      placeholder: "filter (/)",
      autocomplete: "off",
      spellcheck: "false",
      input: () => this.change({ filter: this.filter.value }),
    });
    this.all = element("button", { type: "button", click: () => this.change({ columns: current().all ? "" : "all" }) });
    this.live = new Live(
      (frame) => this.receive(frame),
      (past) => this.receivePast(past),
      (state) => this.showStatus(state),
    );
    document.addEventListener("click", (event) => this.follow(event));
    addEventListener("popstate", () => this.arrive());
    addEventListener("resize", () => this.arrive());
    find("pause").addEventListener("click", () => this.pause());
    find("legend").addEventListener("click", () => this.legend());
    theme.begin(find("theme"));
    listen(this.actions());
  }

  /** Show the view that the address names. */
  arrive() {
    const state = current();
    const isTyping = state.path === this.path && state.filter !== this.asked?.filter;
    if (state.path !== this.path) {
      this.path = state.path;
      this.frame = null;
      this.isPartial = false;
      this.build();
      scrollTo(0, 0);
    }
    this.ask(isTyping ? TYPING_MS : 0);
    if (this.filter.value !== state.filter) this.filter.value = state.filter;
    find("json").setAttribute("href", apiPath({ path: state.path, all: state.all || isWide() }));
    setText(this.all, state.all ? "fewer columns" : "all columns");
    for (const link of find("views").querySelectorAll("a"))
      setAttribute(link, "aria-current", link.getAttribute("href") === state.path ? "page" : null);
    this.timeline.place(state);
    if (this.frame !== null) this.draw();
  }

  /**
   * Request the rows that are drawn. Everybody who looks at a view gets the same frame, and the page sorts and filters
   * it; the server does so only if the view has more rows than the frame.
   */
  ask(after = 0) {
    const { path, all, sort, filter } = current();
    const rows = Math.max(FIRST_ROWS, ...[...this.tables.values()].map((table) => table.limit));
    const chosen = this.isPartial ? { sort, filter } : {};
    const api = apiPath({ path, all: all || isWide(), rows: Number.isFinite(rows) ? rows : null, ...chosen });
    clearTimeout(this.asking);
    this.asked = { filter };
    if (api === this.api) return;
    const show = () => {
      this.api = api;
      this.live.show(api);
    };
    if (after > 0) this.asking = setTimeout(show, after);
    else show();
  }

  /** Build the parts of a view, still empty. */
  build() {
    this.heading = element("h1", { tabindex: "-1" });
    this.notice = element("p", { class: "notice" });
    this.timeline = new TimelineView((at) => this.change({ at }), (from, to) => this.change({ from, to }));
    this.figures = new FiguresView();
    this.detail = new DetailView();
    this.tables = new Map();
    this.sheets = element("div", { class: "sheets" });
    this.tools = element("div", { class: "tools" }, this.filter, this.all);
    this.tools.hidden = true;
    find("content").replaceChildren(
      this.heading,
      this.figures.root,
      this.notice,
      this.timeline.root,
      this.tools,
      this.sheets,
      this.detail.root,
    );
  }

  receive(frame) {
    if (this.frame !== null && frame.version !== this.frame.version) location.reload();
    if (this.isPaused && this.frame !== null) {
      this.waiting = frame;
      return;
    }
    this.frame = frame;
    this.draw();
    if (!this.isPartial && frame.tables.some((table) => table.rows.length < table.total)) {
      this.isPartial = true;
      this.ask();
    }
  }

  /** Show the last hour. It belongs to the current view only after that view's first frame; before, ignore it. */
  receivePast(past) {
    if (this.isPaused || this.frame === null) return;
    this.timeline.show(past, current());
    if (past.trends !== undefined) this.tables.get("programs")?.showTrends(past.trends);
  }

  draw() {
    const frame = this.frame;
    const state = current();
    this.verdict.show(frame.verdict);
    this.figures.show(frame.figures);
    this.detail.show(frame);
    this.showTitle(frame);
    setText(this.notice, frame.notice ?? "");
    this.notice.hidden = !frame.notice;
    setText(find("time"), timeOfDay(frame.wall_time_seconds));
    setText(find("server"), [frame.server, frame.node].filter(Boolean).join(" · "));
    this.tools.hidden = frame.tables.length === 0;
    for (const table of frame.tables) {
      let view = this.tables.get(table.name);
      if (view === undefined) {
        view = new TableView((sort) => this.change({ sort }), (limit) => this.askMore(limit));
        this.tables.set(table.name, view);
        this.sheets.append(view.root);
      }
      view.show(table, state);
    }
    this.all.hidden = !state.all && frame.tables.every((table) => this.tables.get(table.name).showsAll());
    for (const [name, view] of this.tables) view.root.hidden = !frame.tables.some((table) => table.name === name);
  }

  /** Request more rows of a table for the user. */
  askMore(limit) {
    // With every row here, the page can sort and filter by itself.
    if (limit === Infinity) this.isPartial = false;
    this.ask();
  }

  showTitle(frame) {
    const [, kind = ""] = this.path.split("/");
    const title = frame.about || { "": "Programs", hosts: "Hosts", lines: "Lines", events: "Events", verdicts: "Verdicts" }[kind];
    setText(this.heading, title);
    const sign = frame.verdict?.tone === "bad" ? "✗ " : "";
    const wanted = `${sign}${title} – poolhouse`;
    if (document.title !== wanted) document.title = wanted;
  }

  showStatus(state) {
    this.status = state;
    const node = find("status");
    const missing = this.frame?.missing_nodes?.map((one) => `${one.name} ${one.missing}`).join(", ");
    const words = this.isPaused ? "‖ paused" : STATES[state];
    setText(node, missing ? `! missing ${missing} · ${words}` : words);
    node.dataset.state = this.isPaused ? "paused" : state;
    document.body.classList.toggle("is-old", state === "silent");
  }

  /** Follow a link within the page without reloading it. */
  follow(event) {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link === null || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const path = link.getAttribute("href");
    if (!path?.startsWith("/") || /^\/(api|metrics|about|assets)(\/|$|\?)/.test(path)) return;
    event.preventDefault();
    this.go(path);
  }

  go(path) {
    if (path === location.pathname + location.search) return;
    history.pushState(null, "", path);
    this.arrive();
    this.heading.focus({ preventScroll: true });
  }

  /** Change how the view is arranged, without a history entry: "back" should leave the view. */
  change(changes) {
    history.replaceState(null, "", changed(changes));
    this.arrive();
  }

  pause() {
    this.isPaused = !this.isPaused;
    find("pause").setAttribute("aria-pressed", String(this.isPaused));
    setText(find("pause"), this.isPaused ? "Resume" : "Pause");
    this.showStatus(this.status);
    if (!this.isPaused && this.waiting !== null) {
      const waiting = this.waiting;
      this.waiting = null;
      this.receive(waiting);
    }
  }

  legend() {
    openLegend(this.frame?.tables ?? []);
  }

  actions() {
    return {
      programs: () => this.go("/"),
      hosts: () => this.go("/hosts"),
      lines: () => this.go("/lines"),
      events: () => this.go("/events"),
      why: () => (this.path === "/verdicts" ? history.back() : this.go("/verdicts")),
      up: (event) => this.move(event, (place) => place - 1),
      down: (event) => this.move(event, (place) => place + 1),
      first: (event) => this.move(event, () => 0),
      last: (event) => this.move(event, (_, count) => count - 1),
      back: () => this.back(),
      filter: () => this.filter.focus(),
      sort: () => this.sortBy(1),
      sortBack: () => this.sortBy(-1),
      reverse: () => this.reverse(),
      pause: () => this.pause(),
      retry: () => this.live.open(),
      earlier: () => this.timeline.step(-1),
      later: () => this.timeline.step(1),
      closer: () => this.timeline.zoom(1 / 2),
      farther: () => this.timeline.zoom(2),
      legend: () => this.legend(),
    };
  }

  /** Move the focus from row to row. */
  move(event, step) {
    const rows = [...this.sheets.querySelectorAll("tbody th a[href]")];
    if (rows.length === 0) return false;
    const at = rows.indexOf(document.activeElement);
    const place = at < 0 ? (event.key === "End" || event.key === "G" ? rows.length - 1 : 0) : step(at, rows.length);
    rows[Math.min(rows.length - 1, Math.max(0, place))].focus();
    return true;
  }

  back() {
    if (current().at) this.change({ at: "" });
    else if (current().from) this.change({ from: "", to: "" });
    else if (current().filter) {
      this.filter.blur();
      this.change({ filter: "" });
    } else if (document.activeElement === this.filter) this.filter.blur();
    else if (this.path !== "/") history.length > 1 ? history.back() : this.go("/");
  }

  sortBy(step) {
    const view = this.tables.get(this.frame?.tables[0]?.name);
    if (view === undefined) return;
    const count = view.count;
    const place = (view.sorting.place + step + count) % count;
    this.change({ sort: view.data.columns[place].heading });
  }

  reverse() {
    const view = this.tables.get(this.frame?.tables[0]?.name);
    if (view === undefined) return;
    const { heading } = view.data.columns[view.sorting.place];
    this.change({ sort: view.sorting.isReversed ? heading : `-${heading}` });
  }
}

new Page().arrive();
