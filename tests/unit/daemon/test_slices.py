"""Reports are read between the slices of an answer over HTTP."""

import asyncio
from pathlib import Path

from starlette.types import Message

from poolhouse.configuration.service import CsvDump
from poolhouse.daemon.csv_part import CsvPart
from poolhouse.daemon.http.answers import Answers
from poolhouse.daemon.part import Hub
from poolhouse.daemon.server import Daemon
from poolhouse.daemon.slices import SLICE, Slices
from poolhouse.export.csv import LINES_AT_ONCE
from poolhouse.fleet.examiner import DECODED_AT_ONCE
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.signs import Finding, PoolSigns, ProcessSigns
from poolhouse.testing.clock import VirtualClock
from support.reporting import ModelProcess
from support.reports import report

PROGRAMS = 100


class Hurry(VirtualClock):
    """A clock on which whatever is done takes a whole slice."""

    def monotonic(self) -> float:
        self.advance(SLICE)
        return super().monotonic()


def test_reports_are_read_once_a_slice_is_over_and_not_before() -> None:
    clock, reads = VirtualClock(), []
    hub = Hub(Fleet(FleetLimits(), clock.monotonic()), clock)
    hub.add_listener(lambda: reads.append(clock.monotonic()))  # type: ignore[arg-type, func-returns-value]
    slices = Slices(hub)

    async def work() -> list[int]:
        counts = []
        for seconds in (0.0, SLICE / 2, SLICE / 2, SLICE / 2, SLICE):
            clock.advance(seconds)
            await slices.pause()
            counts.append(len(reads))
        return counts

    assert asyncio.run(work()) == [0, 0, 2, 2, 4]


def hub_of_programs() -> Hub:
    """A fleet whose programs have a process each, and a clock in a hurry."""
    hub = Hub(Fleet(FleetLimits(), 0.0), Hurry())
    for number in range(PROGRAMS):
        for datagram in report(f"program{number}", token=f"{number}:a", interval=600.0):
            assert hub.fleet.receive(datagram, hub.clock.monotonic(), 0.0) is None
    return hub


def test_no_answer_takes_more_than_a_few_rows_between_two_looks_at_the_reports() -> None:
    hub, reads = hub_of_programs(), []
    hub.add_listener(lambda: reads.append(None))  # type: ignore[arg-type, func-returns-value]

    def reads_of(path: str) -> tuple[int, int]:
        """How often reports were read for an answer, and the answer's bytes."""
        reads.clear()
        size = 0

        async def send(message: Message) -> None:
            nonlocal size
            size += len(message.get("body", b""))

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def answer() -> None:
            url, _, query = path.partition("?")
            scope = {"type": "http", "method": "GET", "path": url, "query_string": query.encode(), "headers": []}
            await Answers(hub).app()(scope, receive, send)

        asyncio.run(answer())
        return len(reads), size

    count, size = reads_of("/metrics")
    assert size > 100 * PROGRAMS
    assert count >= 2 * PROGRAMS / 8  # Eight rows at a time.
    count, size = reads_of("/api/snapshot?program=program7")
    assert size > 1000 * PROGRAMS
    assert count >= 2 * PROGRAMS  # A row at a time.


def test_reports_are_read_between_the_rows_of_the_csv_file(tmp_path: Path) -> None:
    hub, reads = hub_of_programs(), []
    hub.add_listener(lambda: reads.append(None))  # type: ignore[arg-type, func-returns-value]
    part = CsvPart(CsvDump(str(tmp_path / "pools.csv"), ("progname", "process_count")), print)
    part.attach(hub)
    assert part._file is not None
    asyncio.run(part._write(part._file, part._table))
    part.detach()
    assert len((tmp_path / "pools.csv").read_text().splitlines()) == 1 + PROGRAMS
    assert len(reads) >= 2 * (PROGRAMS / 8 + PROGRAMS / LINES_AT_ONCE)  # Eight rows at a time, then lines.


def test_reports_are_read_between_the_steps_in_which_a_fleet_with_a_full_server_is_examined() -> None:
    clock = Hurry()
    daemon, reads = Daemon([], clock=clock), []
    hub = daemon._hub
    hub.add_listener(lambda: reads.append(None))  # type: ignore[arg-type, func-returns-value]
    for number in range(PROGRAMS):
        process = ModelProcess(f"{number}:aaaaaa", interval=600.0)
        process.pool.signs, process.signs = PoolSigns("db1:5432/shop"), ProcessSigns(10)
        process.findings = (Finding("server_full", 1, "", "", 2.0, (5.0, 0.0, 0.0)),)
        for datagram in process.report(clock.monotonic()):
            assert hub.fleet.receive(datagram, clock.monotonic(), 0.0) is None

    async def examine() -> None:
        end = asyncio.Event()
        hub.fleet.note_verdict = lambda _: end.set()
        await daemon.run(end)

    asyncio.run(examine())
    # Each process is decoded for its findings, and for what it has open.
    assert len(reads) >= 2 * (2 * PROGRAMS // DECODED_AT_ONCE)
