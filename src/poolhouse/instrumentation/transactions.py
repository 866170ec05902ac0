"""Counts the transactions of an engine, without SQLAlchemy's engine events.

An engine with a single listener makes each of its Connections join the listeners again: 1 µs for a ``connect()``,
8 µs for a Session. Instead, the methods of the engine's dialect that begin and end transactions are wrapped; a
dialect is made for one engine. Other callers use them too:

- The pool, to reset a connection that comes back. It gets a view of the dialect with the original methods, so a
  checkin takes no extra step.
- SQLAlchemy, when it first examines a database, with a connection that is not from the pool.
- The methods for two-phase transactions. While one of these runs, the wrapper looks up its caller, which takes as
  long as everything else here.

A transaction that is lost with its connection is neither committed nor rolled back.
"""

import sys
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.pool.base import _ConnectionFairy

from poolhouse.instrumentation.guard import guarded
from poolhouse.instrumentation.records import LiveSet
from poolhouse.meter.meter import Meter

_getframe = sys._getframe

#: The dialects whose transactions are counted.
_counted = LiveSet()


@guarded
def count_transactions(dialect: Any, meter: Meter) -> None:
    """Count the transactions of this dialect's engine in `meter` from now on. Idempotent.

    A dialect that is counted already, in whichever meter, stays unchanged.
    """
    if not _counted.add(dialect):
        return
    attributes: dict[str, Any] = vars(dialect)
    twophase: list[None] = []
    for kind, tally in (
        ("begin", meter.transactions),
        ("commit", meter.commits),
        ("rollback", meter.rollbacks),
    ):
        for name, counting in ((kind, _counting), (f"{kind}_twophase", _counting_twophase)):
            caller: Any = getattr(Connection, f"_{name}_impl")
            call = getattr(dialect, f"do_{name}")
            attributes[f"do_{name}"] = counting(call, tally.add, caller.__code__, twophase)


def uncounted(dialect: Any) -> Any:
    """A view of the dialect for its pool, whose own resets then bypass the counting."""
    commit, rollback = (vars(dialect).get(f"do_{kind}") for kind in ("commit", "rollback"))
    if dialect not in _counted or not hasattr(commit, "uncounted") or not hasattr(rollback, "uncounted"):
        return dialect
    kind: Any = type(dialect)  # mypy believes that a class has no hash.
    try:
        view: Any = object.__new__(_uncounted_class(kind))
    except TypeError:
        return dialect  # The class allows no subclass: the pool's resets count as rollbacks.
    # All attributes are shared except the two that have a slot.
    view.__dict__ = vars(dialect)
    view.do_commit, view.do_rollback = commit.uncounted, rollback.uncounted
    return view


@lru_cache
def _uncounted_class(dialect: type[Any]) -> type[Any]:
    """A class of dialects whose instances have two methods of their own, and share all else with another dialect.

    A slot takes precedence over an entry of the instance's dictionary. An object that forwards attribute lookups
    would take a hundred times as long for each.
    """
    return type(dialect.__name__, (dialect,), {"__slots__": ("do_commit", "do_rollback")})


def _counting(
    call: Callable[[Any], Any], count: Callable[[], object], caller: CodeType, twophase: list[None]
) -> Callable[..., Any]:
    of_pool = _ConnectionFairy

    def counted(dbapi_connection: Any) -> Any:
        if type(dbapi_connection) is of_pool and (not twophase or _getframe(1).f_code is caller):
            count()
        return call(dbapi_connection)

    counted.uncounted = call  # type: ignore[attr-defined]
    return counted


def _counting_twophase(
    call: Callable[..., Any], count: Callable[[], object], caller: CodeType, twophase: list[None]
) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:
        if _getframe(1).f_code is caller:
            count()
        twophase.append(None)
        try:
            return call(*arguments, **named)
        finally:
            twophase.pop()

    return counted
