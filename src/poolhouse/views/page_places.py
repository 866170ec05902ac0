"""The contents of each view of the page: its figures, its tables, and its notices."""

from collections.abc import Iterable, Sequence
from datetime import UTC, tzinfo
from typing import Any, NamedTuple

from poolhouse.clean import clean
from poolhouse.fleet.snapshot import Event, Health, Holder, PoolRow, Row, Times
from poolhouse.meter.reading import PoolReading
from poolhouse.meter.signs_sum import summed_sites
from poolhouse.verdicts.verdict import Verdict
from poolhouse.views.address import Place
from poolhouse.views.bars import distribution
from poolhouse.views.column import Table
from poolhouse.views.event_table import event_table
from poolhouse.views.fleet_table import causes_of, fleet_table
from poolhouse.views.holder_table import HolderEntry, holder_table, line_causes, process_holders, summed_entry
from poolhouse.views.page import (
    MOST_VERDICTS,
    Figure,
    figure,
    fleet_figures,
    quantiles,
    row_figures,
    used_figure,
    verdict_data,
)
from poolhouse.views.pool_table import NO_POOL, POOL_TABLE, PoolEntry
from poolhouse.views.sheet_data import Shown
from poolhouse.views.standing import is_in_trouble, is_positive, tone_of
from poolhouse.views.units import at_most, duration, elapsed, exact, rate, share

#: Parts of the axis below a distribution.
AXIS_PARTS = 72
_TITLES = {"wait": "wait", "use": "hold", "create": "connect"}
_FAILURES = ("timeouts", "acquire_errors", "connect_errors")


class Content(NamedTuple):
    """The contents of a view below the verdict."""

    figures: list[Figure]
    #: Each table with all of its rows.
    tables: list[tuple[Shown, Sequence[Any]]]
    #: Further members of the frame.
    more: dict[str, Any]
    #: Rows of the first table that were not made, because they follow those that are sent.
    left_out: int = 0


class Fleet(NamedTuple):
    """The data of the fleet that any view may need."""

    sums: Row
    programs: int
    hosts: int
    health: Health
    verdicts: Sequence[Verdict]
    wall_time: float

    @property
    def figures(self) -> list[Figure]:
        """The figures of the fleet."""
        return fleet_figures(self.sums, self.programs, self.hosts, self.health)


def programs(fleet: Fleet, rows: Sequence[Row], left_out: int = 0) -> Content:
    """All programs, or the first ones and how many follow."""
    shown = program_sheet(fleet.verdicts, rows)
    return Content(fleet.figures, [(shown, rows)], _nothing(fleet, fleet.programs > 0), left_out)


def hosts(fleet: Fleet, rows: Sequence[Row], left_out: int = 0) -> Content:
    """All hosts, or the first ones and how many follow."""
    table = fleet_table("host", causes=causes_of(fleet.verdicts, "host", rows))
    shown = Shown("hosts", "Hosts", table, table.essential, link=lambda row: Place("host", host=row.name).path)
    return Content(fleet.figures, [(shown, rows)], _nothing(fleet, fleet.hosts > 0), left_out)


def lines(fleet: Fleet, holders: Sequence[Holder]) -> Content:
    """The lines that hold connections, of all programs."""
    more = {} if holders else {"notice": "No program reports which of its lines hold connections."}
    return Content(
        fleet.figures, [(_lines_sheet("fleet", verdicts=fleet.verdicts), [*map(summed_entry, holders)])], more
    )


def events(fleet: Fleet, told: Sequence[Event], zone: tzinfo | None = UTC) -> Content:
    """The events, the newest first."""
    shown = Shown("events", "Events", event_table(zone), 5, 3, _event_link)
    more = {} if told else {"notice": "Nothing has happened yet."}
    return Content(fleet.figures, [(shown, told)], more)


def verdicts(fleet: Fleet) -> Content:
    """All standing verdicts, with the numbers that decided."""
    told = [verdict_data(verdict, fleet.wall_time) for verdict in fleet.verdicts[:MOST_VERDICTS]]
    more = {"verdicts": told} | ({} if told else {"notice": "No verdict stands."})
    return Content(fleet.figures, [], more)


def program(
    fleet: Fleet,
    place: Place,
    row: Row | None,
    entries: Sequence[PoolEntry],
    holders: Sequence[Holder],
    left_out: int,
) -> Content:
    """One program: the pools of its processes, and its lines.

    Args:
        fleet: The fleet.
        place: The subject of the view.
        row: The program's sums; ``None`` if none of its processes reports.
        entries: The program's pools.
        holders: The program's lines.
        left_out: How many of its processes are not sent.
    """
    tables: list[tuple[Shown, Sequence[Any]]] = [(pool_sheet(place.program), entries)]
    if holders:
        tables.append((_lines_sheet("program", verdicts=fleet.verdicts), [*map(summed_entry, holders)]))
    mine = [verdict for verdict in fleet.verdicts if verdict.program == place.program][:MOST_VERDICTS]
    more: dict[str, Any] = {"verdicts": [verdict_data(verdict, fleet.wall_time) for verdict in mine]}
    if row is None:
        more["notice"] = f"No process of {clean(place.program)} reports."
    elif left_out:
        more["notice"] = f"{exact(left_out)} further processes are counted above, and not listed below."
    return Content(row_figures(row or Row(place.program)), tables, more)


def host(fleet: Fleet, place: Place, row: Row | None, rows: Sequence[Row]) -> Content:
    """One host: its programs."""
    more = {} if row is not None else {"notice": f"No process on {clean(place.host)} reports."}
    return Content(row_figures(row or Row(place.host)), [(program_sheet(fleet.verdicts, rows), rows)], more)


def pool(place: Place, entry: PoolEntry | None) -> Content:
    """One pool of one process: its figures, its counters, its distributions, and the lines that hold it."""
    if entry is None:
        return Content([], [], {"notice": "This pool is gone: its process has ended, or has disposed of it."})
    is_bad = entry.is_full and is_in_trouble(True, entry.waiting)
    is_waiting = is_positive(entry.waiting)
    figures = [
        used_figure(entry.used, entry.max_open, is_bound=entry.is_bound, is_bad=is_bad),
        figure("idle", exact(entry.idle)),
        figure("waiting", at_most(exact(entry.waiting), entry.is_bound and is_waiting), tone_of(is_waiting)),
        figure("out/s", rate(entry.rates.checkouts)),
        figure("up", elapsed(entry.process.uptime)),
    ]
    subject = [["program", place.program], ["host", place.host], ["process", place.token], ["class", entry.kind]]
    more: dict[str, Any] = {"about": clean(entry.name)}
    if entry.pool is None:
        more["facts"] = _clean(subject)
        more["notice"] = "This process reports only its sums: nothing more is known about its pools."
        return Content(figures, [], more)
    reading = entry.pool.reading
    more["facts"] = _clean(subject) + _limits(reading) + _peaks(entry.pool)
    more["counters"] = [_counter(name, entry.pool) for name in reading.counters._fields]
    more["distributions"] = _distributions(entry.pool.recent, reading)
    own = [one for one in process_holders(entry.process) if one.pool == entry.key[2]]
    return Content(figures, [(_lines_sheet("pool", place.program), own)] if own else [], more)


def line(place: Place, entries: Sequence[HolderEntry]) -> Content:
    """One line of a program: what it holds, how long it held its connections, and in which processes."""
    if not entries:
        return Content([], [], {"notice": "No process reports this line any more."})
    (site,) = summed_sites(entry.site for entry in entries)
    seen = sum(site.looks)
    figures = [
        figure("open", exact(site.open)),
        figure("oldest", duration(site.oldest_s if site.open else None)),
        figure("connection-seconds", exact(site.held_s)),
        figure("returned", exact(site.returned)),
        figure("collected", exact(site.collected), tone_of(site.collected > 0)),
        figure("waited", duration(site.waited_s)),
    ]
    facts = [["program", place.program]]
    if seen:
        found = (f"{state} {share(number, seen)}" for state, number in site.looks._asdict().items())
        facts.append(["found", ", ".join(found)])
    if site.idle_line:
        facts.append(["idle at", site.idle_line])
    more = {"facts": _clean(facts), "distributions": [_bars("hold", site.use, "since start")]}
    own = [entry for entry in entries if entry.token]
    return Content(figures, [(_lines_sheet("site"), own)] if own else [], more)


def program_sheet(verdicts: Sequence[Verdict], rows: Iterable[Row]) -> Shown:
    """The table of programs."""
    table: Table[Row] = fleet_table("program", causes=causes_of(verdicts, "program", rows))
    return Shown("programs", "Programs", table, table.essential, link=lambda row: Place("program", row.name).path)


def pool_sheet(program: str) -> Shown:
    """The table of a program's pools."""

    def link(entry: PoolEntry) -> str:
        host, token, key = entry.key
        return "" if key == NO_POOL else Place("pool", program, host, token, key).path

    return Shown("pools", "Processes and pools", POOL_TABLE, POOL_TABLE.essential, 2, link)


def _lines_sheet(kind: str, program: str = "", verdicts: Sequence[Verdict] | None = None) -> Shown:
    table = holder_table(kind, None if verdicts is None else line_causes(verdicts))

    def link(entry: HolderEntry) -> str:
        return "" if kind == "site" else Place("line", entry.program or program, site=entry.site.site).path

    title = "In each process" if kind == "site" else "Lines that hold connections"
    return Shown("lines", title, table, len(table.columns), table.fixed - 1, link)


def _event_link(event: Event) -> str:
    if event.program:
        return Place("program", event.program).path
    return Place("host", host=event.host).path if event.host else ""


def _nothing(fleet: Fleet, has_rows: bool) -> dict[str, Any]:
    """The notice for an empty list of programs: what to do."""
    if has_rows:
        return {}
    if not fleet.health.received:
        return {"notice": "No program has reported yet. Add ?plugin=collectd to a SQLAlchemy URL."}
    if fleet.health.received == fleet.health.refused:
        return {"notice": f"Every datagram was refused ({exact(fleet.health.refused)}): the log says why."}
    return {"notice": "No program reports any more."}


def _clean(facts: list[list[str]]) -> list[list[str]]:
    return [[label, clean(text)] for label, text in facts if text]


def _limits(reading: PoolReading) -> list[list[str]]:
    return [[name.replace("_", " "), exact(value)] for name, value in reading.limits._asdict().items()]


def _peaks(told: PoolRow) -> list[list[str]]:
    """The high-water marks; unknown for a pool that sends none."""
    facts: list[list[str]] = []
    for name in ("used", "waiting", "connections"):
        marks = (told.reading.peak, told.interval_mark) if told.reading.marks else (None, None)
        most, recent = (getattr(mark, name, None) for mark in marks)
        facts.append([f"most {name}", f"{exact(most)}, last interval {exact(recent)}"])
    return facts


def _counter(name: str, told: PoolRow) -> list[str]:
    """A counter: its name, its value since the start, its rate, and its tone."""
    since_start, per_second = getattr(told.reading.counters, name), getattr(told.rates, name)
    tone = tone_of(name in _FAILURES and is_positive(per_second))
    return [name.replace("_", " "), exact(since_start), rate(per_second), tone]


def _distributions(recent: Times, reading: PoolReading) -> list[dict[str, Any]]:
    """Each distribution of the last minute; since the start if that minute saw nothing."""
    told: list[dict[str, Any]] = []
    for name, title in _TITLES.items():
        times, since = getattr(recent, name), "in the last minute"
        if times is None or not times.count:
            times, since = getattr(reading, name), "since start"
        told.append(_bars(title, times, since))
    return told


def _bars(title: str, times: Any, since: str) -> dict[str, Any]:
    """A distribution: its bars from 0 to 1, the places of marks and ticks on the axis, and its quantiles."""
    told: dict[str, Any] = {
        "title": title,
        "count": exact(times.count if times is not None else None),
        "since": since,
        "quantiles": quantiles(times),
    }
    if times is None or not times.count:
        return told | {"bars": [], "marks": [], "ticks": []}
    shape = distribution(times, AXIS_PARTS)
    return told | {"bars": shape.bars, "marks": shape.marks, "ticks": shape.ticks}
