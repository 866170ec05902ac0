"""Connection pools for threads and asyncio, over any driver. Each name is imported when it is first used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolhouse.pool.aio import AsyncConnectionPool
    from poolhouse.pool.aio_null import AsyncNullConnectionPool
    from poolhouse.pool.hooks import PoolHooks
    from poolhouse.pool.sync import ConnectionPool, NullConnectionPool

__all__ = [
    "AsyncConnectionPool",
    "AsyncNullConnectionPool",
    "ConnectionPool",
    "NullConnectionPool",
    "PoolHooks",
]

_HOMES = {
    "AsyncConnectionPool": "aio",
    "AsyncNullConnectionPool": "aio_null",
    "ConnectionPool": "sync",
    "NullConnectionPool": "sync",
    "PoolHooks": "hooks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
