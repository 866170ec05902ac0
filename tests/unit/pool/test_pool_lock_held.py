"""A function whose name ends in ``_locked`` says so if it is called without the core's lock."""

from inspect import signature
from typing import Any

import pytest

from poolhouse.pool import ConnectionPool
from poolhouse.pool.check_beside import CheckBeside
from poolhouse.pool.core_lock import NOT_LOCKED, CoreLock
from poolhouse.pool.sqlalchemy import FairQueuePool
from poolhouse.pool.sqlalchemy_lock import FairLock
from poolhouse.pool.workers import Workers
from poolhouse.testing import FakeConnection, FakeDriver, VirtualClock, VirtualThreads

_CLASSES = (CoreLock, Workers, CheckBeside, FairLock, FairQueuePool)
_FUNCTIONS = [(owner, name) for owner in _CLASSES for name in vars(owner) if name.endswith("_locked")]


def _objects() -> dict[type, Any]:
    """One object of each class, not in use."""
    threads = VirtualThreads(VirtualClock())
    pool: ConnectionPool[FakeConnection] = ConnectionPool(
        driver=FakeDriver(threads.sleep, threads.parker), clock=threads.clock, threads=threads, open=False
    )
    nothing: Any = None
    check = CheckBeside(pool._core, pool._core_lock, pool._workers, threads.clock, nothing, nothing, bool)
    fair = FairQueuePool(object)
    objects = {CoreLock: pool._core_lock, Workers: pool._workers, CheckBeside: check}
    return {**objects, FairLock: fair._lock, FairQueuePool: fair}


@pytest.mark.parametrize(("owner", "name"), _FUNCTIONS, ids=lambda part: getattr(part, "__name__", part))
def test_a_function_that_needs_the_lock_says_so_when_it_is_called_without(owner: type, name: str) -> None:
    function = getattr(owner, name).__get__(_objects()[owner])
    arguments = [None] * len(
        [each for each in signature(function).parameters.values() if each.kind is not each.VAR_POSITIONAL]
    )
    with pytest.raises(AssertionError, match=NOT_LOCKED):
        function(*arguments)


def test_there_are_such_functions_in_each_of_the_classes() -> None:
    assert {owner for owner, _ in _FUNCTIONS} == set(_CLASSES)
