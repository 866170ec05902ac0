"""Django's PostgreSQL engine with a pool of poolhouse.

``OPTIONS["pool"]`` has the arguments of `poolhouse.ConnectionPool`; without it the pool has the defaults, with
``False`` there is none. Everything else is Django's. Like Django's own pool, this one needs psycopg 3 and a
``CONN_MAX_AGE`` of 0, but it does not need psycopg_pool. A pool that is open when a server forks its workers
starts empty in each of them.
"""

from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from poolhouse.pool.sync import ConnectionPool


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # Django has no types.
    """One thread's connection to a database."""

    #: The pools of all threads, by the databases' aliases.
    _connection_pools: ClassVar[dict[str, Any]] = {}

    @property
    def pool(self) -> Any:
        """The database's pool, made when first asked for, and opened by the first query; ``None`` without one.

        Raises:
            ImproperlyConfigured: If the settings do not allow a pool.
        """
        options = self.settings_dict["OPTIONS"].get("pool", True)
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            # Several threads may make one: the first is kept, and none is open.
            self._connection_pools.setdefault(self.alias, self._make_pool({} if options is True else options))
        return self._connection_pools[self.alias]

    def _make_pool(self, options: dict[str, Any]) -> Any:
        if self.settings_dict.get("CONN_MAX_AGE", 0) != 0:
            raise ImproperlyConfigured("A pool excludes persistent connections: set CONN_MAX_AGE to 0.")
        if not is_psycopg3:
            raise ImproperlyConfigured("poolhouse.django.postgresql needs psycopg 3.")
        return ConnectionPool(
            # Django begins and ends transactions by itself.
            kwargs=self.get_connection_params() | {"autocommit": True},
            open=False,
            configure=self._configure_connection,
            check=ConnectionPool.check_connection if self.settings_dict["CONN_HEALTH_CHECKS"] else None,
            **options,
        )
