"""How long consoles hold up reports, at the limits: `python benchmarks/consoles.py [PROCESSES PROGRAMS HOSTS]`.

A fleet of so many processes is served to ten consoles, each of which asks for another program ten times a second,
and one that looks at the largest program. Between two slices of work connmond reads its reports; what is measured
is the longest slice, in CPU time, because other programs run on this machine too.
"""

import gc
import platform
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from poolhouse.clock import SystemClock
from poolhouse.daemon.consoles import SLICE, DaemonSource
from poolhouse.daemon.serve import GARBAGE_THRESHOLDS
from poolhouse.feed.protocol.datagrams import Ask, Cookie, decode_datagram, encode_datagram
from poolhouse.feed.protocol.service import ConsoleService
from poolhouse.feed.protocol.subscribers import Subscribers
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from support.reporting import ModelProcess

CONSOLES = 10
SECONDS = 20.0
NONCE = b"console1"


def fleet_of(processes: int, programs: int, hosts: int) -> Fleet:
    """One busy pool each; half of the processes belong to one program."""
    fleet, luck = Fleet(FleetLimits(), time.monotonic()), random.Random(1)
    for number in range(processes):
        program = 0 if number % 2 else number // 2 % programs
        process = ModelProcess(
            f"{number}:abcdef", f"program{program}", f"web{number // 20 % hosts}", 3600.0, born=time.monotonic()
        )
        process.pool.count(checkouts=200, connects=5, commits=190)
        for histogram in (process.pool.wait, process.pool.use, process.pool.create):
            histogram.record_all([int(1e6 * luck.lognormvariate(0.0, 1.2)) for _ in range(100)])
        for datagram in process.report(time.monotonic()):
            fleet.receive(datagram, time.monotonic(), time.time())
    return fleet


def ask(service: ConsoleService, port: int, program: str) -> None:
    address = ("127.0.0.1", port)
    answer = service.receive(encode_datagram(Ask(NONCE)), address, time.monotonic())
    assert answer is not None
    cookie = decode_datagram(answer)
    assert isinstance(cookie, Cookie)
    service.receive(encode_datagram(Ask(NONCE, cookie.cookie, program)), address, time.monotonic())


def main(processes: int = 20_000, programs: int = 1_000, hosts: int = 1_000) -> None:
    fleet, luck, clock = fleet_of(processes, programs, hosts), random.Random(2), SystemClock()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)  # As connmond has it.
    service = ConsoleService(
        DaemonSource(fleet, clock), "benchmark", tuple, Subscribers(b"sixteen bytes or more"), time.monotonic()
    )
    slices, frames, worked, asked = [], 0, 0.0, 0.0
    end = time.monotonic() + SECONDS
    while (now := time.monotonic()) < end:
        if now - asked > 0.1:
            asked = now
            ask(service, 1, "program0")
            for port in range(2, 2 + CONSOLES):
                ask(service, port, f"program{luck.randrange(programs)}")
        begin = time.process_time()
        frames += sum(datagram[18:20] == b"\0\0" for _, _, datagram in service.outgoing(now))
        service.sent(time.process_time() - begin)
        while time.process_time() - begin < SLICE and (work := service.next(time.monotonic())) is not None:
            before = time.process_time()
            work.run()
            service.done(work, time.process_time() - before, time.monotonic())
        spent = time.process_time() - begin
        slices.append(spent)
        worked += spent
        time.sleep(max(0.0, min(service.next_due(time.monotonic()) - time.monotonic(), 0.01)))
    slices.sort()
    print(f"CPython {platform.python_version()}: {processes:,} processes, {programs:,} programs, {hosts:,} hosts")
    print(
        f"slices {len(slices):,}, longest {slices[-1] * 1e3:.1f} ms, "
        f"p99 {slices[len(slices) * 99 // 100] * 1e3:.1f} ms; "
        f"{worked / SECONDS:.0%} of the time; {frames} frames in {SECONDS:.0f} s"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
