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
from poolhouse.wire.signs import NAME_ID, name_id
from support.reporting import ModelPool, ModelProcess

VALUES = int(os.environ.get("POOLHOUSE_DISTINCT_VALUES", "1500"))
#: A fleet that is full after some seconds.
LIMITS = FleetLimits(
    bytes=1 << 20,
    hosts=20,
    programs=20,
    processes=40,
    pools=20,
    remembered=20,
    events=20,
    memory=20.0,
    forgotten_bytes=64,
)
#: Seconds between two invented values: a hundred come in the ten seconds for which a process that is silent lives.
PACE = 0.1
#: Every so many honest reports somebody looks.
WATCHED_REPORTS = 5
#: Blocks of memory for each value of the last quarter: whatever is kept of one takes at least a block.
LEAST_KEPT = 0.5
WALL = 1.7e9
#: The digits of a name in which invented processes differ.
ZEROS = "0000000"
#: A line that differs from another one in these digits, and in the id that its name gets from them.
LINE = f"app/{ZEROS}.py:1 in f{ZEROS}"

#: Stand for a process's report, its datagram and its pool until they have numbers.
REPORT, DATAGRAM, POOL = 0x71727374, 0x75767778, 0x797A7B7C


class NamedPool(ModelPool):
    """A pool with a name of its own."""

    def __init__(self, key: int, name: str = "db1:5432/shop", line: str = "") -> None:
        super().__init__(key)
        self.name = name
        if line:
            self.signs = PoolSigns(sites=(SiteReading(line, open=1, oldest_s=9.0, held_s=9.0),))

    def read(self, number: int) -> PoolReading:
        return super().read(number)._replace(name=self.name)


class Invented:
    """Reports that differ in the digits of a name, or in a pool: the bytes of one are changed into the others."""

    def __init__(
        self,
        token: str = "2:bbbbbb",
        program: str = "liar",
        host: str = "web2",
        detail: str = "full",
        pool: ModelPool | None = None,
    ) -> None:
        process = ModelProcess(token, program, host)
        #: Whether one process invents pools; otherwise each report is the first one of a process.
        self.is_one = pool is not None
        if pool is not None:
            process.pools, process.number, process.sequence = [pool], REPORT - 1, DATAGRAM
        self.template = process.report(0.0, detail=detail)

    def __call__(self, number: int) -> list[bytes]:
        digits = b"%07d" % number
        if not self.is_one:
            return [one.replace(ZEROS.encode(), digits) for one in self.template]
        changes = [(ZEROS.encode(), digits)]
        changes += [(old.to_bytes(4), (number + 1).to_bytes(4)) for old in (REPORT, POOL)]
        changes.append((NAME_ID.pack(name_id(LINE)), NAME_ID.pack(name_id(LINE.replace(ZEROS, digits.decode())))))
        reports = []
        for place, one in enumerate(self.template):
            sequence = number * len(self.template) + place
            for old, new in (*changes, ((DATAGRAM + place).to_bytes(4), sequence.to_bytes(4))):
                one = one.replace(old, new)
            reports.append(one)
        return reports


#: What is invented, and the bound that counts it; a value that takes the place of the one before is not refused.
KINDS: dict[str, tuple[Callable[[], Invented], set[str]]] = {
    "hosts": (lambda: Invented(host=f"h{ZEROS}"), {"hosts"}),
    "programs": (lambda: Invented(program=f"p{ZEROS}"), {"programs"}),
    "names with orders to a terminal": (lambda: Invented(program=f"\x1b[{ZEROS}m\u202e\u0430"), {"programs"}),
    "tokens": (lambda: Invented(f"2:{ZEROS}"), {"processes"}),
    "all of these at once": (lambda: Invented(f"2:{ZEROS}", f"p{ZEROS}", f"h{ZEROS}"), {"programs"}),
    "processes of the earlier client": (
        lambda: Invented(f"2:{ZEROS}", f"p{ZEROS}", f"h{ZEROS}", detail="plain"),
        {"programs"},
    ),
    "pools": (lambda: Invented(pool=ModelPool(POOL)), set()),
    "lines": (lambda: Invented(pool=NamedPool(1, line=LINE)), {"names"}),
    "names of pools": (lambda: Invented(pool=NamedPool(POOL, f"db{ZEROS}:5432/\x1b[2m\u202e")), set()),
}


@pytest.mark.long
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
            if checkouts % WATCHED_REPORTS == 0:
                fleet.snapshot(now, WALL + now, "liar")
            due += honest.interval
        for datagram in invent(number):
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
