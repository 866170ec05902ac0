"""What an answer to Prometheus costs connmond.

    python benchmarks/exports.py [PROGRAMS ROUNDS]

A fleet of so many programs, all of which have counters, three histograms and a few lines that hold connections, is
asked for its metrics over a real connection on loopback. Measured are the CPU time of the thread that answers, for
each sample and for each whole answer, which includes HTTP and the sending, and the most CPU time between two looks
for reports. The reader is a process of its own, and reads as fast as it can.
"""

import asyncio
import gc
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from poolhouse.clock import SystemClock
from poolhouse.daemon.http.face import HttpFace
from poolhouse.daemon.part import Hub
from poolhouse.daemon.serve import GARBAGE_THRESHOLDS
from poolhouse.export.families import Figures
from poolhouse.export.prometheus import Exposition
from poolhouse.export.prometheus_formats import OPEN_METRICS, PROTOBUF, TEXT, Format
from poolhouse.export.prometheus_protobuf import ProtobufExposition
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import PoolSigns, SiteReading
from support.reports import report

PROGRAMS, ROUNDS = 1000, 15
#: Series of each program whose histograms are native ones.
SERIES_IN_PROTOBUF = 22
#: Lines of each program that hold connections.
LINES = 5

#: Reads one answer after another and prints their lengths.
READER = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Accept": sys.argv[3]})
for _ in range(int(sys.argv[2])):
    with urllib.request.urlopen(request) as answer:
        print(len(answer.read()), flush=True)
"""


def fleet_of(programs: int) -> Fleet:
    """Every program with a process of its own on a host of its own."""
    fleet, chance = Fleet(FleetLimits(), time.monotonic()), random.Random(1)
    times = Histogram()
    times.record_all([int(chance.lognormvariate(-6, 2) * 1e9) for _ in range(5000)])
    lines = [f"app/views.py:{number} in view{number}" for number in range(LINES)]
    signs = PoolSigns(sites=tuple(SiteReading(line, 1, 0.5, 1000, 0, 250.0) for line in lines))
    for number in range(programs):
        for datagram in report(
            f"program{number}",
            host=f"web{number}",
            token=f"{number}:abcdef",
            interval=600.0,
            checkouts=555_555,
            commits=500_000,
            used=3,
            idle=2,
            wait=times,
            use=times,
            create=times,
            pool_signs=signs,
        ):
            refusal = fleet.receive(datagram, time.monotonic(), time.time())
            assert refusal is None, refusal
    return fleet


def writing(fleet: Fleet, form: Format) -> tuple[int, float, float]:
    """Samples, and microseconds a sample: of the text alone, and with the taking of the numbers."""
    begin = time.thread_time()
    exposition = ProtobufExposition() if form is PROTOBUF else Exposition(form)
    rows = fleet.program_rows(time.monotonic())
    for _, program, state in fleet.row_states(rows, time.monotonic()):
        exposition.add(None, program, state.counted())
    taken = time.thread_time()
    for _ in exposition.chunks(Figures("", fleet.health(time.monotonic()))):
        pass
    end = time.thread_time()
    samples = exposition.samples if isinstance(exposition, Exposition) else len(rows) * SERIES_IN_PROTOBUF
    return samples, (end - taken) / samples * 1e6, (end - begin) / samples * 1e6


class Looks:
    """A listener without reports: the CPU time between two looks of it while an answer is under way."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.longest = 0.0

    def read(self) -> bool:
        now = time.thread_time()
        if self.last is not None:
            self.longest = max(self.longest, now - self.last)
        self.last = now
        return False


async def scraping(fleet: Fleet, path: str, accept: str, rounds: int) -> tuple[list[float], float]:
    """CPU seconds of each answer, and of the longest slice of all."""
    hub, looks = Hub(fleet, SystemClock()), Looks()
    hub.add_listener(looks.read)
    face = HttpFace(hub, (), (), None)
    listening = await asyncio.get_running_loop().create_server(face.connection, "127.0.0.1", 0)
    sock: socket.socket = listening.sockets[0]
    url = f"http://127.0.0.1:{sock.getsockname()[1]}{path}"
    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READER, url, str(rounds), accept, stdout=subprocess.PIPE
    )
    assert reader.stdout is not None
    seconds: list[float] = []
    for _ in range(rounds):
        begin = time.thread_time()
        await reader.stdout.readline()
        seconds.append(time.thread_time() - begin)
    await reader.wait()
    face.close()
    listening.close()
    return seconds[1:], looks.longest


def main() -> None:
    programs, rounds = (int(one) for one in sys.argv[1:3]) if len(sys.argv) > 2 else (PROGRAMS, ROUNDS)
    fleet = fleet_of(programs)
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)  # As connmond has it.
    print(f"CPython {platform.python_version()}, {os.cpu_count()} cores, {programs} programs")
    figures: dict[str, object] = {}
    for name, form in (("text", TEXT), ("OpenMetrics", OPEN_METRICS), ("protobuf", PROTOBUF)):
        found = [writing(fleet, form) for _ in range(rounds)]
        samples = found[0][0]
        text, whole = (statistics.median(one[place] for one in found) for place in (1, 2))
        print(
            f"{name}: {samples:,} samples, {text:.2f} µs each to write, {whole:.2f} with the taking of the numbers"
        )
        figures[name] = {"samples": samples, "text_us": text, "whole_us": whole}
    answers = {"/metrics": TEXT, "/metrics in protobuf": PROTOBUF, "/api/snapshot": TEXT}
    for path, form in answers.items():
        seconds, longest = asyncio.run(scraping(fleet, path.partition(" ")[0], form.content_type, rounds))
        middle = statistics.median(seconds) * 1e3
        least = min(seconds) * 1e3
        print(f"{path}: {middle:.0f} ms of CPU ({least:.0f} at least), longest slice {longest * 1e3:.1f} ms")
        figures[path] = {"cpu_ms": middle, "least_cpu_ms": least, "longest_slice_ms": longest * 1e3}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
