"""The name and limits of an engine's pool, and the connections that it already has."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import Pool

from poolhouse.instrumentation.installation import version_problem
from poolhouse.instrumentation.names import place_name
from poolhouse.instrumentation.proxies import behind
from poolhouse.meter.reading import Limits

if TYPE_CHECKING:
    from sqlalchemy.engine import URL  # Elsewhere in the old versions that are refused.


def require_version(version: str) -> None:
    """Refuse a SQLAlchemy that is too old.

    Raises:
        sqlalchemy.exc.ArgumentError: With the message of `version_problem`.
    """
    problem = version_problem(version)
    if problem is not None:
        raise ArgumentError(problem)


def root_engine(engine: Any) -> Engine:
    """The engine that owns the pool: the sync engine of an asyncio engine, the original of an option engine.

    An engine behind a proxy is found as well.

    Raises:
        TypeError: If this is not an engine.
    """
    found = behind(getattr(engine, "sync_engine", engine), Engine, "connect")
    if found is None:
        raise TypeError(f"expected an engine of SQLAlchemy, not {type(engine).__name__}")
    # Only a true engine is unwrapped further: a mock has a `_proxied` without end.
    while (original := behind(vars(found).get("_proxied"), Engine, "connect")) is not None:
        found = original
    return found


def pool_name(url: "URL") -> str:
    """``host:port/database``, as far as the URL has them; the backend's name if none of them is safe to send.

    If a password is not properly encoded, SQLAlchemy takes a part of it for the host or the database. Such a URL
    connects to nothing, so callers use this name only once a connection has been made.

    >>> from sqlalchemy.engine import make_url
    >>> pool_name(make_url("postgresql://ann:secret@db.example:5432/shop?sslmode=require"))
    'db.example:5432/shop'
    >>> pool_name(make_url("mysql://[::1]/shop")), pool_name(make_url("sqlite:///shop.db"))
    ('[::1]/shop', 'shop.db')
    >>> pool_name(make_url("mssql+pyodbc://?odbc_connect=secret"))
    'mssql'
    """
    port = "" if url.port is None else str(url.port)
    return place_name(url.host or "", port, url.database or "") or str(url.get_backend_name())


def pool_limits(pools: Iterable[Pool]) -> Limits:
    """The sum of these pools' limits. No pool of SQLAlchemy opens connections before they are needed."""
    known = [_limits(pool) for pool in pools]
    return Limits(_sum(limit.max_open for limit in known), _sum(limit.max_idle for limit in known), 0)


def _limits(pool: Pool) -> Limits:
    size, overflow = getattr(pool, "size", None), getattr(pool, "_max_overflow", None)
    # Only pools with a queue have both; the size of a SingletonThreadPool is an attribute, not a method.
    if not callable(size) or not isinstance(overflow, int):
        return Limits()
    kept = size()
    if not isinstance(kept, int):
        return Limits()
    return Limits(kept + overflow if kept and overflow >= 0 else None, kept or None)


def _sum(limits: Iterable[int | None]) -> int | None:
    known = list(limits)
    numbers = [limit for limit in known if limit is not None]
    return sum(numbers) if numbers and len(numbers) == len(known) else None


def held_records(pool: Pool) -> Iterator[Any]:
    """The connection records that a pool holds now; of a queue, only the idle ones.

    No pool has a public way to list them. If a version of SQLAlchemy keeps them elsewhere, none are found, and
    connections that were opened before are missing from the gauges until they are checked out.
    """
    queue = getattr(pool, "_pool", None)
    adapted = getattr(queue, "__dict__", {}).get("_queue")  # An asyncio.Queue, made when first used.
    core = getattr(pool, "_core", None)
    held = [
        *[slot.conn for slot in list(getattr(core, "slots", {}).values())],  # FairQueuePool, also those in use
        *list(getattr(queue, "queue", ())),  # QueuePool
        *list(getattr(adapted, "_queue", ())),  # AsyncAdaptedQueuePool
        *list(getattr(pool, "_all_conns", ())),  # SingletonThreadPool
        getattr(pool, "_conn", None),  # AssertionPool; something else in a SingletonThreadPool
        pool.__dict__.get("connection"),  # StaticPool
    ]
    return (record for record in held if hasattr(record, "dbapi_connection") and hasattr(record, "in_use"))
