"""Which pools are open in this process, and who is told of each one that opens.

A pool knows nothing of reports, which are made above it: it only says that it has opened, and whoever wants to
watch all pools, older ones too, asks to be told. Nobody does, unless reporting was configured. Where the
environment configures it, there is no call of the application's that could bring in what reports; so the first
pool that opens does, by the name `OBSERVER`. ``docs/decisions/0007`` has the reasons.
"""

import os
import weakref
from collections import deque
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

from poolhouse.defaults import REPORT_VARIABLE
from poolhouse.safely import Log

logger = Log("poolhouse.pool")

#: What is called if the environment variable that has all pools of the process reported is set.
OBSERVER = "poolhouse.instrumentation.pools", "report_as_environment_says"

Observer: TypeAlias = Callable[[Any], None]

#: The pools that have been opened in this process. A set of references is copied in one step, which no thread that
#: opens another pool can come between; a `WeakSet` is not.
_opened: "set[weakref.ref[Any]]" = set()
#: At most one: who is told of pools.
_observers: deque[Observer] = deque(maxlen=1)
#: What is left to do at the first opening of a pool; who pops it does it.
_first: deque[str] = deque([REPORT_VARIABLE])


def opened(pool: Any) -> None:
    """A pool has been opened, or is used for the first time in the child of a fork.

    Takes no lock of its own, does not wait, and never raises. To be called outside the pool's lock.
    """
    try:
        _look_at_environment()
        # First the one, then a look at the other, and `observe` the other way round: one of them sees the pool.
        _opened.add(weakref.ref(pool, _opened.discard))
        if _observers:
            _observers[0](pool)
    except Exception:
        logger.exception("the pool %r works, but cannot be reported", getattr(pool, "name", pool))


def observe(observer: Observer) -> None:
    """Have `observer` called with every pool that has been opened, and from now on with each that is.

    There is one: whoever comes later takes its place. It may be called with the same pool again.
    """
    _observers.append(observer)
    for reference in _opened.copy():
        if (pool := reference()) is not None:
            observer(pool)


def _look_at_environment() -> None:
    try:
        variable = _first.popleft()
    except IndexError:
        return
    if os.environ.get(variable):
        module, function = OBSERVER
        getattr(import_module(module), function)()


# Pools that a child inherits are opened anew in it, if it uses them.
os.register_at_fork(after_in_child=_opened.clear)
