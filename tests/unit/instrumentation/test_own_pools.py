"""Our own pools as sources of reports, without threads: real cores, real meters, time as a number."""

import gc
import weakref
from types import CodeType
from typing import Any

import pytest

from poolhouse.errors import SettingError
from poolhouse.instrumentation import pools, watch
from poolhouse.meter.meter import BATCH, Meter
from poolhouse.meter.reading import Gauges, Limits
from poolhouse.pool import registry
from poolhouse.pool.core import BROKEN, IDLE, PoolCore, Waiter
from poolhouse.pool.jobs import Connect, Lane
from poolhouse.pool.options import PoolOptions
from poolhouse.report import reporter

HERE: CodeType = compile("pass", "app.py", "exec")


class Stream:
    """Where sources are told, instead of a thread that reports."""

    def __init__(self) -> None:
        self.sources: list[Any] = []

    def add(self, source: Any) -> None:
        self.sources.append(source)


NS = 1e-9


class Pool:
    """What a pool's shell has for reports. Its times are in nanoseconds, so that sums are round."""

    def __init__(self, name: str = "pool-1", **options: Any) -> None:
        self.name, self.conninfo, self.kwargs = name, "host=db1 dbname=shop password=s3cr3t", None
        self.meter = Meter()
        self._core = PoolCore(PoolOptions(**options), self.meter, lambda: 0.0)
        self._core.open(0)

    def connect(self, now: int = 0, took: int = 1_000) -> None:
        """Do every connect that the core wants."""
        while isinstance(job := self._core.next_job(Lane.CONNECT, now * NS), Connect):
            self._core.connected(job.slot, object(), took * NS, now * NS)

    def take(self, now: int = 1) -> Any:
        lease = self._core.take(now * NS, HERE, 0, False)
        return lease and lease[0].conn

    def give(self, conn: Any, now: int, status: int = IDLE) -> None:
        self._core.put(conn, status, now * NS)

    def wait(self, now: int) -> Waiter:
        waiter = Waiter(lambda: None, HERE, 0, None, now * NS)
        self._core.request(waiter, now * NS)
        return waiter


@pytest.fixture(autouse=True)
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """A process that has opened no pool yet and configured nothing, and what is reported in it."""
    for name in ("_opened", "_observers", "_first"):
        monkeypatch.setattr(registry, name, getattr(registry, name).copy())
    registry._opened.clear()
    registry._observers.clear()
    registry._first.clear()
    registry._first.append(registry.REPORT_VARIABLE)
    monkeypatch.delenv(registry.REPORT_VARIABLE, raising=False)
    monkeypatch.setattr(pools, "_sources", weakref.WeakKeyDictionary())
    made = Stream()
    monkeypatch.setattr(reporter, "stream", lambda destination: made)
    monkeypatch.setattr(reporter, "_reporters", {})
    return made


def source_of(pool: Pool) -> pools.PoolSource:
    return pools.PoolSource(pool, Stream())  # type: ignore[arg-type]


def test_a_reading_is_what_the_core_and_the_meter_know() -> None:
    pool = Pool(min_size=2, max_size=3)
    pool.connect()
    first, second = pool.take(10), pool.take(20)
    waiter = pool.wait(30)
    reading = source_of(pool).read(1)
    assert (reading.name, reading.kind) == ("db1/shop", "Pool")
    assert reading.limits == Limits(max_open=3, max_idle=3, min_idle=2)
    assert reading.gauges == Gauges(idle=0, used=2, waiting=1)
    assert (reading.marks[0].used, reading.marks[0].waiting, reading.marks[0].connections) == (2, 1, 2)
    pool.give(first, 1_010)
    pool._core.accept(waiter, 1_030 * NS)
    pool.give(second, 3_020, BROKEN)
    reading = source_of(pool).read(2)
    assert reading.gauges == Gauges(idle=0, used=1)
    counters = reading.counters
    assert (counters.checkouts, counters.connects, counters.disconnects, counters.invalidated) == (3, 2, 1, 1)
    assert reading.wait is not None
    assert reading.use is not None
    assert reading.create is not None
    assert (reading.wait.count, reading.wait.sum_ns) == (3, 1_000)
    assert (reading.use.count, reading.use.sum_ns) == (2, 4_000)
    assert (reading.create.count, reading.create.sum_ns) == (2, 2_000)
    assert not reading.is_bound


def test_failures_are_counted_each_under_its_name() -> None:
    pool = Pool(min_size=1, max_size=1, max_waiting=1)
    job = pool._core.next_job(Lane.CONNECT, 0)
    assert isinstance(job, Connect)
    pool._core.connect_failed(job.slot, OSError("no route"), 5)
    waiter = pool.wait(10)
    refused = pool.wait(11)
    pool._core.time_out(waiter, 30.0)
    assert refused.refusal is not None
    counters = source_of(pool).read(1).counters
    assert (counters.timeouts, counters.acquire_errors, counters.connect_errors) == (1, 1, 1)
    assert (counters.checkouts, counters.connects, counters.disconnects) == (0, 0, 0)


def test_transactions_are_unknown_since_the_application_ends_them_itself() -> None:
    counters = source_of(Pool()).read(1).counters
    assert (counters.commits, counters.rollbacks, counters.transactions) == (None, None, None)


def test_no_limit_is_none() -> None:
    limited = Pool(min_size=0, max_size=5, max_kept=0, connect_in_caller=True)
    assert source_of(limited).read(1).limits == Limits(max_open=5, max_idle=0, min_idle=0)
    unlimited = Pool(min_size=0, max_size=0, max_kept=0, connect_in_caller=True)
    assert source_of(unlimited).read(1).limits == Limits(max_open=None, max_idle=0, min_idle=0)


def test_a_closed_pool_is_gone_when_its_last_connection_is_back() -> None:
    pool = Pool(min_size=2, max_size=2)
    pool.connect()
    source, held = source_of(pool), pool.take()
    pool._core.close(50)
    assert not source.is_gone()
    assert source.read(1).gauges == Gauges(idle=0, used=1)
    pool.give(held, 60)
    assert source.is_gone()
    assert source.read(2).counters.disconnects == 2


def test_a_report_keeps_no_pool_alive_and_its_counts_stay() -> None:
    pool = Pool(min_size=1, max_size=1)
    pool.connect()
    pool.give(pool.take(10), 20)
    source = source_of(pool)
    assert not source.is_gone()
    del pool
    gc.collect()
    assert source.is_gone()
    reading = source.read(1)
    assert (reading.gauges, reading.counters.checkouts, reading.counters.disconnects) == (Gauges(), 1, 1)


def test_nothing_is_reported_as_long_as_nothing_is_configured(stream: Stream) -> None:
    registry.opened(Pool())
    assert stream.sources == []


def test_report_to_takes_older_and_later_pools_each_once(stream: Stream) -> None:
    older = Pool("older")
    registry.opened(older)
    pools.report_to("collectd://db1/?program_name=shop")
    later = Pool("later")
    registry.opened(later)
    registry.opened(later)  # as in a child that uses it again
    pools.report_to("collectd://db2/")
    assert {source.read(1).name for source in stream.sources} == {"older", "later"}
    assert len(set(map(id, stream.sources))) == 2


def test_a_wrong_url_is_told_at_once_and_changes_nothing(stream: Stream) -> None:
    registry.opened(Pool())
    with pytest.raises(SettingError, match="port"):
        pools.report_to("collectd://db1:http/")
    assert stream.sources == []


def test_the_environment_has_pools_reported_from_the_first_one_on(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLHOUSE_REPORT", "collectd://db1/")
    kept = [Pool("first"), Pool("second")]
    for pool in kept:
        registry.opened(pool)
    assert [source.read(1).name for source in stream.sources] == ["first", "second"]


def test_a_wrong_environment_is_logged_once_and_the_pools_work(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("POOLHOUSE_REPORT", "collectd://db1/?intervall=5")
    for _ in range(3):
        registry.opened(Pool())
    (record,) = caplog.records
    assert "POOLHOUSE_REPORT" in record.getMessage()
    assert "intervall" in record.getMessage()
    assert stream.sources == []


def test_an_observer_that_fails_does_not_fail_the_pool(caplog: pytest.LogCaptureFixture) -> None:
    def fail(pool: Any) -> None:
        raise RuntimeError("no memory")

    registry.observe(fail)
    registry.opened(Pool("orders"))
    (record,) = caplog.records
    assert "'orders'" in record.getMessage()


def test_the_pool_of_a_measured_engine_is_not_told_twice(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    engines, other = Pool("engine's"), Pool("other")
    monkeypatch.setattr(watch, "_watches", {engines: None})
    pools.report_to("collectd://db1/")
    registry.opened(engines)
    registry.opened(other)
    assert [source.read(1).name for source in stream.sources] == ["other"]


def test_what_is_handed_over_ends_with_what_it_had_done(stream: Stream) -> None:
    pools.report_to("collectd://db1/")
    pool = Pool(min_size=1, max_size=1)
    pool.connect()
    registry.opened(pool)
    (source,) = stream.sources
    pool.give(pool.take(10), 20)
    source.read(1)
    pool.give(pool.take(30), 40)
    pools.hand_over(pool)
    pool.give(pool.take(50), 60)
    assert source.is_gone()
    reading = source.read(2)
    assert (reading.counters.checkouts, reading.use.count, reading.counters.connects) == (2, 2, 1)
    assert reading.counters.commits is None


def test_what_is_handed_over_before_it_was_reported_has_done_what_it_had_done(stream: Stream) -> None:
    pools.report_to("collectd://db1/")
    pool = Pool(min_size=1, max_size=1)
    pool.connect()
    registry.opened(pool)
    pool.give(pool.take(10), 20)
    pools.hand_over(pool)
    pool.give(pool.take(30), 40)
    (source,) = stream.sources
    reading = source.read(1)
    assert (reading.counters.checkouts, reading.counters.commits, reading.gauges) == (1, None, Gauges())


@pytest.mark.parametrize("what", ["timeouts", "connects", "uses"])
def test_a_meter_that_nobody_reads_stays_small(what: str) -> None:
    pool = Pool(min_size=1, max_size=1, max_idle=1.0)
    if what == "timeouts":
        for now in range(5 * BATCH):
            pool._core.time_out(pool.wait(now), (now + 1) * NS)
    elif what == "connects":
        for now in range(5 * BATCH):
            pool.connect(now)
            pool._core.drain(now * NS)
    else:
        pool.connect()
        for now in range(10, 10 + 5 * BATCH):
            pool.give(pool.take(now), now + 1)
            pool._core.tick(now / 100)
    kept = [pool.meter.waits, pool.meter.uses, pool.meter.creates, pool.meter.timeouts]
    assert max(map(len, kept)) <= BATCH
    assert len(pool.meter.used._reached) + len(pool.meter.waiting._reached) < BATCH
    folded = pool.meter.totals()
    expected = {"timeouts": folded.timeouts, "connects": folded.connects, "uses": folded.use.count}[what]
    assert expected == 5 * BATCH
