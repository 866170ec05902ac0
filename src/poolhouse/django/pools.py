"""The pools of Django's databases: each is watched as soon as Django makes it.

Django makes a pool when it is first asked for, drops it in ``close_pool()``, and makes another one later. All of
that goes through the property ``pool`` of a database class, so this replaces it with a property that watches. It
has the same value as Django's own, and raises the same errors.
"""

from typing import Any

from django.db import connections

from poolhouse.instrumentation import psycopg_pool
from poolhouse.instrumentation.guard import guarded, report
from poolhouse.instrumentation.watching import watch
from poolhouse.meter.meter import Meter


class WatchedProperty(property):
    """The property ``pool`` of a database class, which watches each pool."""


def watch_pools() -> None:
    """Watch the pools of all databases in the settings: existing ones, and those made later."""
    for alias in connections:
        try:
            _replace(type(connections[alias]))
            pool_of(alias)
        except Exception:  # For example, the driver is missing: Django says so at the first query.
            report("django")


def pool_of(alias: str) -> Any:
    """The pool of a database, which Django makes if necessary; ``None`` if the database has none."""
    pool = getattr(connections[alias], "pool", None)
    return pool if callable(getattr(pool, "get_stats", None)) else None


def _replace(database: Any) -> None:
    """Make a database class, or the one from which it inherits its pool, watch each pool."""
    for owner in database.__mro__:
        plain = vars(owner).get("pool")
        if isinstance(plain, property):
            if not isinstance(plain, WatchedProperty):
                owner.pool = _watching(plain)
            return


def _watching(plain: property) -> WatchedProperty:
    get: Any = plain.fget

    def pool(self: Any) -> Any:
        found = get(self)
        if found is not None:
            _watch_once(found)
        return found

    return WatchedProperty(pool, plain.fset, plain.fdel, plain.__doc__)


@guarded
def _watch_once(pool: Any) -> None:
    """Watch a pool unless it is watched. A pool of poolhouse is reported by itself once it opens."""
    if isinstance(getattr(pool, "meter", None), Meter) or psycopg_pool.source_of(pool) is not None:
        return
    if callable(getattr(pool, "get_stats", None)):
        watch(pool)
