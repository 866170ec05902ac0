"""The pools that are open in this process, and the observer that is called with each.

A pool knows nothing of reports, which a higher layer makes: it only announces that it has opened. The observer is
called with every pool, including those opened before it was set. There is no observer unless reporting is
configured. If only the environment configures it, no call of the application imports the reporting code, so the
first pool that opens imports it by the name `OBSERVER`. ``docs/decisions/0007`` has the reasons.
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

#: The module and function to call if the environment asks for reports of all pools.
OBSERVER = "poolhouse.instrumentation.pools", "report_as_environment_says"

Observer: TypeAlias = Callable[[Any], None]

#: The pools that have been opened in this process. Copying a set of references is one step that no other thread
#: can interrupt; copying a `WeakSet` is not.
_opened: "set[weakref.ref[Any]]" = set()
#: The observer, if there is one.
_observers: deque[Observer] = deque(maxlen=1)
#: The variable to look up when the first pool opens; the thread that pops it does so.
_first: deque[str] = deque([REPORT_VARIABLE])


def opened(pool: Any) -> None:
    """Announce a pool that has been opened, or is used for the first time in a forked child.

    Takes no lock, does not wait, and never raises. Call it without holding the pool's lock.
    """
    try:
        _look_at_environment()
        # First add, then look. `observe` does the opposite, so one of the two sees both pool and observer.
        _opened.add(weakref.ref(pool, _opened.discard))
        if _observers:
            _observers[0](pool)
    except Exception:
        logger.exception("the pool %r works, but cannot be reported", getattr(pool, "name", pool))


def observe(observer: Observer) -> None:
    """Call `observer` with every open pool, and from now on with each that opens.

    A later observer replaces it. It may be called with the same pool more than once.
    """
    _observers.append(observer)
    for reference in _opened.copy():
        if (pool := reference()) is not None:
            observer(pool)


def is_observed() -> bool:
    """Whether there is an observer."""
    return bool(_observers)


def _look_at_environment() -> None:
    try:
        variable = _first.popleft()
    except IndexError:
        return
    if os.environ.get(variable):
        module, function = OBSERVER
        getattr(import_module(module), function)()


# A forked child opens an inherited pool again at its first use.
os.register_at_fork(after_in_child=_opened.clear)
