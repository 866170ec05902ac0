"""Pools of psycopg_pool, as their get_stats() shows them: the whole way to the console, without a network."""

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.export.collectd import value_lists
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.instrumentation import pools, psycopg_pool
from poolhouse.instrumentation.psycopg_pool import COUNTERS, StatsSource, Sums, watch
from poolhouse.meter.meter import Meter
from poolhouse.meter.reading import Gauges, Limits
from poolhouse.report import reporter
from poolhouse.report.roster import Roster
from poolhouse.views.as_json import as_json
from poolhouse.views.column import Sheet
from poolhouse.views.fleet_table import fleet_table
from poolhouse.views.line import text_of
from poolhouse.views.pool_page import pool_header, pool_page
from poolhouse.views.pool_table import POOL_TABLE, pool_entries
from poolhouse.wire.report import Report, encode_report


class ConnectionPool:
    """What psycopg_pool's classes have for us; no `pop_stats`, which is the application's."""

    name = "pool-1"
    conninfo = "host=db1 port=5432 dbname=shop user=ann password=s3cr3t"
    kwargs: Any = None

    def __init__(self, **stats: int) -> None:
        self.closed = False
        #: Keys whose value is 0 may be missing.
        self.stats = {
            "pool_min": 2,
            "pool_max": 4,
            "pool_size": 0,
            "pool_available": 0,
            "requests_waiting": 0,
        } | stats
        self.error: Exception | None = None

    def get_stats(self) -> dict[str, int]:
        if self.error is not None:
            raise self.error
        return dict(self.stats)


class Stream:
    def __init__(self) -> None:
        self.sources: list[Any] = []

    def add(self, source: Any) -> None:
        self.sources.append(source)

    def expect(self, source: Any) -> None:
        """It is there when it is added."""


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """What is reported, in a process that watches nothing yet."""
    made = Stream()
    monkeypatch.setattr(reporter, "stream", lambda destination: made)
    for module in (psycopg_pool, pools):
        monkeypatch.setattr(module, "_sources", weakref.WeakKeyDictionary())
    return made


def source_of(pool: Any) -> StatsSource:
    return StatsSource(pool, Stream())  # type: ignore[arg-type]


def test_what_the_pool_says_is_read_and_what_it_does_not_say_is_unknown() -> None:
    pool = ConnectionPool(
        pool_size=4, pool_available=1, requests_waiting=3, requests_num=100, requests_errors=5, connections_num=9,
        connections_errors=2, returns_bad=1, connections_lost=1, usage_ms=700, requests_wait_ms=80,
    )  # fmt: skip
    reading = source_of(pool).read(1)
    assert (reading.name, reading.kind, reading.is_bound) == ("db1:5432/shop", "ConnectionPool", True)
    assert reading.limits == Limits(max_open=4, max_idle=4, min_idle=2)
    assert reading.gauges == Gauges(idle=1, used=3, waiting=3)
    counters = reading.counters
    assert (counters.checkouts, counters.connects, counters.disconnects) == (92, 7, 3)
    assert (counters.invalidated, counters.connect_errors) == (2, 2)
    unknown = ("timeouts", "acquire_errors", "commits", "rollbacks", "transactions")
    assert [getattr(counters, name) for name in unknown] == [None] * 5
    assert (reading.wait, reading.use, reading.create, reading.marks) == (None, None, None, ())


def test_a_null_pool_without_a_limit_has_none() -> None:
    assert source_of(ConnectionPool(pool_min=0, pool_max=0)).read(1).limits == Limits(None, None, 0)


@given(st.lists(st.tuples(st.dictionaries(st.sampled_from(COUNTERS), st.integers(1, 9)), st.booleans())))
def test_counters_go_on_where_the_application_pops_them(steps: list[tuple[dict[str, int], bool]]) -> None:
    truth, counters, sums = dict.fromkeys(COUNTERS, 0), dict.fromkeys(COUNTERS, 0), Sums()
    for more, is_popped in steps:
        for name, number in more.items():
            truth[name] += number
            counters[name] += number
        assert sums.add(counters) == truth
        if is_popped:
            counters = dict.fromkeys(COUNTERS, 0)
            assert sums.add(counters) == truth


def test_a_pop_that_one_counter_shows_is_one_of_all() -> None:
    sums = Sums()
    sums.add({"requests_num": 9, "requests_errors": 2})
    assert sums.add({"requests_num": 5, "requests_errors": 2}) == {"requests_num": 14, "requests_errors": 4}


def test_counts_never_fall_where_requests_under_way_turn_out_to_fail() -> None:
    pool = ConnectionPool(requests_num=10, requests_waiting=4, connections_num=3, pool_size=2)
    source = source_of(pool)
    assert source.read(1).counters.checkouts == 6
    pool.stats |= {"requests_errors": 4, "connections_errors": 1}  # who gave up stays in the queue for a while
    counters = source.read(2).counters
    assert (counters.checkouts, counters.connects, counters.disconnects) == (6, 3, 1)
    pool.stats |= {"requests_num": 12, "requests_waiting": 0, "connections_num": 5, "pool_size": 4}
    counters = source.read(3).counters
    assert (counters.checkouts, counters.connects, counters.disconnects) == (8, 4, 1)


def test_a_pool_that_is_not_open_yet_has_nothing_and_is_not_gone() -> None:
    pool = ConnectionPool(pool_size=4)
    pool.closed = True
    source = source_of(pool)
    assert source.read(1).gauges == Gauges()
    assert not source.is_gone()
    pool.closed = False
    assert source.read(2).gauges.used == 4
    pool.closed = True
    assert source.is_gone()
    assert source.read(3).gauges == Gauges()


def test_watching_keeps_no_pool_alive_and_its_counts_stay() -> None:
    pool = ConnectionPool(requests_num=10)
    source = source_of(pool)
    source.read(1)
    del pool
    gc.collect()
    assert source.is_gone()
    assert source.read(2).counters.checkouts == 10


def test_in_a_child_the_parents_counts_are_not_told_again() -> None:
    pool = ConnectionPool(requests_num=10, connections_num=2, pool_size=2)
    source = source_of(pool)
    source.read(5)
    source.after_fork()
    pool.stats |= {"requests_num": 13, "connections_num": 3, "pool_size": 1}
    counters = source.read(1).counters
    assert (counters.checkouts, counters.connects, counters.disconnects) == (3, 1, 0)


class Opened(ConnectionPool):
    """With the methods by which psycopg_pool's pools are used."""

    def open(self, wait: bool = False) -> str:
        return f"open {wait}"

    def getconn(self) -> str:
        return "a connection"


@pytest.mark.parametrize("use", [lambda pool: pool.open(wait=True), lambda pool: pool.getconn()])
def test_the_first_use_in_a_child_has_the_pool_reported_and_its_methods_are_its_own_again(
    use: Any, stream: Stream
) -> None:
    pool = Opened()
    watch(pool)
    (source,) = stream.sources
    del stream.sources[:]
    before = dict(vars(pool))
    source.after_fork()
    assert stream.sources == []
    assert use(pool) in ("open True", "a connection")
    assert stream.sources == [source]
    assert vars(pool) == before
    assert use(pool) in ("open True", "a connection")
    assert stream.sources == [source]


def test_a_method_that_the_application_has_replaced_stays_its_own(stream: Stream) -> None:
    pool = Opened()
    pool.getconn = lambda: "the application's"  # type: ignore[method-assign]
    watch(pool)
    (source,) = stream.sources
    source.after_fork()
    assert pool.getconn() == "the application's"


def test_a_pool_that_waits_for_its_first_use_in_a_child_is_kept_alive_by_nobody(stream: Stream) -> None:
    pool = Opened()
    watch(pool)
    stream.sources[0].after_fork()
    reference = weakref.ref(pool)
    del pool
    assert reference() is None


def test_watching_twice_is_watching_once(stream: Stream) -> None:
    pool = ConnectionPool()
    watch(pool)
    watch(pool)
    assert len(set(map(id, stream.sources))) == 1


def test_a_pool_of_ours_is_reported_as_what_it_is(stream: Stream) -> None:
    class OurPool(ConnectionPool):
        meter = Meter()

    watch(OurPool())
    assert [type(source) for source in stream.sources] == [pools.PoolSource]


@pytest.mark.parametrize("wrong", [None, "postgresql://db1", object()])
def test_what_is_no_pool_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
        watch(wrong)


def told(source: StatsSource, roster: Roster, fleet: Fleet, number: int) -> tuple[Snapshot, int]:
    """A console's snapshot of the program after a report, and how many failures to read there were."""
    statement = roster.read([source], number)
    report = Report(
        "web1", "shop", "1:abcdef", number, number * 10, 2.0 * number, 1.7e9 + number, 2.0, False, statement.sums,
        statement.pools,
    )  # fmt: skip
    for datagram in encode_report(report, "full"):
        fleet.receive(datagram, 100.0 + number, 1.7e9 + number)
    return fleet.snapshot(100.0 + number, 1.7e9 + number, "shop"), len(statement.failures)


def test_the_console_shows_upper_bounds_and_what_is_unknown() -> None:
    pool = ConnectionPool(pool_size=3, pool_available=1, requests_waiting=5, requests_num=8, requests_errors=2)
    snapshot, _ = told(source_of(pool), Roster(), Fleet(FleetLimits(), 0.0), 1)
    table = fleet_table("program")
    (row,) = snapshot.programs
    cells = {column.heading: column.text(row) for column in table.columns}
    assert (cells["USED/MAX"], cells["WAIT"], cells["IDLE"]) == ("≤2/4", "≤5", "1")
    assert (cells["WAIT99"], cells["HOLD99"]) == ("–", "–")
    (entry,) = pool_entries(snapshot)
    cells = {column.heading: column.text(entry) for column in POOL_TABLE.columns}
    assert (cells["USED/MAX"], cells["WAIT"], cells["PEAK"]) == ("≤2/4", "≤5", "–")
    page = "\n".join(text_of(line) for line in (*pool_header(entry, 100, ()), *pool_page(entry, 100, 24)))
    assert "used ≤2/4" in page
    assert "waiting ≤5 !" in page
    assert "peaks  used – (–)  waiting – (–)  connections – (–)" in page
    for unknown in ("timeouts", "acquire errors", "commits", "rollbacks", "transactions"):
        assert f"{unknown} " + "–" in " ".join(page.split()), unknown
    assert "checkouts 1" in " ".join(page.split())
    assert all(f" {name}  – since start" in page for name in ("wait", "hold", "connect"))
    assert "≤2/4" in text_of(Sheet(POOL_TABLE, [entry], 100).line(0))


def test_a_pool_that_cannot_be_asked_is_told_of_once_and_keeps_its_last_figures() -> None:
    pool = ConnectionPool(pool_size=3, pool_available=1, requests_num=7)
    source, roster, fleet = source_of(pool), Roster(), Fleet(FleetLimits(), 0.0)
    failures = [told(source, roster, fleet, 1)[1]]
    pool.error = RuntimeError("no stats today")
    for number in (2, 3, 4):
        snapshot, failed = told(source, roster, fleet, number)
        failures.append(failed)
    assert failures == [0, 1, 0, 0]
    assert snapshot.programs[0].totals.checkouts == 7
    pool.error = None
    pool.stats["requests_num"] = 9
    snapshot, failed = told(source, roster, fleet, 5)
    assert (snapshot.programs[0].totals.checkouts, failed) == (9, 0)


def test_scripts_are_told_of_upper_bounds_and_of_what_is_unknown() -> None:
    pool = ConnectionPool(
        pool_size=3, pool_available=1, requests_waiting=2, requests_num=8, requests_errors=2, connections_num=3,
        usage_ms=700, requests_wait_ms=80,
    )  # fmt: skip
    told_as_json = as_json(told(source_of(pool), Roster(), Fleet(FleetLimits(), 0.0), 1)[0])
    (row,), ((found,),) = told_as_json["programs"], [process["pools"] for process in told_as_json["processes"]]
    for known in (row, found):
        assert (known["used_connections"], known["waiting_callers"], known["is_upper_bound"]) == (2, 2, True)
        assert (known["checkouts_total"], known["connects_total"], known["connect_errors_total"]) == (4, 3, 0)
        unknown = [
            key
            for key in known
            if key.startswith(("timeouts", "acquire_errors", "commits", "rollbacks", "transactions"))
            or "_seconds_p" in key
            or key.endswith("_seconds_max")
        ]
        assert len(unknown) == 2 * 5 + 3 * 4
        assert {known[key] for key in unknown} == {None}
    assert found["peak_used_connections"] is None


def test_collectd_is_told_nothing_that_is_unknown() -> None:
    pool = ConnectionPool(pool_size=3, pool_available=1, requests_num=8, requests_errors=2, connections_num=3)
    snapshot, _ = told(source_of(pool), Roster(), Fleet(FleetLimits(), 0.0), 1)
    (row,) = snapshot.programs
    values = {
        (values.identifier.type, values.identifier.type_instance): values.values[0]
        for values in value_lists("web1", "shop", row, 1.7e9)
    }
    assert values["count", "checkedout"] == 2
    assert values["derive", "checkouts"] == 6
    assert {kind for kind, _ in values} == {"count", "derive"}, "there are no quantiles, and no sums of times"
    unknown = {"timeouts", "acquireerrors", "commits", "rollbacks", "transactions"}
    assert unknown.isdisjoint(name for _, name in values)
