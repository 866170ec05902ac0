"""Connection pools for Python, and a live, fleet-wide view of every pool.

The public names are imported when they are first used (PEP 562): importing poolhouse imports nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolhouse.errors import PoolClosed as PoolClosed
    from poolhouse.errors import PoolError as PoolError
    from poolhouse.errors import PoolTimeout as PoolTimeout
    from poolhouse.errors import TooManyRequests as TooManyRequests
    from poolhouse.instrumentation import instrument as instrument
    from poolhouse.instrumentation.pools import report_to as report_to
    from poolhouse.instrumentation.readiness import ready as ready
    from poolhouse.instrumentation.watching import watch as watch
    from poolhouse.pool.aio import AsyncConnectionPool as AsyncConnectionPool
    from poolhouse.pool.aio_null import AsyncNullConnectionPool as AsyncNullConnectionPool
    from poolhouse.pool.hooks import PoolHooks as PoolHooks
    from poolhouse.pool.sync import ConnectionPool as ConnectionPool
    from poolhouse.pool.sync import NullConnectionPool as NullConnectionPool
    from poolhouse.report.reporter import flush as flush

#: Each public name, and the module that defines it.
_HOMES = {
    "AsyncConnectionPool": "poolhouse.pool.aio",
    "AsyncNullConnectionPool": "poolhouse.pool.aio_null",
    "ConnectionPool": "poolhouse.pool.sync",
    "NullConnectionPool": "poolhouse.pool.sync",
    "PoolClosed": "poolhouse.errors",
    "PoolError": "poolhouse.errors",
    "PoolHooks": "poolhouse.pool.hooks",
    "PoolTimeout": "poolhouse.errors",
    "TooManyRequests": "poolhouse.errors",
    "flush": "poolhouse.report.reporter",
    "instrument": "poolhouse.instrumentation",
    "ready": "poolhouse.instrumentation.readiness",
    "report_to": "poolhouse.instrumentation.pools",
    "watch": "poolhouse.instrumentation.watching",
}

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "AsyncConnectionPool",
    "AsyncNullConnectionPool",
    "ConnectionPool",
    "NullConnectionPool",
    "PoolClosed",
    "PoolError",
    "PoolHooks",
    "PoolTimeout",
    "TooManyRequests",
    "flush",
    "instrument",
    "ready",
    "report_to",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
