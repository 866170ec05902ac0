"""Memory stays the same however many hosts, programs, tokens, pools, lines and names are invented.

An honest process reports meanwhile. Each bound of this fleet is 20 or 40, and the cache of lines has 1,024 places.
All are full when the last quarter of the values begins, in which nothing may grow any more. ``make soak`` invents
a million of each kind (`POOLHOUSE_DISTINCT_VALUES`).
"""

import gc
import os
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.reading import PoolReading
from poolhouse.meter.signs import PoolSigns, SiteReading
from support.reporting import ModelPool, ModelProcess

VALUES = int(os.environ.get("POOLHOUSE_DISTINCT_VALUES", "1500"))
#: A fleet that is full after some seconds.
LIMITS = FleetLimits(
    bytes=1 << 20, hosts=20, programs=20, processes=40, pools=20, remembered=20, events=20, memory=20.0
)
#: Seconds between two invented values: a hundred come in the ten seconds for which a process that is silent lives.
PACE = 0.1
#: Blocks of memory for each value of the last quarter: whatever is kept of one takes at least a block.
LEAST_KEPT = 0.5
WALL = 1.7e9

Report = Callable[[int, float], list[bytes]]


class NamedPool(ModelPool):
    """A pool that calls itself something else in each report."""

    name = ""

    def read(self, number: int) -> PoolReading:
        return super().read(number)._replace(name=self.name)


class Liar:
    """One process that invents something new in each report."""

    def __init__(self) -> None:
        self.process = ModelProcess("2:bbbbbb", "liar", "web2")

    def pools(self, number: int, now: float) -> list[bytes]:
        self.process.pools = [ModelPool(number + 1)]
        return self.process.report(now)

    def lines(self, number: int, now: float) -> list[bytes]:
        site = SiteReading(f"app/{number}.py:{number} in f{number}", open=1, oldest_s=9.0, held_s=9.0)
        self.process.pool.signs = PoolSigns(sites=(site,))
        return self.process.report(now)

    def names_of_pools(self, number: int, now: float) -> list[bytes]:
        pool = NamedPool(1)
        pool.name = f"db{number}:5432/\x1b[{number}m\u202e"
        self.process.pools = [pool]
        return self.process.report(now)


def hosts(number: int, now: float) -> list[bytes]:
    return ModelProcess("2:bbbbbb", "liar", f"h{number}", born=now).report(now)


def programs(number: int, now: float) -> list[bytes]:
    return ModelProcess("2:bbbbbb", f"p{number}", "web2", born=now).report(now)


def names_with_orders(number: int, now: float) -> list[bytes]:
    return ModelProcess("2:bbbbbb", f"\x1b[{number}m\u202e\u0430", "web2", born=now).report(now)


def tokens(number: int, now: float) -> list[bytes]:
    return ModelProcess(f"{number}:{number:06x}", "liar", "web2", born=now).report(now)


def everything(number: int, now: float) -> list[bytes]:
    return ModelProcess(f"{number}:{number:06x}", f"p{number}", f"h{number}", born=now).report(now)


#: What is invented, and the bound that counts it; a value that takes the place of the one before is not refused.
KINDS: dict[str, tuple[Callable[[], Report], set[str]]] = {
    "hosts": (lambda: hosts, {"hosts"}),
    "programs": (lambda: programs, {"programs"}),
    "names with orders to a terminal": (lambda: names_with_orders, {"programs"}),
    "tokens": (lambda: tokens, {"processes"}),
    "all of these at once": (lambda: everything, {"programs"}),
    "pools": (lambda: Liar().pools, set()),
    "lines": (lambda: Liar().lines, {"names"}),
    "names of pools": (lambda: Liar().names_of_pools, set()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_invented_leaves_nothing_behind_and_keeps_nobody_out(kind):
    make, bounds = KINDS[kind]
    invent = make()
    fleet = Fleet(LIMITS, 0.0)
    honest = ModelProcess("1:aaaaaa", "shop", "web1")
    honest.pool.signs = PoolSigns(
        sites=(SiteReading("app/views.py:88 in cart", open=1, oldest_s=4.0, held_s=9.0),)
    )
    refused: Counter[str] = Counter()
    blocks: list[int] = []
    checkouts, now, due = 0, 0.0, 0.0
    for number in range(VALUES):
        if now >= due:
            honest.pool.work(1)
            checkouts += 1
            assert {fleet.receive(one, now, WALL + now) for one in honest.report(now)} == {None}
            fleet.expire(now)
            fleet.snapshot(now, WALL + now, "liar")
            due += honest.interval
        for datagram in invent(number, now):
            if (reason := fleet.receive(datagram, now, WALL + now)) is not None:
                refused[reason.removeprefix("over the limit of ")] += 1
        if number + 1 in (VALUES * 3 // 4, VALUES):
            gc.collect()
            blocks.append(sys.getallocatedblocks())
        now += PACE
    before, after = blocks
    assert after - before < LEAST_KEPT * (VALUES // 4), "something is kept of each value"
    snapshot = fleet.snapshot(now, WALL + now)
    assert snapshot.health.bytes < 1.02 * LIMITS.bytes
    (row,) = (row for row in snapshot.programs if row.name == "shop")
    assert (row.totals.checkouts, row.processes, row.is_stale) == (checkouts, 1, False)
    counted = dict(snapshot.health.over_limit)
    assert counted.keys() - {"remembered"} == bounds
    assert {bound: counted[bound] for bound in refused} == refused
    assert snapshot.health.refused == refused.total()
