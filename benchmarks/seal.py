"""What signing and encrypting costs, at both ends: microseconds of CPU a datagram, and as multiples of none.

python benchmarks/seal.py [PROCESSES]

In the application a datagram is sealed; at the aggregator a door opens it, and the fleet looks at its user, host
and order besides. All levels take turns on the same datagrams, each with its own fleet; medians of the rounds.
"""

import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

from fleet import INTERVAL, processes_of, reports

from poolhouse.admission.door import Demand, Door
from poolhouse.daemon.serve import GARBAGE_THRESHOLDS
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.report.protection import Protection

ROUNDS = 15
USER, PASSWORD = "benchmark", "a password of usual length"
LEVELS = ("sign", "encrypt")
#: The time of day when the processes' clocks were 0.
BEGAN = 1.7e9


def doors_of() -> dict[str, Door]:
    """A door of each level, whose user may report for all hosts of the benchmark by a pattern."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"{USER}: {PASSWORD}\n#poolhouse-hosts {USER}: *\n")
        file.flush()
        return {level: Door(Demand(file.name, level)) for level in LEVELS}


def cost(work: Callable[[bytes], object], datagrams: list[bytes]) -> float:
    """Microseconds of CPU a datagram."""
    began = time.process_time()
    for datagram in datagrams:
        work(datagram)
    return (time.process_time() - began) / len(datagrams) * 1e6


def main() -> None:
    """Measure, and print a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    gc.set_threshold(*GARBAGE_THRESHOLDS)  # As connmond has it.
    rng = random.Random(count)
    processes, now, plain_fleet = processes_of(count, rng), 100.0, Fleet(FleetLimits(), 0.0)
    doors, fleets = doors_of(), {level: Fleet(FleetLimits(), 0.0) for level in LEVELS}
    for level in LEVELS:
        # Started long before, so that nobody is asked whether the reports are new.
        doors[level].join(fleets[level], bytes(32), 0.0, BEGAN - 1e6)
    sealers = {level: Protection(level, USER, PASSWORD).sealer() for level in LEVELS}
    received: list[float] = []
    sealing: dict[str, list[float]] = {level: [] for level in LEVELS}
    opening: dict[str, list[float]] = {level: [] for level in LEVELS}
    for _ in range(ROUNDS):
        told = [datagram for report in reports(processes, now, rng) for datagram in report]
        received.append(cost(lambda datagram: plain_fleet.receive(datagram, now, BEGAN + now), told))  # noqa: B023
        for level in LEVELS:
            sealing[level].append(cost(sealers[level], told))
            sealed = [sealers[level](datagram) for datagram in told]
            door, fleet = doors[level], fleets[level]
            opening[level].append(
                cost(lambda datagram: door.receive(fleet, datagram, "192.0.2.1", now, BEGAN + now), sealed)  # noqa: B023
            )
        now += INTERVAL
    plain = median(received)
    taken = {plain_fleet.health(now).received - plain_fleet.health(now).refused}
    taken |= {fleet.health(now).received - fleet.health(now).refused for fleet in fleets.values()}
    assert len(taken) == 1, taken
    print(f"{count} processes, {len(told)} datagrams a round of {sum(map(len, told)) / len(told):.0f} bytes")
    print("level     sealing µs  aggregator µs  × none  datagrams/s")
    print(f"none               –  {plain:13.1f}    1.00  {1e6 / plain:11,.0f}")
    for level in LEVELS:
        total = median(opening[level])
        ratio = median(one / other for one, other in zip(opening[level], received, strict=True))
        print(f"{level:8}  {median(sealing[level]):10.1f}  {total:13.1f}  {ratio:6.2f}  {1e6 / total:11,.0f}")


if __name__ == "__main__":
    main()
