"""Frames of the page, made from the daemon's fleet in steps of milliseconds, between which reports are read."""

from contextlib import nullcontext
from typing import NamedTuple

from poolhouse.daemon.part import Hub
from poolhouse.daemon.slices import Slices, batches
from poolhouse.feed.fleet_source import FleetSource, ProcessesOfProgram
from poolhouse.feed.product import product
from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.holders import MOST_SITES, TOP_LINES
from poolhouse.fleet.snapshot import Holder, ProcessRow, Row
from poolhouse.fleet.timelines import FLEET
from poolhouse.views import page, page_places
from poolhouse.views.address import Place
from poolhouse.views.fleet_table import busiest
from poolhouse.views.holder_table import HolderEntry, process_holders, summed_entry
from poolhouse.views.page_past import TREND_POINTS, past_data, trend_data
from poolhouse.views.page_places import Content
from poolhouse.views.pool_table import PoolEntry, pools_of
from poolhouse.views.sheet_data import arranged, compact, sorting_of

#: The most processes of a program that are read for a view.
MOST_PROCESSES = 1_000


class Wanted(NamedTuple):
    """A view, with the parameters of its request."""

    place: Place
    #: Whether all columns are sent.
    is_wide: bool = False
    #: The heading of the sort column, after ``-`` if reversed; empty for the default order.
    sort: str = ""
    #: Only rows whose names contain this.
    containing: str = ""
    #: The most rows of each table that are sent.
    rows: int = page.MOST_ROWS


class Maker:
    """Makes the frames of several views at about the same time; shared parts are made once."""

    def __init__(self, hub: Hub) -> None:
        """Take the sums of the hub's fleet as they are now."""
        self._hub = hub
        self._source = FleetSource(hub.fleet, hub.clock, nullcontext())
        self._slices = Slices(hub)
        hub.read_reports()
        overview = hub.fleet.overview(hub.clock.monotonic())
        self._overview = overview
        self._rows: dict[Aggregate, Row] = {}
        self._processes: dict[str, tuple[list[ProcessRow], int]] = {}
        self._fleet = page_places.Fleet(
            overview.fleet.row(with_since_start=False),
            len(overview.programs),
            len(overview.hosts),
            overview.health,
            overview.verdicts,
            hub.clock.wall_time(),
        )

    @property
    def spent(self) -> float:
        """CPU seconds that the frames have taken so far."""
        return self._slices.spent

    async def pause(self) -> None:
        """Let reports be read if enough has been done since the last time; called after each small step."""
        await self._slices.pause()

    async def frame(self, wanted: Wanted) -> str:
        """The frame of a view, as one line of JSON."""
        fleet = self._fleet
        figures, tables, more, left_out = await self._content(wanted)
        head = page.head(
            wanted.place,
            fleet.wall_time,
            product("connmond"),
            fleet.health,
            fleet.verdicts,
            fleet.sums,
            tells_verdicts=bool(self._overview.has_lines or fleet.verdicts),
            figures=figures,
        )
        placed = []
        for shown, rows in tables:
            sheet = shown.all_columns if wanted.is_wide else shown
            sorting = sorting_of(sheet, wanted.sort) if wanted.sort else None
            told, total = arranged(sheet, rows, sorting, wanted.containing, wanted.rows)
            placed.append((sheet, told, total + left_out))
            left_out = 0
            await self._slices.pause()
        pieces: list[str] = []
        for piece in page.frame_pieces(head | more, placed):
            pieces.append(piece)
            await self._slices.pause()
        return "".join(pieces)

    async def past(self, wanted: Wanted) -> str:
        """The charts of a view and the sparklines of its rows, as one line of JSON; empty if it has none."""
        place = wanted.place
        timelines, events = self._hub.fleet.timelines, self._hub.fleet.events(self._fleet.wall_time)
        if place.kind == "program":
            past = timelines.past(("", place.program))
            return "" if past is None else compact(past_data(past, events, place.program))
        if place.kind != "programs" or (past := timelines.past(FLEET)) is None:
            return ""
        told = past_data(past, events)
        await self._slices.pause()
        pieces: list[str] = []
        rows, _ = await self._first(self._overview.programs, wanted)
        for row in rows:
            trend = trend_data(timelines.used(("", row.name), TREND_POINTS), row.max_open)
            pieces.append(f"{compact(Place('program', row.name).path)}:{compact(trend)}")
            await self._slices.pause()
        return f'{compact(told)[:-1]},"trends":{{{",".join(pieces)}}}}}'

    async def _content(self, wanted: Wanted) -> Content:
        fleet, place = self._fleet, wanted.place
        match place.kind:
            case "programs":
                return page_places.programs(fleet, *await self._first(self._overview.programs, wanted))
            case "hosts":
                return page_places.hosts(fleet, *await self._first(self._overview.hosts, wanted))
            case "lines":
                return page_places.lines(fleet, await self._lines())
            case "events":
                return page_places.events(fleet, self._hub.fleet.events(fleet.wall_time))
            case "verdicts":
                return page_places.verdicts(fleet)
            case "program":
                return await self._program(place)
            case "host":
                rows = await self._taken(self._hub.fleet.programs_on(place.host))
                found = [row for row in self._overview.hosts if row.key[0] == place.host]
                own = await self._taken(found)
                return page_places.host(fleet, place, own[0] if own else None, rows)
            case "pool":
                return page_places.pool(place, await self._pool(place))
            case "line":
                return page_places.line(place, await self._line(place))

    async def _first(self, sums: list[Aggregate], wanted: Wanted) -> tuple[list[Row], int]:
        """The rows from which to choose those to send, and how many others there are.

        Sorting by any column but the default one needs every row.
        """
        if wanted.sort or len(sums) <= wanted.rows:
            return await self._taken(sums), 0
        found, total = busiest(sums, wanted.rows, wanted.containing)
        return await self._taken(found), total - len(found)

    async def _taken(self, sums: list[Aggregate]) -> list[Row]:
        """The rows of these sums, shared by several views."""
        for batch in batches([one for one in sums if one not in self._rows]):
            states = self._hub.fleet.row_states(batch, self._hub.clock.monotonic())
            for one, (_, _, state) in zip(batch, states, strict=True):
                self._rows[one] = state.row(with_since_start=False)
                await self._slices.pause()
        return [self._rows[one] for one in sums]

    async def _lines(self) -> list[Holder]:
        """Some lines of every program."""
        told: list[Holder] = []
        for row in self._overview.programs:
            told += await self._lines_of(row.key[1], TOP_LINES, with_use=False)
        return told

    async def _lines_of(self, program: str, most: int, *, with_use: bool = True) -> list[Holder]:
        state = self._hub.fleet.holders_state(program)
        found: list[Holder] = []
        for told in () if state is None else state.steps(most, with_use=with_use):
            found = told or found
            await self._slices.pause()
        return found

    async def _program(self, place: Place) -> Content:
        found = [row for row in self._overview.programs if row.key[1] == place.program]
        own = await self._taken(found)
        processes, total = await self._processes_of(place.program)
        entries: list[PoolEntry] = []
        for process in processes:
            entries += pools_of(process)
            await self._slices.pause()
        holders = await self._lines_of(place.program, MOST_SITES)
        return page_places.program(
            self._fleet, place, own[0] if own else None, entries, holders, total - len(processes)
        )

    async def _pool(self, place: Place) -> PoolEntry | None:
        fleet = self._hub.fleet
        members = [
            one for one in fleet.members(place.program) if (one.key[0], one.token) == (place.host, place.token)
        ]
        for state in fleet.process_states(members, self._hub.clock.monotonic()):
            for row in state.row_steps(with_times=True):
                await self._slices.pause()
                if row is not None:
                    return next((entry for entry in pools_of(row) if entry.key[2] == place.pool), None)
        return None

    async def _line(self, place: Place) -> list[HolderEntry]:
        entries: list[HolderEntry] = []
        processes, _ = await self._processes_of(place.program)
        for process in processes:
            entries += [entry for entry in process_holders(process) if entry.site.site == place.site]
            await self._slices.pause()
        if entries:
            return entries
        holders = await self._lines_of(place.program, MOST_SITES)
        return [summed_entry(one) for one in holders if one.site.site == place.site]

    async def _processes_of(self, program: str) -> tuple[list[ProcessRow], int]:
        """The program's first processes, and how many there are."""
        if (known := self._processes.get(program)) is not None:
            return known
        source = self._source.processes(program)
        assert isinstance(source, ProcessesOfProgram), "a program's name has no control characters"
        rows: list[ProcessRow] = []
        most = min(len(source), MOST_PROCESSES)
        for row in source.rows(True, most):
            if row is not None:
                rows.append(row)
            await self._slices.pause()
        self._processes[program] = rows, len(source)
        return rows, len(source)
