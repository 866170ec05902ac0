"""``poolhouse.watch``: recognises the kind of a pool, and makes one source of reports for each pool."""

import sys
from collections.abc import Callable
from typing import Any

from poolhouse.instrumentation import psycopg_pool
from poolhouse.instrumentation.aiomysql import AiomysqlKind
from poolhouse.instrumentation.asyncpg import AsyncpgKind
from poolhouse.instrumentation.driver_pools import DriverPool, Kind
from poolhouse.instrumentation.proxies import behind
from poolhouse.instrumentation.psycopg2 import Psycopg2Kind
from poolhouse.report import reporter
from poolhouse.report.source import AnyStream
from poolhouse.report.unsent import moved
from poolhouse.sites.modules import modules_of
from poolhouse.sites.stack import line_in_words

#: The modules and classes of drivers' pools, a method by which each is recognised behind a proxy, and their kinds.
#: No module is imported: an application with such a pool has imported it.
_KINDS: tuple[tuple[str, str, str, Kind], ...] = (
    ("asyncpg.pool", "Pool", "acquire", AsyncpgKind()),
    ("aiomysql.pool", "Pool", "acquire", AiomysqlKind()),
    ("psycopg2.pool", "AbstractConnectionPool", "_getkey", Psycopg2Kind()),
)

#: The watched pools by identity: some allow no weak reference.
_sources: dict[int, DriverPool] = {}


def watch(pool: Any) -> None:
    """Report a pool of psycopg_pool, asyncpg, aiomysql or psycopg2, until it is closed or collected.

    Reports go where ``poolhouse.report_to()`` or the environment variable ``POOLHOUSE_REPORT`` says, otherwise to
    port 25827 of this machine. A pool that is watched already stays unchanged. A forked child reports the pool
    from its own first use on. A pool of poolhouse needs no watching, and is reported as usual.

    Args:
        pool: A pool of one of these packages, or an object with psycopg_pool's ``get_stats()``; open or not. It is
            not kept alive.

    Raises:
        SettingError: If ``POOLHOUSE_REPORT`` is needed and wrong.
        TypeError: If this is not such a pool, or if its version of the driver cannot be watched, such as asyncpg
            before 0.30.
    """
    watch_in(pool, reporter.default_stream)


def watch_in(pool: Any, to: Callable[[], AnyStream]) -> None:
    """`watch`, with the caller's stream, for a pool that poolhouse found by itself.

    Args:
        pool: The pool.
        to: Returns the stream that reports it.
    """
    found, kind = _found(pool)
    if kind is None:
        psycopg_pool.watch(pool, to)
    else:
        _watch(found, kind, to)


def source_of(pool: Any) -> DriverPool | None:
    """The measurement of a driver's pool; ``None`` if it is not watched, or of another kind."""
    pool, _ = _found(pool)
    source = _sources.get(id(pool))
    return source if source is not None and source.pool() is pool else None


def is_pool(pool: Any) -> bool:
    """Whether `watch` would accept this, pools of poolhouse aside."""
    return _found(pool)[1] is not None or psycopg_pool.has_stats(pool)


def _found(pool: Any) -> tuple[Any, Kind | None]:
    """A driver's pool, if need be from behind a proxy, and its kind; ``None`` if no known driver has it."""
    for module, name, method, kind in _KINDS:
        owner: type[Any] | None = getattr(sys.modules.get(module), name, None)
        found = None if owner is None else behind(pool, owner, method)
        if found is not None:
            return found, kind
    return pool, None


def _watch(pool: Any, kind: Kind, to: Callable[[], AnyStream]) -> None:
    stream = to()
    source = source_of(pool)
    if source is None:
        key = id(pool)
        made = DriverPool(pool, kind, stream, lambda _: _forget(key))
        made.made_at = line_in_words(sys._getframe(1), modules_of())
        # The first of several threads measures the pool; the others find its source.
        source = _sources.setdefault(key, made)
        if source is made:
            try:
                made.begin(pool)
            except BaseException as error:
                _forget(key)
                if isinstance(error, AttributeError):
                    sentence = (
                        f"expected a pool of {kind.package} in a version that we know; this one cannot be measured"
                    )
                    raise TypeError(sentence) from error
                raise
    source.stream = moved(source, source.stream, stream)
    source.stream.expect(source)
    source.stream.add(source)


def _forget(key: int) -> None:
    _sources.pop(key, None)
