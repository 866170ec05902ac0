// The address is the state: the path names the view, the query says how to arrange it. Reload, bookmarks and the back
// button therefore need no code of their own.

/**
 * The state in the address: path, sort ("" for the table's default), filter, at (a time of day, "" for now), from and
 * to (a part of the last hour, "" for all of it), and all (true for every column).
 */
export function current() {
  const query = new URLSearchParams(location.search);
  return {
    path: location.pathname,
    sort: query.get("sort") ?? "",
    filter: query.get("filter") ?? "",
    at: query.get("at") ?? "",
    from: query.get("from") ?? "",
    to: query.get("to") ?? "",
    all: query.get("columns") === "all",
  };
}

/** The address with these parts of the query changed; "", null or false removes a part. */
export function changed(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null || value === false) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  return location.pathname + (text ? `?${text}` : "");
}

/** The path under /api of the same view as JSON: at most `rows` of each table, sorted and filtered by the server. */
export function apiPath({ path, all, sort = "", filter = "", rows = null }) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ columns: all ? "all" : "", rows, sort, filter })) if (value) query.set(name, value);
  const text = query.toString();
  return `/api${path}${text ? `?${text}` : ""}`;
}
