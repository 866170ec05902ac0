"""What the one place that logs lets through, and what not."""

import inspect
import logging
from collections.abc import Iterator

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
