"""Logging, by default to ``poolhouse.report``, that neither raises into the application nor delays it.

Once a thread logs, `threading` knows it. A program that waits for all threads known to `threading` must not find
ours among them.

If gevent or eventlet has patched the program, the locks of `logging` are for greenlets: a thread of the operating
system that competes with a greenlet for one of them hangs, and the program with it. In that case our thread passes
its records to the application's own hub, and a greenlet logs them when the hub has time.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from poolhouse.report.native import forget_stand_in, thread_id
from poolhouse.safely import Log
from poolhouse.sites.stalls import remember

_logger = Log("poolhouse.report")


class _Hub(NamedTuple):
    """A hub of greenlets: the thread in which it runs, and how other threads make it spawn a greenlet."""

    thread: int
    spawn: Callable[[Callable[[], None]], object]


#: The first hub that was seen; at most one.
_hubs: list[_Hub] = []


def notice_hub() -> None:
    """Check whether the calling thread of the application has a hub of greenlets. Never raises."""
    if not _hubs:
        with suppress(Exception):
            spawn = _hub_of_gevent() or _hub_of_eventlet()
            if spawn is not None:
                _hubs.append(_Hub(thread_id(), spawn))


def log(
    level: int,
    message: str,
    *arguments: object,
    error: BaseException | None = None,
    logger: Log = _logger,
) -> None:
    """Log a message, with the traceback of `error`; raises only what `poolhouse.safely` lets through."""
    say = partial(logger.log, level, message, *arguments, error=error)
    if _hubs and _hubs[0].thread != thread_id():
        with suppress(Exception):
            _hubs[0].spawn(say)
    else:
        say()
        forget_stand_in()


def _hub_of_gevent() -> Callable[[Callable[[], None]], object] | None:
    gevent: Any = sys.modules.get("gevent")
    monkey: Any = sys.modules.get("gevent.monkey")
    if gevent is None or monkey is None or not monkey.is_module_patched("threading"):
        return None
    hub = gevent.get_hub()
    remember(hub, thread_id())
    return partial(hub.loop.run_callback_threadsafe, gevent.spawn)


def _hub_of_eventlet() -> Callable[[Callable[[], None]], object] | None:
    eventlet: Any = sys.modules.get("eventlet")
    if eventlet is None or not eventlet.patcher.is_monkey_patched("thread"):
        return None
    # It appends to a list, which is atomic; the hub looks there when it next wakes.
    return partial(eventlet.hubs.get_hub().schedule_call_global, 0, eventlet.spawn_n)
