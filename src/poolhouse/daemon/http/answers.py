"""connmond's answers over HTTP: a Starlette application over the daemon's fleet.

A large answer is made in slices and sent piece by piece, as fast as its reader takes it: the fleet's numbers are
kept until the end, the text never is.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from poolhouse.clock import cpu_seconds
from poolhouse.daemon.http.figures import figures
from poolhouse.daemon.http.landing import landing_page
from poolhouse.daemon.http.live import Live
from poolhouse.daemon.http.pages import Pages, address_of
from poolhouse.daemon.http.places import Places
from poolhouse.daemon.part import Hub
from poolhouse.daemon.slices import Slices, batches
from poolhouse.export.prometheus import Exposition
from poolhouse.export.prometheus_formats import PROTOBUF, accepted
from poolhouse.export.prometheus_protobuf import ProtobufExposition
from poolhouse.feed.fleet_source import FleetSource, ProcessesOfProgram, ProgramsOfHost
from poolhouse.feed.product import product
from poolhouse.fleet.snapshot import Holder, ProcessRow
from poolhouse.views.as_json import state_pieces

T = TypeVar("T")

#: Bytes per write.
_PIECE_BYTES = 48 * 1024
#: The most simultaneous answers of each of the two large kinds; further requests wait.
_MOST_SCRAPES, _MOST_SNAPSHOTS = 8, 2
#: Beyond this many processes of a program, they are sent without their durations.
MOST_PROCESSES_WITH_TIMES = 1000


class Answers:
    """The answers for all paths.

    Attributes:
        is_ready: Whether the daemon is receiving reports, and not ending.
        live: The live views of the page.
    """

    def __init__(self, hub: Hub) -> None:
        """Prepare.

        Args:
            hub: The daemon's hub.
        """
        self.is_ready = True
        self.live = Live(hub)
        self._hub = hub
        #: Shared by all answers, for the lines that it caches.
        self._source = FleetSource(hub.fleet, hub.clock, nullcontext())
        self._scrapes, self._snapshots = Places(_MOST_SCRAPES), Places(_MOST_SNAPSHOTS)
        #: Seconds of work for the latest answer to ``/metrics``.
        self._scrape_seconds: float | None = None

    def app(self) -> Starlette:
        """The application."""
        pages = Pages(self.live, self._hub)
        paths = {
            "/about": self._landing,
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._ready,
            "/assets/{name}": pages.asset,
            "/api/snapshot": self._snapshot,
            "/api/{path:path}": pages.view,
            "/{path:path}": pages.page,
        }
        return Starlette(routes=[Route(path, answer, methods=["GET"]) for path, answer in paths.items()])

    async def _landing(self, request: Request) -> Response:
        return HTMLResponse(landing_page(product("connmond")))

    async def _health(self, request: Request) -> Response:
        return PlainTextResponse("well\n")

    async def _ready(self, request: Request) -> Response:
        if self.is_ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("connmond ends\n", status_code=503)

    async def _metrics(self, request: Request) -> Response:
        by = request.query_params.get("by")
        if by not in (None, "host"):
            return PlainTextResponse("by: expected host, or no such parameter\n", status_code=400)
        form = accepted(",".join(request.headers.getlist("accept")))
        exposition = ProtobufExposition() if form is PROTOBUF else Exposition(form)
        content = self._metrics_pieces(exposition, address_of(request), by_host=by == "host")
        return StreamingResponse(content, headers={"content-type": form.content_type})

    async def _metrics_pieces(
        self, exposition: Exposition | ProtobufExposition, address: str, *, by_host: bool
    ) -> AsyncIterator[bytes]:
        hub, fleet = self._hub, self._hub.fleet
        async with self._scrapes.taken(address):
            hub.read_reports()
            slices, work = Slices(hub), _Work()
            rows = fleet.program_rows(hub.clock.monotonic(), by_host=by_host)
            await slices.pause()
            for batch in batches(rows):
                with work:
                    for host, program, state in fleet.row_states(batch, hub.clock.monotonic()):
                        exposition.add(host if by_host else None, program, state.counted())
                await slices.pause()
            for lines in work.steps(self._source.lines()):
                exposition.add_lines(lines or ())
                await slices.pause()
            with work:
                exposition.add_verdicts(fleet.verdicts())
            own = figures(
                fleet.health(hub.clock.monotonic()), self._scrape_seconds, hub.refusals, hub.failed_pushes
            )
            async for piece in _joined(work.steps(exposition.chunks(own)), slices):
                yield piece
            self._scrape_seconds = work.seconds

    async def _snapshot(self, request: Request) -> Response:
        program = request.query_params.get("program")
        content = self._snapshot_pieces(program, address_of(request))
        return StreamingResponse(content, headers={"content-type": "application/json"})

    async def _snapshot_pieces(self, program: str | None, address: str) -> AsyncIterator[bytes]:
        async with self._snapshots.taken(address):
            self._hub.read_reports()
            slices = Slices(self._hub)
            # Adding up one instant takes some milliseconds, and so may removing silent processes.
            self._hub.fleet.expire(self._hub.clock.monotonic())
            await slices.end()
            state = self._source.state()
            await slices.end()
            # Rows are made as they are written, and not kept. A snapshot of them all would be so many objects that
            # Python's garbage collector would hold up the loop for tens of milliseconds.
            pieces = (piece.encode() for piece in state_pieces(state, *self._details(program)))
            async for piece in _joined(pieces, slices):
                yield piece

    def _details(self, program: str | None) -> tuple[Iterator[ProcessRow | None], Iterator[Holder | None]]:
        """The requested program's processes, and the lines, in small steps with ``None`` between them."""
        if program is None:
            return iter(()), self._source.holders()
        processes = self._source.processes(program)
        rows = processes.rows(len(processes) <= MOST_PROCESSES_WITH_TIMES, len(processes))
        return rows, self._holders_of(program, processes)

    def _holders_of(self, program: str, processes: ProcessesOfProgram | ProgramsOfHost) -> Iterator[Holder | None]:
        """All lines of the program, then some of each other program."""
        for found in processes.holders():
            yield None
            yield from found or ()
        for holder in self._source.holders():
            yield None if holder is None or holder.program == program else holder


async def _joined(pieces: Iterator[bytes], slices: Slices) -> AsyncIterator[bytes]:
    """The pieces joined into larger ones, which cost less to send; none is empty. A slice may end after each."""
    taken: list[bytes] = []
    size = 0
    for piece in pieces:
        if piece:
            taken.append(piece)
            size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(taken)
            taken.clear()
            size = 0
        await slices.pause()
    if taken:
        yield b"".join(taken)


class _Work:
    """Counts the CPU seconds of an answer, without what runs between its steps.

    Attributes:
        seconds: The count so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._begin = cpu_seconds()

    def __exit__(self, *_: object) -> None:
        self.seconds += cpu_seconds() - self._begin

    def steps(self, steps: Iterator[T]) -> Iterator[T]:
        """The same steps, each of which is counted."""
        while True:
            with self:
                try:
                    step = next(steps)
                except StopIteration:
                    return
            yield step
