// A table whose rows are patched: a frame of a thousand rows touches only the cells that have changed.
//
// Each row is a grid of its own, so that the browser can skip rows out of sight (content-visibility). The layout hides
// the table's own roles from screen readers, so the rows and cells repeat them.

import { element, setAttribute, setText, timeOfDay } from "./dom.js";
import { meter, sparkline } from "./spark.js";

const SIGNS = { "●": "reporting", "!": "in trouble", "○": "late" };
// Pixels below which each row is a card, which has room for all columns.
const CARD_WIDTH = 640;
// Rows that are requested and drawn at first, and after the user has scrolled to their end; a button shows all rows.
export const FIRST_ROWS = 50;
const MORE_ROWS = 100;
// The width of a row's sparkline in characters.
const TREND_WIDTH = 16;

/** A cell's text, the value to sort by, its tone, and the share that its bar shows. */
export function cellOf(cell) {
  if (cell === null) return { text: "–", order: null, tone: "plain", share: null };
  if (typeof cell === "number") return { text: String(cell), order: cell, tone: "plain", share: null };
  if (typeof cell === "string") return { text: cell, order: null, tone: "plain", share: null };
  const [text, order = null, tone = "plain", share = null] = cell;
  return { text, order, tone, share };
}

/** "-HEADING" for the reverse. */
export function parseSort(text, columns) {
  const isReversed = text.startsWith("-");
  const wanted = (isReversed ? text.slice(1) : text).toLowerCase();
  const place = columns.findIndex((column) => column.heading.toLowerCase() === wanted);
  return place < 0 ? null : { place, isReversed };
}

/** The rows whose names contain the text, sorted as the server sorts: unknown values last, equal ones by name. */
export function arranged(columns, rows, sorting, containing) {
  const names = columns.flatMap((column, place) => (column.is_name ? [place] : []));
  const nameOf = (row) => names.map((place) => cellOf(row.cells[place]).text).join("\n").toLowerCase();
  const wanted = containing.toLowerCase();
  const { place, isReversed } = sorting;
  const direction = isReversed ? -1 : 1;
  const isName = columns[place].is_name;
  const keyed = [];
  for (const row of rows) {
    if (wanted && !nameOf(row).includes(wanted)) continue;
    const cell = row.cells[place];
    keyed.push({ row, name: null, key: isName ? cellOf(cell).text.toLowerCase() : orderOf(cell) });
  }
  const byName = (a, b) => {
    a.name ??= nameOf(a.row);
    b.name ??= nameOf(b.row);
    return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  };
  keyed.sort(
    isName
      ? (a, b) => (a.key < b.key ? -direction : a.key > b.key ? direction : byName(a, b))
      : (a, b) => {
          if (a.key === b.key) return byName(a, b);
          if (a.key === null || b.key === null) return a.key === null ? 1 : -1;
          return direction * (b.key - a.key);
        },
  );
  return keyed.map((one) => one.row);
}

/** The number to sort a cell by; null if it is not known. */
function orderOf(cell) {
  return typeof cell === "number" ? cell : Array.isArray(cell) ? (cell[1] ?? null) : null;
}

export class TableView {
  /** `onSort` is called with the text for the address, `onMore` when the user wants more rows. */
  constructor(onSort, onMore) {
    this.onSort = onSort;
    this.onMore = onMore;
    this.head = element("tr", { role: "row" });
    this.body = element("tbody", { role: "rowgroup" });
    this.caption = element("caption");
    this.table = element(
      "table",
      { role: "table" },
      this.caption,
      element("thead", { role: "rowgroup" }, this.head),
      this.body,
    );
    this.title = element("h2");
    this.note = element("p", { class: "note" });
    // The most rows to show; Infinity for all of them.
    this.limit = FIRST_ROWS;
    this.focusAt = null;
    this.whole = element("button", { type: "button", click: () => this.showWhole() });
    new IntersectionObserver(([seen]) => {
      const isAtEnd = seen.isIntersecting && this.made.size === this.limit;
      if (isAtEnd && this.limit < MORE_ROWS) this.showMore(MORE_ROWS);
    }).observe(this.whole);
    this.root = element("section", { class: "sheet" }, this.title, this.table, this.whole, this.note);
    this.made = new Map();
    this.headings = "";
    this.trends = null;
    new ResizeObserver(() => this.fit()).observe(this.root);
  }

  /** Show a table of a frame. */
  show(table, { sort, filter, all }) {
    this.data = table;
    this.state = { sort, filter, all };
    setText(this.title, table.title);
    setText(this.caption, table.title);
    const sorting = (sort && parseSort(sort, table.columns)) || {
      place: table.columns.findIndex((column) => column.heading === table.sorted_by),
      isReversed: table.is_reversed,
    };
    this.sorting = sorting;
    this.count = this.columnsThatFit();
    this.showHeadings();
    const rows = arranged(table.columns, table.rows, sorting, filter);
    this.showRows(rows.slice(0, this.limit));
    this.whole.hidden = Math.max(rows.length, table.total) <= this.limit;
    if (this.focusAt !== null && rows.length > this.focusAt) {
      // The button that had the focus is gone: focus the first new row.
      if (document.activeElement === document.body) this.body.querySelectorAll("th a[href]")[this.focusAt]?.focus();
      this.focusAt = null;
    }
    setText(this.whole, `show all ${table.total} rows`);
    const isPartial = table.total > table.rows.length;
    const cut = isPartial && this.limit === Infinity ? `, the first ${table.rows.length} of ${table.total}` : "";
    const found = rows.length === table.rows.length ? table.total : `${rows.length} of ${table.total}`;
    const kept = filter ? `${found} rows contain “${filter}”` : "";
    setText(this.note, rows.length === 0 && !filter ? "" : (kept + cut).replace(/^, /, ""));
    this.root.classList.toggle("is-empty", table.rows.length === 0);
  }

  showWhole() {
    this.focusAt = this.limit;
    this.showMore(Infinity);
  }

  showMore(limit) {
    this.limit = limit;
    this.show(this.data, this.state);
    this.onMore(limit);
  }

  /** Show the last five minutes of each row, by the path that it links to. */
  showTrends(trends) {
    this.trends = trends;
    if (this.data !== undefined) this.show(this.data, this.state);
    for (const [key, shown] of this.made) this.showTrend(shown, trends[key]);
  }

  showTrend(shown, trend) {
    if (shown.trend === null || trend === undefined) return;
    shown.trend.show(trend.values, trend.top);
  }

  /** How many columns fit: the least important ones are dropped first, as in connmon's window. */
  columnsThatFit() {
    const width = this.root.clientWidth;
    const { columns } = this.data;
    this.isCard = width > 0 && width < CARD_WIDTH;
    this.root.classList.toggle("cards", this.isCard);
    if (this.state.all || this.isCard || width === 0) return columns.length;
    const unit = parseFloat(getComputedStyle(this.root).fontSize) * 0.62;
    let room = width - (2.5 + (this.trends === null ? 0 : TREND_WIDTH)) * unit;
    let count = 0;
    for (const column of columns) {
      room -= (column.width + 2) * unit;
      if (room < 0 && count > 1) break;
      count += 1;
    }
    return count;
  }

  /** Whether every column is shown already. */
  showsAll() {
    return this.data.more_columns === 0 && this.count === this.data.columns.length;
  }

  fit() {
    if (this.data !== undefined && this.columnsThatFit() !== this.count) this.show(this.data, this.state);
  }

  showHeadings() {
    const columns = this.data.columns.slice(0, this.count);
    const { place, isReversed } = this.sorting;
    const hasTrend = this.trends !== null && !this.isCard;
    const made = JSON.stringify([columns.map((column) => column.heading), place, isReversed, hasTrend]);
    if (made === this.headings) return;
    this.headings = made;
    const template = columns.map((column) =>
      column.is_name ? `minmax(${column.width}ch, ${Math.min(column.widest, 60)}fr)` : `${column.width + 1}ch`,
    );
    if (hasTrend) template.push(`${TREND_WIDTH}ch`);
    this.table.style.setProperty("--columns", `1.4em ${template.join(" ")}`);
    this.hasTrend = hasTrend;
    this.head.replaceChildren(
      element("th", { role: "columnheader", scope: "col", class: "sign" }, element("span", { class: "aside" }, "state")),
      ...columns.map((column, index) => this.headingOf(column, index === place, isReversed)),
      ...(hasTrend ? [element("th", { role: "columnheader", scope: "col", class: "trend" }, "5 MIN")] : []),
    );
    this.made.clear();
    this.body.replaceChildren();
  }

  headingOf(column, isSorted, isReversed) {
    const isAscending = column.is_name !== isReversed;
    const arrow = isSorted ? (isAscending ? "▴" : "▾") : "";
    const next = isSorted && !isReversed ? `-${column.heading}` : column.heading;
    return element(
      "th",
      {
        role: "columnheader",
        scope: "col",
        class: classOf(column),
        "aria-sort": isSorted ? (isAscending ? "ascending" : "descending") : null,
      },
      element(
        "button",
        { type: "button", title: column.meaning, click: () => this.onSort(next) },
        column.heading,
        element("span", { class: "arrow", "aria-hidden": "true" }, arrow),
      ),
    );
  }

  showRows(rows) {
    const made = new Map();
    let before = null;
    for (const row of rows) {
      let key = row.to ?? "";
      if (this.data.name === "events" || !key || made.has(key)) key = `${key} ${JSON.stringify(row.cells.slice(0, 5))}`;
      while (made.has(key)) key += "+";
      let shown = this.made.get(key);
      if (shown === undefined) {
        shown = this.rowOf();
        this.showTrend(shown, this.trends?.[key]);
      }
      made.set(key, shown);
      this.patch(shown, row);
      const expected = before === null ? this.body.firstChild : before.nextSibling;
      if (expected !== shown.root) this.body.insertBefore(shown.root, expected);
      before = shown.root;
    }
    for (const [key, shown] of this.made) if (made.get(key) !== shown) shown.root.remove();
    this.made = made;
  }

  rowOf() {
    const sign = element("span", { "aria-hidden": "true" });
    const word = element("span", { class: "aside" });
    const link = element("a");
    const cells = this.data.columns.slice(0, this.count).map((column, place) => {
      const isLink = place === this.data.linked;
      // Keep one text node: changing its data is much cheaper than replacing the node.
      const text = document.createTextNode("");
      const holder = isLink ? link : element("span");
      holder.append(text);
      const attributes = { class: classOf(column), "data-heading": column.heading };
      const root = isLink
        ? element("th", { role: "rowheader", scope: "row", ...attributes }, holder)
        : element("td", { role: "cell", ...attributes }, holder);
      return { root, text, holder, bar: null, tone: "plain", before: undefined };
    });
    const root = element(
      "tr",
      { role: "row" },
      element("td", { role: "cell", class: "sign" }, sign, word),
      ...cells.map((cell) => cell.root),
    );
    const trend = this.hasTrend ? sparkline() : null;
    if (trend !== null) root.append(element("td", { role: "cell", class: "trend" }, trend));
    return { root, sign, word, link, cells, trend, before: "" };
  }

  patch(shown, row) {
    const head = `${row.sign}${row.tone}${row.is_late}${row.to}`;
    if (head !== shown.before) {
      shown.before = head;
      shown.sign.textContent = row.sign;
      shown.word.textContent = SIGNS[row.sign] ?? "";
      shown.root.dataset.tone = row.tone;
      shown.root.classList.toggle("is-late", row.is_late === true);
      setAttribute(shown.link, "href", row.to ?? null);
    }
    for (let place = 0; place < shown.cells.length; place += 1) {
      const cell = shown.cells[place];
      const told = row.cells[place];
      if (same(told, cell.before)) continue;
      cell.before = told;
      const { text, order, tone, share } = cellOf(told);
      const isTime = order !== null && this.data.columns[place].heading === "TIME";
      const shownText = isTime ? timeOfDay(order) : text;
      if (cell.text.data !== shownText) cell.text.data = shownText;
      if (cell.tone !== tone) {
        cell.tone = tone;
        setAttribute(cell.root, "data-tone", tone === "plain" ? null : tone);
      }
      if (this.data.columns[place].is_name) setAttribute(cell.holder, "title", text);
      if (share !== null) {
        if (cell.bar === null) {
          cell.bar = meter();
          cell.root.append(cell.bar);
        }
        cell.bar.show(share);
      }
    }
  }
}

function classOf(column) {
  return `${column.is_name ? "name" : column.is_text ? "text" : "number"}${column.has_sign ? " signed" : ""}`;
}

function same(one, other) {
  if (one === other) return true;
  if (!Array.isArray(one) || !Array.isArray(other) || one.length !== other.length) return false;
  for (let place = 0; place < one.length; place += 1) if (one[place] !== other[place]) return false;
  return true;
}
