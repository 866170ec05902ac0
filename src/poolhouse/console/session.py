"""What the person at the window has chosen: which page, sorted and filtered how, paused or not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Literal, NamedTuple

from poolhouse.feed.link import Link
from poolhouse.fleet.names import asking_for_host
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.views.column import Sheet, Sorting, Table
from poolhouse.views.event_table import event_table
from poolhouse.views.fleet_table import causes_of, fleet_table
from poolhouse.views.history import History
from poolhouse.views.holder_table import HolderEntry, fleet_holders, holder_table, holders_of_site, pool_holders
from poolhouse.views.pool_table import NO_POOL, POOL_TABLE, PoolEntry, PoolKey, find_pool, pool_entries

Page = Literal["programs", "hosts", "lines", "events", "host", "program", "pool", "line", "verdicts", "legend"]

#: From a page and its program to the sentence that stands above the foot; empty for none.
Hint = Callable[[str, str | None], str]


class Place(NamedTuple):
    """A page, and what it is about."""

    page: Page
    program: str | None = None
    pool: PoolKey | None = None
    host: str | None = None
    #: The line of the program, in words.
    site: str | None = None

    @property
    def asked(self) -> str | None:
        """What the feed is asked for, besides the sums."""
        if self.program is None and self.host is not None:
            return asking_for_host(self.host)
        return self.program


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How one page's table is sorted, filtered and moved."""

    sorting: Sorting
    containing: str = ""
    moved: int = 0


class Session:
    """The state behind the window; what the keys change and what the pages are made from.

    Attributes:
        link: The way to the data.
        snapshot: What is shown: the newest that came, or, while paused, the newest of that time.
        history: For the sparklines.
        is_paused: Whether what comes is kept from the window.
    """

    def __init__(self, link: Link, zone: tzinfo | None = None, hint: Hint | None = None) -> None:
        self.link = link
        self.snapshot: Snapshot | None = None
        self.history = History()
        self.is_paused = False
        self._hint = hint
        self._waiting: Snapshot | None = None
        #: How often the snapshot was replaced: what tables are made from is known by it.
        self._version = 0
        self._rows_of: tuple[tuple[int, Place], Sequence[Any]] | None = None
        self._places = [Place("programs")]
        #: What is wrong with each program and with each host.
        self._causes: dict[str, dict[str, str]] = {"program": {}, "host": {}}
        self._tables: dict[Page, Table[Any]] = {
            "programs": fleet_table("program", self.history, self._causes["program"]),
            "hosts": fleet_table("host", self.history, self._causes["host"]),
            "lines": holder_table("fleet"),
            "events": event_table(zone),
            "host": fleet_table("program", causes=self._causes["program"]),
            "program": POOL_TABLE,
        }
        self._sheet: tuple[Any, Sheet[Any]] | None = None
        self._arrangements = {page: Arrangement(table.sorting) for page, table in self._tables.items()}

    @property
    def place(self) -> Place:
        """Where the person is."""
        return self._places[-1]

    @property
    def has_way_back(self) -> bool:
        """Whether esc leads to another page."""
        return len(self._places) > 1

    @property
    def hint(self) -> str:
        """What stands above the foot of this page."""
        return self._hint(self.place.page, self.place.program) if self._hint is not None else ""

    @property
    def table(self) -> Table[Any] | None:
        """The table of this page; ``None`` where it has none."""
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
        """How this page's table is arranged."""
        return self._arrangements[self.place.page]

    def receive(self, snapshot: Snapshot) -> None:
        """Show a snapshot; while paused only if it is the first with what the page is about."""
        if self.is_paused and self.snapshot is not None and not self._is_wanted(snapshot, self.snapshot):
            self._waiting = snapshot
            return
        self.history.add(snapshot)
        self.snapshot = snapshot
        for kind, causes in self._causes.items():
            causes.clear()
            causes.update(causes_of(snapshot.verdicts, kind))
        self._version += 1

    def toggle_pause(self) -> None:
        """Pause, or resume with the newest snapshot."""
        self.is_paused = not self.is_paused
        if not self.is_paused and self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self.receive(waiting)

    def go(self, page: Page) -> None:
        """Open one of the pages that are reached from everywhere."""
        self._places = [Place(page)]

    def show_lines(self) -> None:
        """Open the lines that hold connections: of the program or pool that the page is about, else of all."""
        place = self.place
        if place.page in ("program", "pool"):
            self._places.append(place._replace(page="lines"))
        elif place.page != "lines":
            self._places = [Place("lines")]

    def show_verdicts(self) -> None:
        """Open the page of the verdicts, or leave it."""
        if self.place.page == "verdicts":
            self.back()
        else:
            self._places.append(self.place._replace(page="verdicts"))

    def explain(self) -> None:
        """Open the legend, or leave it."""
        if self.place.page == "legend":
            self.back()
        else:
            # What one comes back to is still asked for meanwhile.
            self._places.append(self.place._replace(page="legend"))

    def open(self, key: Any) -> None:
        """Open the row with this key: a host's page, a program's, or a pool's."""
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
        """Return to the page before; on the first one, forget the filter."""
        if len(self._places) > 1:
            self._places.pop()
        elif self.table is not None:
            self.filter("")

    def filter(self, containing: str) -> None:
        """Show only rows whose names contain this, whatever its case."""
        self._arrange(containing=containing)

    def sort(self, heading: str) -> None:
        """Sort by this column; by the same one again, in the reverse order."""
        before = self.arrangement.sorting
        is_again = before.heading == heading
        self._arrange(sorting=Sorting(heading, not before.is_reversed if is_again else False))

    def sort_by_next(self, step: int, width: int) -> None:
        """Sort by the next column in sight, or by the one before."""
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
        """Bring columns into sight that are out of it at the right, or back."""
        if self.table is None:
            return
        moved = self.arrangement.moved
        if columns < 0 or self.sheet(width).hidden > 0:
            self._arrange(moved=max(0, moved + columns))

    def sheet(self, width: int) -> Sheet[Any]:
        """The page's table, arranged for a window of this width; only where it has a table.

        The same object comes back until something has changed, so that nothing is sorted twice.
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
        """The pool that the page is about; ``None`` if it is gone."""
        if self.snapshot is None or self.place.pool is None:
            return None
        return find_pool(self.snapshot, self.place.pool)

    def holders(self) -> list[HolderEntry]:
        """The line that the page is about, in each pool of each process; as one sum where those are not told."""
        snapshot, (_, program, pool, _, site) = self.snapshot, self.place
        if snapshot is None or program is None or site is None:
            return []
        if pool is not None:
            return [entry for entry in pool_holders(snapshot, pool) if entry.site.site == site]
        found = holders_of_site(snapshot, program, site)
        return found or [entry for entry in fleet_holders(snapshot, program) if entry.site.site == site]

    def has_details(self) -> bool:
        """Whether the snapshot tells the processes of the page's program, or the programs of its host."""
        return self.snapshot is not None and self._tells(self.snapshot)

    def _tells(self, snapshot: Snapshot) -> bool:
        return snapshot.program == self.place.asked

    def _rows(self) -> Sequence[Any]:
        """The rows of this page's table, made once for each snapshot."""
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
            return pool_holders(snapshot, pool) if pool else fleet_holders(snapshot, self.place.program)
        if self.place.page == "host":
            return (
                [replace(one.sums, name=one.program) for one in snapshot.processes] if self.has_details() else ()
            )
        return {"programs": snapshot.programs, "hosts": snapshot.hosts, "events": snapshot.events}[self.place.page]

    def _is_wanted(self, snapshot: Snapshot, shown: Snapshot) -> bool:
        return self.place.asked is not None and self._tells(snapshot) and not self._tells(shown)

    def _arrange(self, **changes: Any) -> None:
        if self.table is not None:
            self._arrangements[self.place.page] = replace(self.arrangement, **changes)
