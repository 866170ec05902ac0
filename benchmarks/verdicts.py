"""How long a process takes to examine itself, and an aggregator to examine its fleet. Prints milliseconds.

The process has one pool with seven sites, and is saturated. The fleet has 20 programs on 1,000 hosts, and twelve
lines for each process.
"""

import gc
import random
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.signs import Finding, PoolSigns, ProcessSigns, SiteReading
from poolhouse.verdicts.standing import Examiner
from support.reporting import ModelProcess
from support.troubled import Life, busy

ROUNDS, TIMES = 9, 5
PROCESSES, HOSTS, PROGRAMS, LINES = 20_000, 1_000, 20, 12
SERVER_FULL = Finding("server_full", 1, "", "", 2.0, (5.0, 0.0, 0.0))


def of_a_process() -> None:
    """One process's own examination."""
    dice = random.Random(1)
    life = Life(most=15)
    life.work(lambda: busy(1.5, f"app.py:{dice.randrange(7)} in f"), 40)
    life.live(40)
    spent = []
    for _ in range(ROUNDS):
        for _ in range(TIMES):
            examiner = Examiner()
            for moment in life.moments[:-1]:
                examiner.take(moment)
            began = time.perf_counter()
            examiner.take(life.moments[-1])
            spent.append(time.perf_counter() - began)
    sites = len(life.moments[-1].pools[0].signs.sites)
    print(f"one examination of {sites} sites: {1e3 * median(spent):.2f} ms (at most 0.5)")


def of_a_fleet(sick: int) -> None:
    """A fleet's examinations while so many of its processes find that their server is full."""
    fleet = Fleet(FleetLimits(), 0.0)
    fleet.advances_in_steps = True
    signs = PoolSigns(
        "db1:5432/shop", sites=tuple(SiteReading(f"app/views.py:{line} in view", 1) for line in range(LINES))
    )
    for number in range(PROCESSES):
        process = ModelProcess(
            f"{number}:a", f"program{number % PROGRAMS}", f"web{number % HOSTS}", interval=600.0
        )
        process.pool.signs, process.signs = signs, ProcessSigns(10)
        process.findings = (SERVER_FULL,) if number < sick else ()
        for datagram in process.report(0.0):
            assert fleet.receive(datagram, 0.0, 1.7e9) is None
    gc.collect()
    gc.freeze()
    for name, now in (("the first", 1.0), ("the next", 2.0)):
        steps, goes_on = [], True
        while goes_on:
            began = time.perf_counter()
            goes_on = fleet.advance(now)
            steps.append(time.perf_counter() - began)
        print(
            f"{sick:5} of {PROCESSES}, {name}: {1e3 * sum(steps):.0f} ms, longest step {1e3 * max(steps):.1f} ms"
        )


def main() -> None:
    """Print everything."""
    of_a_process()
    for sick in (0, 1, 2_000):
        of_a_fleet(sick)


if __name__ == "__main__":
    main()
