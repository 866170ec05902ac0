"""Errors of ours stay ours."""

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
