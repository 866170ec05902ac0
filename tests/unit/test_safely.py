"""What the one place that logs lets through, and what not."""

import inspect
import logging
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from poolhouse.safely import ERROR, WARNING, Log


class Handler(logging.Handler):
    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def handler() -> Iterator[Handler]:
    logger, handler = logging.getLogger("safely"), Handler()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


LOG = Log("safely")


def test_an_exception_of_a_handler_ends_there(handler: Handler) -> None:
    for error in (ValueError(), MemoryError(), RecursionError()):
        handler.error = error
        LOG.warning("x")
        LOG.call(int, "no number")


def test_what_orders_the_caller_to_stop_passes_except_where_nobody_is_left_to_stop(handler: Handler) -> None:
    handler.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        LOG.error("x")
    with pytest.raises(SystemExit):
        LOG.call(exit)
    LOG.last_word("x", error=ValueError())


def test_a_call_that_fails_is_logged_with_its_traceback_and_the_line_that_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    frame = inspect.currentframe()
    assert frame is not None
    LOG.call(int, "no number", failed="the function %r failed")
    line = frame.f_lineno - 1
    (record,) = caplog.records
    assert record.getMessage() == "the function <class 'int'> failed"
    assert (record.levelno, record.filename, record.lineno) == (ERROR, "test_safely.py", line)
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


def test_a_record_names_the_line_that_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for log in (LOG.debug, LOG.info, LOG.warning, LOG.error, LOG.exception, LOG.last_word):
        log("x %s", 1)
    LOG.log(WARNING, "x %s", 1)
    assert {(record.filename, record.funcName) for record in caplog.records} == {
        ("test_safely.py", "test_a_record_names_the_line_that_logged")
    }
    assert [record.levelname for record in caplog.records] == [
        *("DEBUG", "INFO", "WARNING", "ERROR", "ERROR", "ERROR", "WARNING")
    ]


class SoftLimit(Exception):
    """As Celery and RQ raise, in the handler of a signal, in a task that takes too long."""


class Limiter:
    def stop(self, number: int, interrupted: object) -> None:
        raise SoftLimit

    def stop_by_another(self, *arguments: Any) -> None:
        self.stop(*arguments)


def stop(number: int, interrupted: object) -> None:
    raise SoftLimit


@pytest.fixture(params=[stop, Limiter().stop, Limiter().stop_by_another, partial(stop)])
def interrupt(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """A function in whose middle a signal comes, whose handler raises."""
    before = signal.signal(signal.SIGUSR1, request.param)
    yield lambda: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_what_a_handler_of_a_signal_raises_passes_of_whichever_class_it_is(
    handler: Handler, interrupt: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SoftLimit):
        LOG.call(interrupt)
    monkeypatch.setattr(handler, "emit", lambda record: interrupt())
    with pytest.raises(SoftLimit):
        LOG.warning("x")


def test_what_others_raise_is_no_order(handler: Handler) -> None:
    def has_a_frame(frame: object) -> None:
        raise SoftLimit

    LOG.call(stop, 1, None)
    LOG.call(has_a_frame, (inspect.currentframe(),))
