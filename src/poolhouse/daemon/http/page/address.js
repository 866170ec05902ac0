// The address is the state: the path says which view, the query how it is arranged. Reload, bookmark and the back
// button therefore need no code of their own.

/**
 * What the address says: path, sort ("" for the table's own), filter, at (a time of the day, "" for now), from and to
 * (a part of the last hour, "" for all of it), all.
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

/** The address with these parts of the query changed; "" and null and false remove one. */
export function changed(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null || value === false) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  return location.pathname + (text ? `?${text}` : "");
}

/** The path under /api that has the same view as JSON: so many rows of each table, chosen as the server is asked to. */
export function apiPath({ path, all, sort = "", filter = "", rows = null }) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ columns: all ? "all" : "", rows, sort, filter })) if (value) query.set(name, value);
  const text = query.toString();
  return `/api${path}${text ? `?${text}` : ""}`;
}
