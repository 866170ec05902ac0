"""Whatever breaks in the measuring, the application does not notice."""

import gc
import logging
from collections import deque
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from poolhouse.instrumentation import guard
from poolhouse.instrumentation.watch import PoolWatch
from poolhouse.meter.reading import Gauges
from support.sqlalchemy_truth import FakeStream, Measured

QUEUE = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 0.01}


class Broken:
    """Every use of it fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("broken")

    def __call__(self, *args: Any) -> Any:
        raise RuntimeError("broken")

    def __len__(self) -> int:
        raise RuntimeError("broken")


@pytest.fixture(autouse=True)
def nothing_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_logged", set())


def use_everything(m: Measured) -> None:
    """What an application does, the errors it expects included."""
    with m.engine.begin() as connection:
        connection.execute(text("SELECT 1"))
        with pytest.raises(PoolTimeoutError):
            m.engine.connect()
    raw = m.engine.raw_connection()
    raw.invalidate()
    raw.close()
    with m.truth.down(), pytest.raises(OperationalError):
        m.engine.connect()
    raw = m.engine.raw_connection()
    raw.detach()
    raw.close()
    m.engine.dispose()
    m.engine.connect().close()


def logged_by_us(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "poolhouse.instrumentation"]


ATTRIBUTES = ["_meter", "_records", "_leases", "_lent", "_inherited", "_waiting", "_stream"]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_broken_part_costs_the_application_nothing(attribute: str, caplog: pytest.LogCaptureFixture):
    """Trap 18."""
    m = Measured(**QUEUE)
    m.engine.connect().close()
    (source,) = m.stream.sources
    setattr(source, attribute, Broken())
    source._is_settled = source._is_reported = False  # type: ignore[attr-defined]
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            use_everything(m)
    assert m.truth.open == 1
    kinds = logged_by_us(caplog)
    assert kinds
    assert len(set(kinds)) == len(kinds), "each kind is logged once"


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("_settle", "checkout"),
        ("_returned_without_lease", "checkin"),
    ],
)
def test_a_broken_step_of_the_hot_path_is_logged_once_and_the_connection_served(
    step: str, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(PoolWatch, step, Broken())
    m = Measured(**QUEUE)
    for _ in range(5):
        use_everything(m)
    assert [kind in message for message in logged_by_us(caplog)] == [True]
    assert m.truth.open == 1


def test_errors_of_the_application_itself_are_passed_on_unchanged():
    m = Measured(**QUEUE)
    error = ValueError("mine")

    def refuse(*args: object) -> None:
        raise error

    event.listen(m.engine, "checkout", refuse)
    with pytest.raises(ValueError, match="mine") as caught:
        m.engine.connect()
    assert caught.value is error
    assert error.__context__ is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_caller_is_interrupted_and_waits_no_more(kind: type[BaseException]):
    m = Measured(**QUEUE)

    def interrupt(*args: object) -> None:
        raise kind

    event.listen(m.engine, "checkout", interrupt)
    with pytest.raises(kind):
        m.engine.raw_connection()
    gc.collect()
    reading = m.read()
    assert reading.gauges.waiting == 0
    assert reading.counters.acquire_errors == 1


def test_an_interrupt_that_comes_before_anything_is_asked_for_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
):
    class Interrupted(deque[None]):
        """As a signal does whose handler runs right after the append."""

        is_time = False

        def append(self, item: None) -> None:
            super().append(item)
            if self.is_time:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("poolhouse.instrumentation.watch.deque", Interrupted)
        m = Measured(**QUEUE)
    m.engine.connect().close()
    monkeypatch.setattr(Interrupted, "is_time", True)
    with pytest.raises(KeyboardInterrupt):
        m.engine.connect()
    assert m.read().gauges.waiting == 0


def test_a_pool_says_in_the_log_which_one_it_is():
    source = PoolWatch("db.example:5432/shop", "QueuePool", FakeStream())
    assert repr(source) == "<PoolWatch QueuePool 'db.example:5432/shop'>"


def test_a_connection_that_a_listener_refused_is_not_counted_for_ever():
    """Trap 7. It was open for a moment, and it ended."""
    m = Measured(**QUEUE)

    def refuse(*args: object) -> None:
        raise ValueError

    event.listen(m.engine, "connect", refuse)
    for _ in range(3):
        with pytest.raises(ValueError):
            m.engine.connect()
    gc.collect()
    reading = m.read()
    assert reading.gauges == Gauges(idle=m.truth.open) == Gauges()
    assert (reading.counters.connects, reading.counters.disconnects) == (3, 3)
