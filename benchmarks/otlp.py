"""What pushing metrics to a collector of OpenTelemetry costs connmond.

    python benchmarks/otlp.py [PROGRAMS ROUNDS]

A fleet of so many programs, all of which have the same counters and three histograms, is made ready to be pushed
as connmond does it. Measured are the CPU time of the loop's thread for each program and the most CPU time between
two looks for reports; and, of the sending thread, that of joining the pieces and of gzip, which lets other threads
run.
"""

import asyncio
import gc
import gzip
import json
import os
import platform
import statistics
import sys
import time

from exports import Looks, fleet_of

from poolhouse.clock import SystemClock
from poolhouse.configuration.otlp import OtlpTarget
from poolhouse.daemon.otlp_part import OtlpPart
from poolhouse.daemon.otlp_sender import GZIP_LEVEL, requests
from poolhouse.daemon.part import Hub
from poolhouse.daemon.serve import GARBAGE_THRESHOLDS
from poolhouse.fleet.fleet import Fleet

PROGRAMS, ROUNDS = 1000, 15


async def making(fleet: Fleet, rounds: int) -> tuple[list[bytes], float, float]:
    """The pieces of one push, the median of a push's CPU seconds, and the longest slice."""
    part = OtlpPart(OtlpTarget("http://127.0.0.1:9/v1/metrics"), "a", "b", lambda *_: None)
    hub, looks = Hub(fleet, SystemClock()), Looks()
    hub.add_listener(looks.read)
    part.attach(hub)
    seconds: list[float] = []
    pieces: list[bytes] = []
    for _ in range(rounds):
        looks.last = None
        begin = time.thread_time()
        pieces = await part.pieces()
        seconds.append(time.thread_time() - begin)
    return pieces, statistics.median(seconds[1:]), looks.longest


def main() -> None:
    programs, rounds = (int(one) for one in sys.argv[1:3]) if len(sys.argv) > 2 else (PROGRAMS, ROUNDS)
    fleet = fleet_of(programs)
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)  # As connmond has it.
    print(f"CPython {platform.python_version()}, {os.cpu_count()} cores, {programs} programs")
    pieces, seconds, longest = asyncio.run(making(fleet, rounds))
    each = seconds / programs
    print(f"made: {each * 1e6:.0f} µs of CPU a program, longest slice {longest * 1e3:.1f} ms")
    begin = time.thread_time()
    bodies = list(requests(pieces))
    joined = time.thread_time()
    compressed = sum(len(gzip.compress(body, GZIP_LEVEL)) for body in bodies)
    ended = time.thread_time()
    size = sum(map(len, bodies))
    print(
        f"sent: {len(bodies)} requests, {size / programs:,.0f} bytes a program, "
        f"joined in {(joined - begin) * 1e3:.1f} ms; with gzip {compressed / programs:,.0f} bytes, "
        f"{(ended - joined) / programs * 1e6:.0f} µs a program"
    )
    print(json.dumps({"made_us": each * 1e6, "longest_slice_ms": longest * 1e3, "bytes": size / programs}))


if __name__ == "__main__":
    main()
