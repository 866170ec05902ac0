"""One sender's flood, where senders can be told apart: it takes what is free, and nobody else's equal part."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.shares import BySource
from support.reporting import ModelProcess

WALL = 1.7e9


def tell(fleet: Fleet, process: ModelProcess, now: float, source: str) -> list[str | None]:
    return [fleet.receive(one, now, WALL, source=source) for one in process.report(now)]


def flood(
    fleet: Fleet, now: float, count: int, source: str = "mallory", *, twice: bool = False, pools: int = 1
) -> None:
    """So many invented processes, each a host and a program of its own; they report twice if `twice`."""
    for number in range(count):
        name = f"{source}{now:g}-{number}"
        process = ModelProcess(f"{number}:{number:06x}", name, name, interval=2.0, pools=pools, born=now)
        for second in (now, now + 2.0)[: 1 + twice]:
            tell(fleet, process, second, source)


def honest(count: int, program: str = "shop") -> list[ModelProcess]:
    return [ModelProcess(f"{number}:aaaaaa", program, f"web{number}", born=0.0) for number in range(count)]


def processes(fleet: Fleet, now: float, program: str) -> int:
    return sum(row.processes or 0 for row in fleet.snapshot(now, WALL).programs if row.name == program)


@pytest.mark.long
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("bound", ["processes", "hosts", "programs", "bytes"])
def test_who_comes_after_a_flood_gets_an_equal_part(bound, twice):
    """Also where the flood keeps every promise: it reports again and again."""
    fleet = Fleet(FleetLimits(**{bound: 2 << 20 if bound == "bytes" else 40}), 0.0)
    flood(fleet, 1.0, 300, twice=twice)
    own = honest(10)
    for second in (4.0, 6.0, 8.0):
        for process in own:
            assert set(tell(fleet, process, second, "alice")) == {None}
        flood(fleet, second, 50, twice=twice)
    assert processes(fleet, 10.0, "shop") == 10


@pytest.mark.long
@pytest.mark.parametrize("bound", ["processes", "hosts", "programs", "bytes"])
def test_who_was_there_before_a_flood_stays(bound):
    fleet = Fleet(FleetLimits(**{bound: 2 << 20 if bound == "bytes" else 40}), 0.0)
    # Of an interval so long that the second report comes after the flood.
    own = [ModelProcess(f"{n}:aaaaaa", "shop", f"web{n}", interval=60.0, born=0.0) for n in range(10)]
    for process in own:
        tell(fleet, process, 1.0, "alice")
    for second in range(2, 60, 4):
        flood(fleet, float(second), 60, twice=True)
    assert processes(fleet, 60.0, "shop") == 10
    assert {one for process in own for one in tell(fleet, process, 61.0, "alice")} == {None}


def test_the_flood_itself_has_what_is_left_and_the_refusals_are_counted():
    fleet = Fleet(FleetLimits(processes=40), 0.0)
    for process in honest(10):
        tell(fleet, process, 1.0, "alice")
    flood(fleet, 2.0, 100, twice=True)
    snapshot = fleet.snapshot(4.0, WALL)
    assert snapshot.fleet.processes == 40
    assert dict(snapshot.health.over_limit)["processes"] >= 70


def test_three_senders_have_a_third_each_whatever_they_want():
    fleet, luck = Fleet(FleetLimits(processes=60), 0.0), random.Random(3)
    wanted = {"alice": 200, "bob": 30, "carol": 500}
    order = [source for source, count in wanted.items() for _ in range(count)]
    luck.shuffle(order)
    for number, source in enumerate(order):
        tell(fleet, ModelProcess(f"{number}:aaaaaa", source, "web1", born=0.0), 1.0, source)
    counts = [processes(fleet, 2.0, source) for source in wanted]
    assert sum(counts) == 60
    assert all(19 <= count <= 21 for count in counts)


def test_what_nobody_living_sent_makes_room_before_anybody_is_refused():
    """Yesterday's processes of another network count for nobody's part."""
    fleet = Fleet(FleetLimits(bytes=1 << 20), 0.0)
    flood(fleet, 1.0, 300, "yesterday")
    for second in (100.0, 200.0):
        fleet.expire(second)
    for process in honest(60):
        assert set(tell(fleet, process, 201.0, "today")) == {None}


class Thing:
    def __init__(self, source: str) -> None:
        self.source = source


@given(st.lists(st.one_of(st.sampled_from("abc"), st.integers(0, 9)), max_size=40))
def test_the_order_and_the_sizes_by_source_are_right_whatever_comes_and_goes(happenings):
    things: BySource[Thing] = BySource()
    model: list[Thing] = []
    for number, what in enumerate(happenings):
        if isinstance(what, str):
            model.append(Thing(what))
            things.add(model[-1], float(number))
        elif what < len(model):
            things.discard(model.pop(what))
            things.discard(Thing("a"))
        of = {source: [thing for thing in model if thing.source == source] for source in "abc"}
        assert list(things) == model
        assert all(things.count(source) == len(of[source]) for source in of)
        assert all(list(things.newest_first(source)) == of[source][::-1] for source in of)
        assert things.largest() is None or len(of[things.largest()]) == max(map(len, of.values()))
        assert (things.oldest(None) or (None,))[0] == (model[0] if model else None)
