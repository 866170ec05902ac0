"""Every way a connection of SQLAlchemy begins and ends: what is told against what the driver has open.

Each scenario yields what the application has after each of its steps: connections checked out, and detached ones.
What else the driver has open is idle. Scenarios are the vocabulary's table of events, and their kin.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DisconnectionError, InvalidRequestError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import AssertionPool, NullPool, QueuePool, SingletonThreadPool, StaticPool

from poolhouse.meter.reading import Gauges
from support.sqlalchemy_truth import Measured

Steps = Iterator[tuple[int, int]]
SELECT = text("SELECT 1")


def connect_select_close(m: Measured) -> Steps:
    with m.engine.connect() as connection:
        connection.execute(SELECT)
        yield 1, 0
    yield 0, 0


def connect_and_close(m: Measured) -> Steps:
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def raw_connection_and_close(m: Measured) -> Steps:
    raw = m.engine.raw_connection()
    yield 1, 0
    raw.close()
    yield 0, 0


def begin_block(m: Measured) -> Steps:
    with m.engine.begin() as connection:
        connection.execute(SELECT)
        yield 1, 0
    yield 0, 0


def begin_block_that_raises(m: Measured) -> Steps:
    with suppress(ValueError), m.engine.begin() as connection:
        connection.execute(SELECT)
        yield 1, 0
        raise ValueError
    yield 0, 0


def savepoints(m: Measured) -> Steps:
    with m.engine.begin() as connection:
        with connection.begin_nested():
            connection.execute(SELECT)
        connection.begin_nested().rollback()
        yield 1, 0
    yield 0, 0


def autocommit(m: Measured) -> Steps:
    with m.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(SELECT)
        yield 1, 0
    yield 0, 0


def begin_and_invalidate(m: Measured) -> Steps:
    connection = m.engine.connect()
    connection.begin()
    connection.invalidate()
    yield 0, 0
    connection.close()
    yield 0, 0


def refused_first_connect(m: Measured) -> Steps:
    with m.truth.down(), pytest.raises(OperationalError):
        m.engine.connect()
    yield 0, 0
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def refused_reconnect_of_an_invalidated_record(m: Measured) -> Steps:
    connection = m.engine.connect()
    connection.invalidate()
    connection.close()
    yield 0, 0
    with m.truth.down(), pytest.raises(OperationalError):
        m.engine.connect()
    yield 0, 0
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def invalidate_and_checkout_again(m: Measured) -> Steps:
    connection = m.engine.connect()
    connection.invalidate()
    yield 0, 0
    connection.close()
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def soft_invalidate_return_and_checkout_again(m: Measured) -> Steps:
    raw = m.engine.raw_connection()
    raw.invalidate(soft=True)
    yield 1, 0
    raw.close()
    yield 0, 0
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def recycled_at_checkout(m: Measured) -> Steps:
    m.engine.connect().close()
    m.engine.pool._recycle = 0
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def pre_ping_that_fails_once(m: Measured) -> Steps:
    m.engine.connect().close()
    m.engine.pool._pre_ping = True
    answers = [False, True, True]
    m.engine.dialect.do_ping = lambda connection: answers.pop(0)
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def whole_pool_invalidated(m: Measured) -> Steps:
    both = [m.engine.connect(), m.engine.connect()]
    for connection in both:
        connection.close()
    yield 0, 0
    both = [m.engine.connect()]
    both[0].invalidate(OperationalError("gone", {}, Exception()))
    m.engine.pool._invalidate_time = 2**40
    both[0].close()
    yield 0, 0
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def checkout_listener_that_raises_disconnection_once(m: Measured) -> Steps:
    m.engine.connect().close()
    errors = [DisconnectionError()]
    event.listen(m.engine, "checkout", lambda *args: _raise(errors))
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def checkout_listener_that_always_raises_disconnection(m: Measured) -> Steps:
    event.listen(m.engine, "checkout", lambda *args: _raise([DisconnectionError()]))
    with pytest.raises(InvalidRequestError, match="This connection is closed"):
        m.engine.connect()
    yield 0, 0


def checkout_listener_that_raises(m: Measured) -> Steps:
    event.listen(m.engine, "checkout", lambda *args: _raise([ValueError("x")]))
    with pytest.raises(ValueError):
        m.engine.connect()
    yield 0, 0


def connect_listener_that_raises(m: Measured) -> Steps:
    errors = [ValueError("x")]
    event.listen(m.engine, "connect", lambda *args: _raise(errors))
    with pytest.raises(ValueError):
        m.engine.connect()
    gc.collect()  # 1.4 and 2.0 leave the connection to the collector.
    yield 0, 0
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def checkin_listener_that_raises(m: Measured) -> Steps:
    errors = [ValueError("x")]
    raw = m.engine.raw_connection()
    event.listen(m.engine, "checkin", lambda *args: _raise(errors))
    with pytest.raises(ValueError):
        raw.close()
    yield 0, 0
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def detach_and_close(m: Measured) -> Steps:
    connection = m.engine.connect()
    connection.detach()
    yield 0, 1
    connection.close()
    yield 0, 0


def detach_and_checkout_another(m: Measured) -> Steps:
    connection = m.engine.connect()
    connection.detach()
    with m.engine.connect():
        yield 1, 1
    yield 0, 1
    connection.close()
    yield 0, 0


def detach_invalidate_and_close(m: Measured) -> Steps:
    """Trap 9. Neither the detached connection nor a phantom stays."""
    connection = m.engine.connect()
    connection.detach()
    connection.invalidate()
    connection.close()
    gc.collect()  # SQLAlchemy closes no invalidated detached connection; the collector does.
    yield 0, 0


def detach_and_drop(m: Measured) -> Steps:
    """Trap 5. A detached connection that is collected, not closed."""
    raw = m.engine.raw_connection()
    raw.detach()
    yield 0, 1
    del raw
    gc.collect()
    yield 0, 0


def checked_out_and_dropped(m: Measured) -> Steps:
    raw = m.engine.raw_connection()
    yield 1, 0
    del raw
    gc.collect()
    yield 0, 0


def overflow_returned(m: Measured) -> Steps:
    both = [m.engine.connect() for _ in range(3)]
    yield 3, 0
    for out, connection in enumerate(both, 1):
        connection.close()
        yield 3 - out, 0


def dispose_with_one_idle(m: Measured) -> Steps:
    m.engine.connect().close()
    m.engine.dispose()
    yield 0, 0
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def dispose_with_one_checked_out(m: Measured) -> Steps:
    """Trap 10. One that is returned to the pool that is gone, and collected with it."""
    raw = m.engine.raw_connection()
    m.engine.dispose()
    yield 1, 0
    with m.engine.connect():
        yield 2, 0
    yield 1, 0
    raw.close()
    yield 0, 0
    del raw
    gc.collect()
    yield 0, 0


def dispose_without_closing(m: Measured) -> Steps:
    """Trap 10. Without closing: ``dispose(close=False)``."""
    m.engine.connect().close()
    m.engine.dispose(close=False)
    gc.collect()
    yield 0, 0
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def timeout(m: Measured) -> Steps:
    taken = [m.engine.connect() for _ in range(3)]
    with pytest.raises(PoolTimeoutError):
        m.engine.connect()
    yield 3, 0
    for connection in taken:
        connection.close()
    yield 0, 0


def null_pool(m: Measured) -> Steps:
    with m.engine.connect(), m.engine.connect():
        yield 2, 0
    yield 0, 0


def static_pool_two_users(m: Measured) -> Steps:
    """Trap 1. Trap 21. One connection for both."""
    first, second = m.engine.connect(), m.engine.connect()
    yield 1, 0
    first.close()
    second.close()
    yield 0, 0


def singleton_thread_pool_nested(m: Measured) -> Steps:
    first, second = m.engine.raw_connection(), m.engine.raw_connection()
    yield 1, 0
    second.close()
    yield 1, 0
    first.close()
    yield 0, 0


def assertion_pool_second_checkout(m: Measured) -> Steps:
    with m.engine.connect():
        with pytest.raises(AssertionError):
            m.engine.connect()
        yield 1, 0
    yield 0, 0


def option_engine(m: Measured) -> Steps:
    with m.engine.execution_options(compiled_cache=None).connect():
        yield 1, 0
    yield 0, 0


def option_engine_disposed(m: Measured) -> Steps:
    other = m.engine.execution_options(compiled_cache=None)
    other.connect().close()
    other.dispose()
    yield 0, 0
    with m.engine.connect():
        yield 1, 0
    yield 0, 0


def orm_session(m: Measured) -> Steps:
    with Session(m.engine) as session:
        session.execute(SELECT)
        yield 1, 0
        session.commit()
        yield 0, 0
        session.execute(SELECT)
        yield 1, 0
    yield 0, 0


def no_reset_on_return(m: Measured) -> Steps:
    m.engine.pool._reset_on_return = None
    yield from connect_select_close(m)


def failing_reset(m: Measured) -> Steps:
    raw = m.engine.raw_connection()
    dbapi = raw.dbapi_connection
    dbapi.close()
    yield 1, 0  # Closed behind SQLAlchemy's back: it is shown until SQLAlchemy notices.
    raw.close()
    yield 0, 0


def _raise(errors: list[Exception]) -> None:
    if errors:
        raise errors.pop(0)


QUEUE = {"poolclass": QueuePool, "pool_size": 2, "max_overflow": 1, "pool_timeout": 0.01}
SCENARIOS: list[tuple[Callable[[Measured], Steps], dict[str, object]]] = [
    *(
        (scenario, QUEUE)
        for scenario in (
            connect_select_close,
            connect_and_close,
            raw_connection_and_close,
            begin_block,
            begin_block_that_raises,
            savepoints,
            autocommit,
            begin_and_invalidate,
            refused_first_connect,
            refused_reconnect_of_an_invalidated_record,
            invalidate_and_checkout_again,
            soft_invalidate_return_and_checkout_again,
            recycled_at_checkout,
            pre_ping_that_fails_once,
            whole_pool_invalidated,
            checkout_listener_that_raises_disconnection_once,
            checkout_listener_that_always_raises_disconnection,
            checkout_listener_that_raises,
            connect_listener_that_raises,
            checkin_listener_that_raises,
            detach_and_close,
            detach_and_checkout_another,
            detach_invalidate_and_close,
            detach_and_drop,
            checked_out_and_dropped,
            overflow_returned,
            dispose_with_one_idle,
            dispose_with_one_checked_out,
            dispose_without_closing,
            timeout,
            option_engine,
            option_engine_disposed,
            orm_session,
            no_reset_on_return,
        )
    ),
    (null_pool, {"poolclass": NullPool}),
    (connect_listener_that_raises, {"poolclass": NullPool}),
    (checkout_listener_that_raises_disconnection_once, {"poolclass": NullPool}),
    (detach_and_close, {"poolclass": NullPool}),
    (static_pool_two_users, {"poolclass": StaticPool}),
    (begin_and_invalidate, {"poolclass": StaticPool}),
    (dispose_with_one_idle, {"poolclass": StaticPool}),
    (connect_select_close, {"poolclass": SingletonThreadPool}),
    (singleton_thread_pool_nested, {"poolclass": SingletonThreadPool}),
    (dispose_with_one_idle, {"poolclass": SingletonThreadPool}),
    (begin_and_invalidate, {"poolclass": SingletonThreadPool}),
    (connect_select_close, {"poolclass": AssertionPool}),
    (assertion_pool_second_checkout, {"poolclass": AssertionPool}),
    (invalidate_and_checkout_again, {"poolclass": AssertionPool}),
    (dispose_with_one_idle, {"poolclass": AssertionPool}),
]


def _name(value: object) -> str:
    return value.__name__ if callable(value) else value["poolclass"].__name__  # type: ignore[index]


@pytest.mark.parametrize(("scenario", "options"), SCENARIOS, ids=_name)
def test_gauges_are_what_the_driver_has_open(scenario: Callable[[Measured], Steps], options: dict[str, object]):
    m = Measured(**options)
    connections = 0
    for used, detached in scenario(m):
        reading = m.read()
        assert reading.gauges == Gauges(m.truth.open - used - detached, used, detached, 0)
        assert reading.counters.connects == m.truth.opened
        assert reading.counters.disconnects == m.truth.ended
        connections = max(connections, m.truth.open)
        assert reading.peak.connections >= connections
    assert m.truth.opened > 0


def test_a_connection_closed_behind_the_pool_is_shown_until_the_pool_notices():
    m = Measured(**QUEUE)
    for (used, detached), idle in zip(failing_reset(m), (0, 0), strict=True):
        assert m.read().gauges == Gauges(idle, used, detached, 0)
