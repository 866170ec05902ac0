"""Errors of ours stay ours."""

import signal

import pytest

from poolhouse.instrumentation import guard


@pytest.fixture(autouse=True)
def nothing_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_logged", set())


@guard.guarded
def failing(error: BaseException) -> None:
    raise error


def test_an_error_is_logged_once_and_goes_no_further(caplog: pytest.LogCaptureFixture):
    for _ in range(3):
        failing(ValueError("x"))
    (record,) = caplog.records
    assert record.name == "poolhouse.instrumentation"
    assert "failing" in record.getMessage()
    assert record.exc_info is not None


def test_an_interrupt_is_not_an_error_of_ours():
    with pytest.raises(KeyboardInterrupt):
        failing(KeyboardInterrupt())


def test_a_guarded_function_keeps_its_name():
    assert failing.__name__ == "failing"


def test_an_error_that_the_handler_of_a_signal_raises_is_not_ours(caplog: pytest.LogCaptureFixture):
    class SoftLimit(Exception):
        pass

    def stop(number: int, interrupted: object) -> None:
        raise SoftLimit

    @guard.guarded
    def interrupted() -> None:
        signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    with pytest.raises(SoftLimit):
        interrupted()
    signal.signal(signal.SIGUSR1, before)
    assert not caplog.records


def test_where_nothing_is_left_to_say_an_error_with_it_goes_no_further(monkeypatch: pytest.MonkeyPatch):
    def too_deep(*arguments: object, **named: object) -> None:
        raise RecursionError

    monkeypatch.setattr(guard, "log", too_deep)
    failing(ValueError("x"))
