"""``poolhouse.ready``: the condition of a pool or an engine, for `poolhouse.verdicts.readiness`.

Takes no connection, sends no statement, and waits for no lock of ours.
"""

import sys
from typing import Any

from poolhouse.clock import SystemClock
from poolhouse.instrumentation import psycopg_pool, watching
from poolhouse.instrumentation.proxies import unproxied
from poolhouse.meter.meter import Meter
from poolhouse.verdicts import current
from poolhouse.verdicts.readiness import Condition, Readiness, decide

#: The condition of a pool that is not measured.
_UNKNOWN = Condition(is_known=False)


def ready(pool: Any) -> Readiness:
    """Whether a pool can serve now, from what it knows; for an orchestrator's probes.

    It takes no connection, asks no server and does not wait. A pool is not ready if it is closed or not open yet;
    if it has no connection and its last attempt to make one, within 30 seconds, failed; or if all its connections
    are out, none has come back for 10 seconds, and a caller has waited for one. Nothing is known about a pool that
    is not
    measured: it counts as ready, and the reason says so.

    Args:
        pool: A pool of poolhouse; an engine of SQLAlchemy, sync or asyncio, that ``?plugin=poolhouse`` or
            ``poolhouse.instrument()`` measures; or a pool that ``poolhouse.watch()`` watches.

    Returns:
        A `Readiness`: true or false, with the reason as its `reason` and as its text, and the standing verdict, or
        ``None``, as its `verdict`.

    Raises:
        TypeError: If this is neither a pool nor an engine.
    """
    condition, now = _condition_of(pool)
    return decide(condition, now)


def _condition_of(thing: Any) -> tuple[Condition, float]:
    monotonic = SystemClock.monotonic()
    if (engine := _engine_of(thing)) is not None:
        watch = sys.modules.get("poolhouse.instrumentation.watch")  # If not imported, no engine is measured.
        measured = None if watch is None else watch.watch_of(engine.pool)
        if measured is not None:
            return measured.condition(), monotonic
        return _own(engine.pool) if hasattr(engine.pool, "_core") else (_UNKNOWN, monotonic)
    pool = unproxied(thing, "get_stats")
    if isinstance(getattr(pool, "meter", None), Meter):
        return _own(pool)
    source = watching.source_of(pool) or psycopg_pool.source_of(pool)
    if source is not None:
        return source.condition(), monotonic
    if watching.is_pool(pool):
        return _UNKNOWN, monotonic
    raise TypeError(f"expected a pool or an engine, not {type(thing).__name__}")


def _engine_of(thing: Any) -> Any:
    """The engine that owns the pool if this is a SQLAlchemy engine; else ``None``."""
    if "sqlalchemy" not in sys.modules:
        return None
    from poolhouse.instrumentation.engines import root_engine

    try:
        return root_engine(thing)
    except TypeError:
        return None


def _own(pool: Any) -> tuple[Condition, float]:
    """The condition of a pool of ours, and the time on its clock."""
    core, meter = pool._core, pool.meter
    taken = [lease[1] for lease in list(core.leases.values())]
    # A FairQueuePool opens at its first checkout, and other pools may, too.
    opens_itself = hasattr(pool, "_dialect") or bool(getattr(pool, "_opens_itself", False))
    condition = Condition(
        is_open=core.is_open or core.was_closed or opens_itself,
        was_closed=core.was_closed,
        idle=len(core.idle),
        used=len(taken),
        most=core.limits().max_open,
        waiting=len(core.waiters),
        taken_at=max(taken, default=None),
        timed_out_at=meter.timed_out_at,
        failing=core.connect_failures.failing(meter.connects),
        verdict=current.main_of(pool),
    )
    return condition, getattr(pool, "_now", SystemClock.monotonic)()
