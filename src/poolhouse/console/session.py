"""The user's choices at the window: which page, its order and filter, paused or not."""

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Any, Literal, NamedTuple

from poolhouse.feed.link import Link
from poolhouse.fleet.names import asking_for_host
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.views.column import Sheet, Sorting, Table
from poolhouse.views.event_table import event_table
from poolhouse.views.fleet_table import causes_of, fleet_table
from poolhouse.views.history import History
from poolhouse.views.holder_table import (
    HolderEntry,
    fleet_holders,
    holder_table,
    holders_of_site,
    line_causes,
    pool_holders,
    summed_entries,
)
from poolhouse.views.pool_table import NO_POOL, POOL_TABLE, PoolEntry, PoolKey, find_pool, pool_entries
from poolhouse.views.verdict_line import tells_verdicts

Page = Literal["programs", "hosts", "lines", "events", "host", "program", "pool", "line", "verdicts", "legend"]

#: From a page and its program to the line above the foot; empty for none.
Hint = Callable[[str, str | None], str]


class Place(NamedTuple):
    """A page and its subject."""

    page: Page
    program: str | None = None
    pool: PoolKey | None = None
    host: str | None = None
    #: The line of the program's code, in words.
    site: str | None = None

    @property
    def asked(self) -> str | None:
        """The program that the feed must report in addition to the sums; ``None`` for none."""
        if self.program is None and self.host is not None:
            return asking_for_host(self.host)
        return self.program


class Arrangement(NamedTuple):
    """The order, filter and scroll position of one page's table."""

    sorting: Sorting
    containing: str = ""
    moved: int = 0


class Session:
    """The state behind the window: the keys change it, and the pages are made from it.

    Attributes:
        link: The connection to the data.
        snapshot: The shown snapshot: the newest, or while paused the newest when the pause began.
        history: For the sparklines.
        is_paused: Whether new data is kept from the window.
    """

    def __init__(self, link: Link, zone: tzinfo | None = None, hint: Hint | None = None) -> None:
        self.link = link
        self.snapshot: Snapshot | None = None
        self.history = History()
        self.is_paused = False
        self._hint = hint
        self._waiting: Snapshot | None = None
        #: How often the snapshot has been replaced: tables are cached by this number.
        self._version = 0
        self._rows_of: tuple[tuple[int, Place], Sequence[Any]] | None = None
        self._places = [Place("programs")]
        #: The page on which the cursor is at the verdict, above the table; ``None`` if it is in the table.
        self._at_verdict: Place | None = None
        #: Why each program and each host is red, in a word.
        self._causes: dict[str, dict[str, str]] = {"program": {}, "host": {}}
        #: What each line is blamed for, by its program and its name.
        self._line_causes: dict[tuple[str, str], str] = {}
        self._tables: dict[Page, Table[Any]] = {
            "programs": fleet_table("program", self.history, self._causes["program"]),
            "hosts": fleet_table("host", self.history, self._causes["host"]),
            "lines": holder_table("fleet", self._line_causes),
            "events": event_table(zone),
            "host": fleet_table("program", causes=self._causes["program"]),
            "program": POOL_TABLE,
        }
        self._sheet: tuple[Any, Sheet[Any]] | None = None
        self._arrangements = {page: Arrangement(table.sorting) for page, table in self._tables.items()}

    @property
    def place(self) -> Place:
        """The present page."""
        return self._places[-1]

    @property
    def has_way_back(self) -> bool:
        """Whether esc returns to another page."""
        return len(self._places) > 1

    @property
    def is_at_verdict(self) -> bool:
        """Whether the cursor is at the verdict above this page, rather than in the page."""
        return self._at_verdict == self.place and self.has_verdict

    @property
    def has_verdict(self) -> bool:
        """Whether a verdict stands above this page, so that there is something to explain."""
        return self.place.page not in ("verdicts", "legend") and bool(self.snapshot and self.snapshot.verdicts)

    @property
    def hint(self) -> str:
        """The line above the foot of this page; empty for none."""
        return self._hint(self.place.page, self.place.program) if self._hint is not None else ""

    @property
    def table(self) -> Table[Any] | None:
        """The table of this page; ``None`` if it has none."""
        return self._tables.get(self.place.page)

    @property
    def tables(self) -> list[tuple[str, Table[Any]]]:
        """Every table with its title, for the legend."""
        titles: dict[Page, str] = {
            "programs": "programs and hosts",
            "program": "one program",
            "lines": "lines that hold connections",
            "events": "events",
        }
        return [(title, self._tables[page]) for page, title in titles.items()]

    @property
    def arrangement(self) -> Arrangement:
        """The arrangement of this page's table."""
        return self._arrangements[self.place.page]

    def receive(self, snapshot: Snapshot) -> None:
        """Show a snapshot; while paused, only if it is the first one with the page's subject."""
        if self.is_paused and self.snapshot is not None and not self._is_wanted(snapshot, self.snapshot):
            self._waiting = snapshot
            return
        self.history.add(snapshot)
        self.snapshot = snapshot
        rows = {"program": snapshot.programs, "host": snapshot.hosts} if tells_verdicts(snapshot) else {}
        for kind, causes in self._causes.items():
            causes.clear()
            causes.update(causes_of(snapshot.verdicts, kind, rows.get(kind, ())))
        self._line_causes.clear()
        self._line_causes.update(line_causes(snapshot.verdicts))
        self._version += 1

    def toggle_pause(self) -> None:
        """Pause, or resume with the newest snapshot."""
        self.is_paused = not self.is_paused
        if not self.is_paused and self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self.receive(waiting)

    def go(self, page: Page) -> None:
        """Open one of the pages that can be reached from everywhere."""
        self._places = [Place(page)]

    def show_lines(self) -> None:
        """Open the lines that hold connections, of the page's program or pool, else of all programs.

        On the page of a pool's lines, open those of its process; from there those of its program; then of all.
        """
        place = self.place
        if place.page in ("program", "pool"):
            self._places.append(place._replace(page="lines"))
        elif place.page == "lines" and place.pool is not None:
            host, token, pool = place.pool
            self._places[-1] = place._replace(pool=None if pool == NO_POOL else (host, token, NO_POOL))
        else:
            self._places = [Place("lines")]

    def go_to_verdict(self) -> None:
        """Take the cursor to the verdict above the page, if one stands there."""
        self._at_verdict = self.place if self.has_verdict else None

    def leave_verdict(self) -> None:
        """Take the cursor back into the page."""
        self._at_verdict = None

    def show_verdicts(self) -> None:
        """Open or leave the page of verdicts."""
        if self.place.page == "verdicts":
            self.back()
        else:
            self._places.append(self.place._replace(page="verdicts"))

    def explain(self) -> None:
        """Open or leave the legend."""
        if self.place.page == "legend":
            self.back()
        else:
            # The page to return to is still requested meanwhile.
            self._places.append(self.place._replace(page="legend"))

    def open(self, key: Any) -> None:
        """Open the page of the row with this key: a host, a program, a pool or a line."""
        if self.place.page in ("programs", "host"):
            self._places.append(Place("program", program=key))
        elif self.place.page == "hosts":
            self._places.append(Place("host", host=key))
        elif self.place.page == "program" and key[2] != NO_POOL:
            self._places.append(Place("pool", program=self.place.program, pool=key))
        elif self.place.page == "lines":
            program, *_, site = key
            self._places.append(Place("line", program=program, pool=self.place.pool, site=site))

    def back(self) -> None:
        """Return to the previous page; on the first one, clear the filter."""
        if len(self._places) > 1:
            self._places.pop()
        elif self.table is not None:
            self.filter("")

    def filter(self, containing: str) -> None:
        """Show only rows whose names contain this, ignoring case."""
        self._arrange(containing=containing)

    def sort(self, heading: str) -> None:
        """Sort by this column; if it is sorted by it already, reverse the order."""
        before = self.arrangement.sorting
        is_again = before.heading == heading
        self._arrange(sorting=Sorting(heading, not before.is_reversed if is_again else False))

    def sort_by_next(self, step: int, width: int) -> None:
        """Sort by the next visible column, or by the previous one."""
        if self.table is None:
            return
        headings = [column.heading for column, _ in self.sheet(width).placed]
        at = headings.index(before) if (before := self.arrangement.sorting.heading) in headings else -1
        self._arrange(sorting=Sorting(headings[(at + step) % len(headings)]))

    def reverse(self) -> None:
        """Reverse the order."""
        if self.table is not None:
            self.sort(self.arrangement.sorting.heading)

    def move(self, columns: int, width: int) -> None:
        """Scroll to columns that are out of sight on the right, or back."""
        if self.table is None:
            return
        moved = self.arrangement.moved
        if columns < 0 or self.sheet(width).hidden > 0:
            self._arrange(moved=max(0, moved + columns))

    def sheet(self, width: int) -> Sheet[Any]:
        """The page's table, arranged for a window of this width; only for a page with a table.

        The same object is returned until something changes, so that nothing is sorted twice.
        """
        arrangement = self.arrangement
        made_from = (self._version, self.place, arrangement, width)
        if self._sheet is None or self._sheet[0] != made_from:
            table = self._tables[self.place.page]
            rows = table.arranged(self._rows(), arrangement.sorting, arrangement.containing)
            self._sheet = made_from, Sheet(table, rows, width, arrangement.moved, arrangement.sorting)
        return self._sheet[1]

    def row_count(self) -> int:
        """How many rows there are without the filter."""
        return len(self._rows())

    def pool(self) -> PoolEntry | None:
        """The pool of this page, or the sums of its process; ``None`` if it is gone."""
        if self.snapshot is None or self.place.pool is None:
            return None
        return find_pool(self.snapshot, self.place.pool)

    def holders(self) -> list[HolderEntry]:
        """The line of this page, in each pool of each process; as one sum if those are not reported."""
        snapshot, (_, program, pool, _, site) = self.snapshot, self.place
        if snapshot is None or program is None or site is None:
            return []
        if pool is not None:
            return [entry for entry in pool_holders(snapshot, pool) if entry.site.site == site]
        found = holders_of_site(snapshot, program, site)
        return found or [entry for entry in fleet_holders(snapshot, program) if entry.site.site == site]

    def has_details(self) -> bool:
        """Whether the snapshot has the processes of the page's program, or the programs of its host."""
        return self.snapshot is not None and self._tells(self.snapshot)

    def _tells(self, snapshot: Snapshot) -> bool:
        return snapshot.program == self.place.asked

    def _rows(self) -> Sequence[Any]:
        """The rows of this page's table, made once per snapshot."""
        made_from = (self._version, self.place)
        if self._rows_of is None or self._rows_of[0] != made_from:
            self._rows_of = made_from, self._made_rows()
        return self._rows_of[1]

    def _made_rows(self) -> Sequence[Any]:
        snapshot = self.snapshot
        if snapshot is None:
            return ()
        if self.place.page == "program":
            return pool_entries(snapshot) if self.has_details() else ()
        if self.place.page == "lines":
            pool = self.place.pool
            if pool is None:
                return fleet_holders(snapshot, self.place.program)
            holders = pool_holders(snapshot, pool)
            return summed_entries(holders) if pool[2] == NO_POOL else holders
        if self.place.page == "host":
            return (
                [one.sums._replace(name=one.program) for one in snapshot.processes] if self.has_details() else ()
            )
        return {"programs": snapshot.programs, "hosts": snapshot.hosts, "events": snapshot.events}[self.place.page]

    def _is_wanted(self, snapshot: Snapshot, shown: Snapshot) -> bool:
        return self.place.asked is not None and self._tells(snapshot) and not self._tells(shown)

    def _arrange(self, **changes: Any) -> None:
        if self.table is not None:
            self._arrangements[self.place.page] = self.arrangement._replace(**changes)
