"""From pools to reports: SQLAlchemy's pools are measured, psycopg_pool's are watched, ours measure themselves.

>>> from sqlalchemy import create_engine
>>> engine = create_engine("sqlite://")
>>> instrument(engine, host="collectd.example", program_name="shop")
"""

from typing import TYPE_CHECKING

from poolhouse.instrumentation.guard import guarded
from poolhouse.instrumentation.installation import warn_once
from poolhouse.report import reporter

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["instrument"]


def instrument(
    engine: "Engine | AsyncEngine",
    *,
    host: str | None = None,
    port: int | None = None,
    program_name: str | None = None,
    report_host: str | None = None,
    interval: float | None = None,
    detail: str | None = None,
) -> None:
    """Measure and report the pool of an engine, as ``?plugin=collectd`` in its URL would.

    Each setting that is left out is taken from ``poolhouse.report_to()``, else from the environment variable
    ``POOLHOUSE_REPORT``, else it has its default. An engine whose pool is measured already stays as it is.

    Args:
        engine: An engine of SQLAlchemy, sync or asyncio, used or not.
        host: Where the aggregator listens: a name, an IPv4 or an IPv6 address; this machine by default.
        port: Its UDP port; 25827 by default.
        program_name: The name under which processes are summed; the script's name by default.
        report_host: The name of this machine; ``socket.gethostname()`` by default.
        interval: Seconds between two reports; 2 by default.
        detail: ``full``, or ``plain`` for servers of the earlier sqlalchemy-collectd.

    Raises:
        SettingError: If a setting is wrong; it names it.
        sqlalchemy.exc.ArgumentError: If SQLAlchemy is too old; it names the version that is needed.
        TypeError: If this is no engine.
    """
    # Imported here: an application that never calls this need not have SQLAlchemy.
    import sqlalchemy

    from poolhouse.instrumentation.engines import require_version, root_engine

    require_version(sqlalchemy.__version__)
    warn_once()
    from poolhouse.instrumentation.watch import watch

    given = {
        "host": host,
        "port": port,
        "program_name": program_name,
        "report_host": report_host,
        "interval": interval,
        "detail": detail,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    destination = reporter.destination_of(settings, prefix="")
    guarded(watch)(root_engine(engine), reporter.stream(destination))
