"""The events of a pool that call functions of the application."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from poolhouse.pool.jobs import Reason
from poolhouse.safely import ERROR, Log

logger = Log("poolhouse.pool")

_FAILED = "the event hook %r failed"


@dataclass(frozen=True, slots=True)
class PoolHooks:
    """Callables for the events of a pool; each may be omitted. Durations are seconds.

    They are called outside the pool's lock, in the thread or event loop in which the event happens, and must not
    block.
    An `Exception` raised by a hook is logged and ignored. KeyboardInterrupt, SystemExit, CancelledError and the
    like are no `Exception`: they end the client's call in which the hook ran, without losing the connection. In a
    background thread or task of the pool they are logged as well.

    Attributes:
        connected: ``(conn, took)``: a connection was made and configured.
        acquired: ``(conn, waited, size, idle)``: a client got a connection. `waited` is 0.0 if one was idle and
            no callback had to run first.
        released: ``(conn, used)``: a client returned one.
        timed_out: ``(waited)``: a client got none in time.
        closed: ``(conn, reason)``: a connection was closed; see `poolhouse.pool.jobs.Reason`.
    """

    connected: Callable[[Any, float], object] | None = None
    acquired: Callable[[Any, float, int, int], object] | None = None
    released: Callable[[Any, float], object] | None = None
    timed_out: Callable[[float], object] | None = None
    closed: Callable[[Any, Reason], object] | None = None


def failed(hook: Callable[..., object], error: Exception) -> None:
    """Log the error of a hook that was called without `tell`, which would cost half of a checkout."""
    logger.log(ERROR, _FAILED, hook, error=error)


def tell(hook: Callable[..., object] | None, *event: object) -> None:
    """Call a hook if there is one. An `Exception` that it raises is logged and ignored; see `PoolHooks`."""
    if hook is not None:
        logger.call(hook, *event, failed=_FAILED)
