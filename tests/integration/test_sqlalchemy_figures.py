"""Counters, times and marks of a SQLAlchemy pool against what the application truly did."""

import gc
import threading
import time

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AssertionPool, NullPool, QueuePool, SingletonThreadPool, StaticPool

from poolhouse.instrumentation.watch import PoolWatch, watch
from poolhouse.meter.meter import BATCH
from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from support.sqlalchemy_truth import FakeStream, Measured
from support.waiting import wait_until

SELECT = text("SELECT 1")
QUEUE = {"poolclass": QueuePool, "pool_size": 2, "max_overflow": 1, "pool_timeout": 0.01}


class Clock:
    """Stands for the module ``time`` in what is measured."""

    def __init__(self) -> None:
        self.now = 1.0

    def monotonic(self) -> float:
        return self.now

    @staticmethod
    def time() -> float:
        return 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("poolhouse.instrumentation.watch.monotonic", clock.monotonic)
    monkeypatch.setattr("poolhouse.instrumentation.checkout.monotonic", clock.monotonic)
    monkeypatch.setattr("sqlalchemy.pool.base.time", clock)
    return clock


def counters(reading: PoolReading, *names: str) -> dict[str, int | None]:
    return {name: getattr(reading.counters, name) for name in names}


def waiting(m: Measured) -> int:
    return m.read().gauges.waiting


def test_transactions_are_counted_as_they_begin_and_end():
    m = Measured(**QUEUE)
    with m.engine.begin() as connection:
        connection.execute(SELECT)
    with m.engine.connect() as connection:
        connection.begin()
        connection.begin_nested().rollback()
        connection.get_transaction().rollback()
        connection.begin().commit()
    assert counters(m.read(), "transactions", "commits", "rollbacks") == {
        "transactions": 3,
        "commits": 2,
        "rollbacks": 1,
    }


def test_two_phase_transactions_are_transactions(monkeypatch: pytest.MonkeyPatch):
    for verb in ("begin", "prepare", "commit", "rollback"):
        monkeypatch.setattr(SQLiteDialect, f"do_{verb}_twophase", lambda *args: None, raising=False)
    m = Measured(**QUEUE)
    with m.engine.connect() as connection:
        transaction = connection.begin_twophase()
        transaction.prepare()
        transaction.commit()
        connection.begin_twophase().rollback()
    assert counters(m.read(), "transactions", "commits", "rollbacks") == {
        "transactions": 2,
        "commits": 1,
        "rollbacks": 1,
    }


def test_an_option_engine_counts_with_the_engine_it_comes_from():
    m = Measured(**QUEUE)
    with m.engine.execution_options(compiled_cache=None).begin() as connection:
        connection.execute(SELECT)
    assert counters(m.read(), "checkouts", "transactions", "commits") == {
        "checkouts": 1,
        "transactions": 1,
        "commits": 1,
    }


def test_invalidations_of_both_kinds_are_counted_and_implicit_ones_are_not():
    m = Measured(**QUEUE)
    for soft in (True, False):
        raw = m.engine.raw_connection()
        raw.invalidate(soft=soft)
        raw.close()
    m.engine.connect().close()
    m.engine.pool._invalidate_time = 2**40
    m.engine.connect().close()
    assert m.read().counters.invalidated == 2


def test_a_timeout_is_counted_and_its_wait_is_among_the_waits():
    m = Measured(**QUEUE)
    taken = [m.engine.connect() for _ in range(3)]
    for _ in range(2):
        with pytest.raises(PoolTimeoutError):
            m.engine.connect()
    reading = m.read()
    assert reading.counters == Counters(checkouts=3, connects=3, timeouts=2)
    assert reading.wait is not None
    assert reading.wait.count == 5
    assert reading.wait.sum_ns > 2 * 10_000_000
    assert reading.marks[0].waiting == 1
    for connection in taken:
        connection.close()


def test_refused_connects_are_errors_of_connect_and_of_acquire():
    m = Measured(**QUEUE)
    with m.truth.down():
        for _ in range(3):
            with pytest.raises(OperationalError):
                m.engine.connect()
    assert m.read().counters == Counters(connect_errors=3, acquire_errors=3)


def test_refused_connects_of_an_application_that_connects_itself_are_counted():
    def creator() -> None:
        raise OSError("refused")

    engine = create_engine("sqlite://", creator=creator)
    stream = FakeStream()
    watch(engine, stream)
    with pytest.raises(OSError, match="refused"):
        engine.connect()
    reading = stream.sources[0].read(1)
    assert reading.counters == Counters(connect_errors=1, acquire_errors=1)


def test_errors_after_the_connect_are_errors_of_acquire_only():
    m = Measured(**QUEUE)
    m.engine.connect().close()

    def refuse(*args: object) -> None:
        raise ValueError

    event.listen(m.engine, "checkout", refuse)
    with pytest.raises(ValueError):
        m.engine.connect()
    assert m.read().counters == Counters(
        checkouts=1, connects=1, disconnects=1, invalidated=1, acquire_errors=1, rollbacks=0
    )


def test_one_acquire_that_needs_two_attempts_is_one_checkout():
    """The event ``checkout`` comes twice."""
    m = Measured(**QUEUE)
    m.engine.connect().close()
    errors = [DisconnectionError()]
    event.listen(m.engine, "checkout", lambda *args: errors and _raise(errors.pop()))
    m.engine.connect().close()
    assert counters(m.read(), "checkouts", "connects", "disconnects") == {
        "checkouts": 2,
        "connects": 2,
        "disconnects": 1,
    }


def _raise(error: Exception) -> None:
    raise error


def test_waits_and_uses_last_from_call_to_return(clock: Clock):
    m = Measured(**QUEUE)
    event.listen(m.engine, "checkout", lambda *args: setattr(clock, "now", clock.now + 0.007))
    raw = m.engine.raw_connection()
    clock.now += 0.030
    raw.close()
    reading = m.read()
    assert reading.wait is not None
    assert reading.use is not None
    assert (reading.wait.sum_ns, reading.wait.count) == (7_000_000, 1)
    assert (reading.use.sum_ns, reading.use.count) == (30_000_000, 1)


def test_a_connect_takes_from_the_attempt_to_the_connection(clock: Clock):
    m = Measured(**QUEUE)
    event.listen(m.engine, "do_connect", lambda *args: setattr(clock, "now", clock.now + 0.050))
    m.engine.connect().close()
    reading = m.read()
    assert reading.create is not None
    assert reading.create.sum_ns == pytest.approx(50_000_000, abs=1_000)
    assert reading.create.count == 1


def test_a_wall_clock_that_is_set_during_a_connect_changes_no_time(monkeypatch: pytest.MonkeyPatch):
    m = Measured(**QUEUE)
    wall = time.time()

    def set_forward(*args: object) -> None:
        monkeypatch.setattr("time.time", lambda: wall + 86_400)

    event.listen(m.engine, "do_connect", set_forward)
    m.engine.connect().close()
    monkeypatch.undo()
    reading = m.read()
    assert reading.create is not None
    assert reading.create.count == 1
    assert reading.create.max_ns < 60 * 10**9


def test_a_creator_that_an_application_exchanges_costs_the_time_of_a_connect_and_not_its_count():
    m = Measured(**QUEUE)
    creator = m.engine.pool._creator
    m.engine.pool._creator = lambda record: creator(record)
    m.engine.connect().close()
    assert counters(m.read(), "connects", "disconnects") == {"connects": 1, "disconnects": 0}


def test_a_use_ends_with_detach(clock: Clock):
    m = Measured(**QUEUE)
    raw = m.engine.raw_connection()
    clock.now += 0.005
    raw.detach()
    clock.now += 1.0
    raw.close()
    reading = m.read()
    assert reading.use is not None
    assert (reading.use.sum_ns, reading.use.count) == (5_000_000, 1)


def test_a_nested_checkout_of_a_thread_is_one_use(clock: Clock):
    m = Measured(poolclass=SingletonThreadPool)
    outer = m.engine.raw_connection()
    clock.now += 0.002
    inner = m.engine.raw_connection()
    clock.now += 0.003
    inner.close()
    outer.close()
    reading = m.read()
    assert reading.use is not None
    assert (reading.counters.checkouts, reading.use.count, reading.use.sum_ns) == (2, 1, 5_000_000)


def test_an_invalidated_connection_was_used_until_then(clock: Clock):
    m = Measured(**QUEUE)
    raw = m.engine.raw_connection()
    clock.now += 0.004
    raw.invalidate()
    reading = m.read()
    assert reading.use is not None
    assert (reading.use.count, reading.use.sum_ns) == (1, 4_000_000)


def test_a_failed_acquire_is_no_use():
    m = Measured(**QUEUE)
    connection = m.engine.connect()
    connection.invalidate()
    connection.close()
    assert m.read().use.count == 1
    with m.truth.down(), pytest.raises(OperationalError):
        m.engine.connect()
    assert m.read().use.count == 1


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool, StaticPool, SingletonThreadPool, AssertionPool])
def test_many_checkouts_are_folded_and_none_is_lost(poolclass: type):
    m = Measured(poolclass=poolclass)
    for _ in range(BATCH + 10):
        m.engine.raw_connection().close()
    (source,) = m.stream.sources
    assert isinstance(source, PoolWatch)
    assert len(source.meter.waits) < BATCH
    reading = m.read()
    assert reading.counters.checkouts == reading.wait.count == reading.use.count == BATCH + 10
    assert reading.kind == poolclass.__name__


def test_marks_are_the_most_at_once():
    m = Measured(**QUEUE)
    taken = [m.engine.connect() for _ in range(3)]
    for connection in taken:
        connection.close()
    reading = m.read()
    assert (reading.marks[0].used, reading.marks[0].connections) == (3, 3)
    later = m.read()
    assert (later.marks[0].used, later.marks[0].connections) == (0, 2)
    assert (later.peak.used, later.peak.connections) == (3, 3)


def test_callers_are_seen_waiting_and_their_mark_is_exact():
    m = Measured(poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=30)
    held = m.engine.connect()
    threads = [threading.Thread(target=lambda: m.engine.connect().close()) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: waiting(m) == 4)
    assert m.read().gauges == Gauges(used=1, waiting=4)
    held.close()
    for thread in threads:
        thread.join()
    reading = m.read()
    assert reading.gauges == Gauges(idle=1)
    assert (reading.peak.waiting, reading.peak.used, reading.counters.checkouts) == (4, 1, 5)


def test_figures_of_many_threads_are_exact():
    m = Measured(poolclass=QueuePool, pool_size=2, max_overflow=2, pool_timeout=30)
    each, threads = 300, 8

    def work() -> None:
        for turn in range(each):
            with m.engine.begin() as connection:
                connection.execute(SELECT)
                if turn % 100 == 7:
                    connection.invalidate()
                    connection.get_transaction().rollback()

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    reading = m.read()
    assert reading.counters == Counters(
        checkouts=each * threads,
        connects=m.truth.opened,
        disconnects=m.truth.ended,
        invalidated=3 * threads,
        commits=(each - 3) * threads,
        rollbacks=0,  # What was lost with its connection is not rolled back by anybody here.
        transactions=each * threads,
    )
    assert reading.gauges == Gauges(idle=m.truth.open)
    assert reading.peak.used <= 4
    assert reading.use.count == each * threads


def test_figures_are_exact_while_an_engine_is_disposed_again_and_again(busy_switching: None):
    m = Measured(poolclass=QueuePool, pool_size=2, max_overflow=2)
    over = threading.Event()
    done: list[int] = []

    def use() -> None:
        checkouts = 0
        while not over.is_set():
            m.engine.raw_connection().close()
            checkouts += 1
        done.append(checkouts)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    m.engine.connect().close()
    for close in [True, False] * 250:
        m.engine.dispose(close=close)
    over.set()
    for thread in threads:
        thread.join()
    gc.collect()
    reading = m.read()
    assert reading.use is not None
    assert (reading.counters.checkouts, reading.use.count) == (sum(done) + 1, sum(done) + 1)
    assert (reading.counters.connects, reading.gauges.connections) == (m.truth.opened, m.truth.open)


def test_engines_that_share_a_pool_are_one_pool():
    m = Measured(**QUEUE)
    other = create_engine("sqlite://", pool=m.engine.pool)
    watch(other, m.stream)
    with m.engine.begin(), other.begin():
        assert m.read().gauges == Gauges(used=2)
    reading = m.read()
    assert len(m.stream.sources) == 1
    assert (reading.counters.checkouts, reading.counters.commits) == (2, 2)
    assert reading.limits == Limits(3, 2, 0)


def test_a_shared_pool_that_one_engine_disposed_is_measured_with_its_successor():
    m = Measured(**QUEUE)
    other = create_engine("sqlite://", pool=m.engine.pool)
    watch(other, m.stream)
    m.engine.connect().close()
    m.engine.dispose()
    with m.engine.connect(), other.connect():
        reading = m.read()
    assert reading.gauges == Gauges(used=2)
    assert reading.limits == Limits(6, 4, 0)
    assert len(m.stream.sources) == 1


def test_a_pool_counts_from_its_first_use_until_its_engine_is_collected():
    """Trap 6. Engines dropped without dispose."""
    m = Measured(**QUEUE)
    assert m.stream.sources == []
    m.engine.connect().close()
    (source,) = m.stream.sources
    assert not source.is_gone()
    m.engine.dispose()
    assert not source.is_gone()
    m.engine.connect().close()
    del m.engine
    gc.collect()
    assert source.is_gone()
    reading = source.read(1)
    assert reading.gauges == Gauges()
    assert reading.counters.disconnects == m.truth.ended == m.truth.opened == 2


def test_a_pool_that_cannot_connect_is_reported_too():
    m = Measured(**QUEUE)
    with m.truth.down(), pytest.raises(OperationalError):
        m.engine.connect()
    assert len(m.stream.sources) == 1


def test_a_pool_that_holds_connections_already_is_measured_from_there():
    """Trap 3. Idle, checked out and returned ones are looked at."""
    m = Measured(**QUEUE)
    first, second = m.engine.raw_connection(), m.engine.raw_connection()
    first.close()
    stream = FakeStream()
    late = PoolWatch("late", "QueuePool", stream)
    engine = create_engine("sqlite://", pool=m.engine.pool)
    late.listen_to_engine(engine)
    late.listen_to_pool(engine.pool)
    assert stream.sources == [late]
    assert late.read(1).gauges == Gauges(idle=1)
    second.close()
    assert late.read(2).gauges == Gauges(idle=2)
    with engine.connect():
        reading = late.read(3)
    assert reading.gauges == Gauges(idle=1, used=1)
    assert reading.counters == Counters(checkouts=1)
    engine.dispose()
    assert late.read(4).counters == Counters(checkouts=1, disconnects=2)


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool, StaticPool, SingletonThreadPool, AssertionPool])
def test_pools_of_every_class_may_hold_connections_already(poolclass: type):
    truth = Measured(poolclass=poolclass)
    truth.engine.connect().close()
    stream = FakeStream()
    late = PoolWatch("late", poolclass.__name__, stream)
    late.listen_to_engine(truth.engine)
    late.listen_to_pool(truth.engine.pool)
    assert late.read(1).gauges == Gauges(idle=truth.truth.open)
    with truth.engine.connect():
        assert late.read(2).gauges == Gauges(used=1)


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({"poolclass": QueuePool}, Limits(15, 5, 0)),
        ({"poolclass": QueuePool, "pool_size": 3, "max_overflow": -1}, Limits(None, 3, 0)),
        ({"poolclass": QueuePool, "pool_size": 0}, Limits(None, None, 0)),
        ({"poolclass": NullPool}, Limits(None, None, 0)),
        ({"poolclass": StaticPool}, Limits(None, None, 0)),
        ({"poolclass": SingletonThreadPool}, Limits(None, None, 0)),
        ({"poolclass": AssertionPool}, Limits(None, None, 0)),
    ],
)
def test_limits_are_the_pools_own(options: dict[str, object], limits: Limits):
    m = Measured(**options)
    m.engine.connect().close()
    assert m.read().limits == limits


def test_a_reused_id_misfiles_nothing():
    """Trap 8. Records and connections come and go at the same addresses."""
    m = Measured(poolclass=NullPool)
    with m.engine.connect():
        for _ in range(200):
            m.engine.connect().close()
            raw = m.engine.raw_connection()
            raw.detach()
            raw.close()
            assert m.read().gauges == Gauges(used=1)


def test_nothing_measured_keeps_an_engine_or_a_connection_alive():
    m = Measured(**QUEUE)
    raw = m.engine.raw_connection()
    detached = m.engine.raw_connection()
    detached.detach()
    m.read()
    del m.engine, raw, detached
    gc.collect()
    assert m.truth.open == 0
    assert m.stream.sources[0].is_gone()


def test_a_lease_whose_end_was_hidden_is_forgotten_after_two_readings():
    m = Measured(**QUEUE)
    m.engine.connect().close()
    errors = [ValueError()]
    raw = m.engine.raw_connection()
    event.listen(m.engine, "checkin", lambda *args: errors and _raise(errors.pop()))
    with pytest.raises(ValueError):
        raw.close()
    del raw
    (source,) = m.stream.sources
    assert isinstance(source, PoolWatch)
    m.read()
    m.read()
    assert not source._leases
    assert m.read().marks[0].used == 0
