"""Errors that a pool keeps refer to no frame, and tell what they told."""

import gc
from collections.abc import Callable
from typing import Self

import psycopg
import pytest
from sqlalchemy import exc

from poolhouse.errors import PoolError, PoolTimeout
from poolhouse.pool.frameless import frameless


class Awkward(Exception):
    """Takes other arguments than `args` tells."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError


class MadeElsewhere(Exception):
    def __new__(cls, *args: object) -> Self:
        raise TypeError


def raised(make: Callable[[], BaseException]) -> BaseException:
    try:
        try:
            raise KeyError("before")
        except KeyError:
            raise make()  # noqa: B904  # The context is what is tried here.
    except BaseException as error:
        return error


def with_attribute(error: Exception) -> Exception:
    error.orig = raised(lambda: ValueError("the driver's"))  # type: ignore[attr-defined]
    return error


def wrapped() -> Exception:
    return exc.OperationalError("select 1", {}, raised(lambda: ValueError("the driver's")))  # type: ignore[arg-type]


ERRORS: list[Callable[[], BaseException]] = [
    lambda: OSError("down"),
    lambda: ConnectionRefusedError(111, "Connection refused"),
    lambda: FileNotFoundError(2, "No such file", "app.db"),
    lambda: psycopg.OperationalError("connection failed"),
    lambda: Awkward(7, reason="down"),
    lambda: PoolTimeout("none", waited=1.0),
    lambda: ExceptionGroup("both", [raised(lambda: OSError("first")), raised(lambda: OSError("second"))]),
    lambda: with_attribute(OSError("down")),
    lambda: ValueError(raised(lambda: OSError("inner"))),
    wrapped,
]


def refers_to_frames(error: object) -> bool:
    """Whether any traceback can be reached from it by way of exceptions and their contents."""
    seen, left = set(), [error]
    while left:
        each = left.pop()
        if type(each).__name__ in ("traceback", "frame"):
            return True
        if id(each) not in seen and isinstance(each, (BaseException, dict, list, tuple)):
            seen.add(id(each))
            left += gc.get_referents(each)
    return False


@pytest.mark.parametrize("make", ERRORS)
def test_the_copy_has_class_text_and_attributes_and_no_frame(make: Callable[[], BaseException]) -> None:
    error = raised(make)
    assert refers_to_frames(error)
    kept = frameless(error)
    assert type(kept) is type(error)
    assert str(kept) == str(error)
    assert vars(kept).keys() == vars(error).keys()
    assert not refers_to_frames(kept)


def test_what_cannot_be_copied_is_told_by_its_text() -> None:
    unprintable = frameless(raised(Unprintable))
    assert (type(unprintable), str(unprintable)) == (PoolError, "Unprintable")
    error = Exception.__new__(MadeElsewhere, "down")
    kept = frameless(raised(lambda: error))
    assert (type(kept), str(kept)) == (PoolError, "MadeElsewhere: down")


def test_errors_that_hold_each_other_come_to_an_end() -> None:
    first = OSError("first")
    first.orig = first  # type: ignore[attr-defined]
    assert str(frameless(first)) == "first"
