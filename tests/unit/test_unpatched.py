"""Time goes on where an application's tests have stopped it."""

import time
from unittest import mock

from poolhouse import clock
from poolhouse.unpatched import unpatched


def test_whoever_patches_time_meets_nobody_here() -> None:
    counted = mock.Mock(side_effect=time.monotonic)
    with mock.patch("time.monotonic", counted), mock.patch("time.time", counted):
        first = clock.SystemClock.monotonic()
        assert first <= clock.monotonic() <= time.monotonic()
        assert clock.SystemClock.wall_time() > 0
    counted.assert_called_once()


def test_no_function_is_the_one_that_others_look_for_in_all_modules() -> None:
    found = {id(value) for value in (*vars(clock).values(), *vars(clock.SystemClock).values())}
    assert not found & {id(time.monotonic), id(time.time), id(time.thread_time)}


def test_a_module_that_is_not_built_in_is_the_one_there_is() -> None:
    assert unpatched("json") is __import__("json")
