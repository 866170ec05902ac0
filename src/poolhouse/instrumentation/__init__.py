"""From pools to reports: SQLAlchemy's pools are measured, psycopg_pool's are watched, ours measure themselves.

>>> from sqlalchemy import create_engine
>>> engine = create_engine("sqlite://")
>>> instrument(engine, host="collectd.example", program_name="shop")
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from poolhouse.instrumentation.guard import guarded
from poolhouse.instrumentation.installation import warn_once
from poolhouse.instrumentation.long_holds import hold_warning_of
from poolhouse.report import reporter
from poolhouse.sites.modules import skipped

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
    username: str | None = None,
    password: str | None = None,
    password_file: str | None = None,
    security: str | None = None,
    skip: str | Iterable[str] = (),
    hold_warning: float | None = None,
) -> None:
    """Measure and report the pool of an engine, as ``?plugin=collectd`` in its URL would.

    A setting that is left out comes from ``poolhouse.report_to()``, then from the environment variable
    ``POOLHOUSE_REPORT``, and otherwise has its default. An engine whose pool is measured already stays unchanged.

    Args:
        engine: An engine of SQLAlchemy, sync or asyncio, used or not.
        host: Where the aggregator listens: a name, an IPv4 or an IPv6 address; this machine by default.
        port: Its UDP port; 25827 by default.
        program_name: The name under which processes are added up; the script's name by default.
        report_host: The name of this machine; ``socket.gethostname()`` by default.
        interval: Seconds between two reports; 2 by default.
        detail: ``full``, or ``plain`` for servers of the original sqlalchemy-collectd.
        username: The user that signs or encrypts reports, as in the aggregator's AuthFile.
        password: The user's password.
        password_file: A file whose first line is the password.
        security: ``none``, ``sign`` or ``encrypt``; ``encrypt`` needs the extra of that name.
        skip: Packages or modules of yours between the application and its pool, such as a session helper: the line
            that holds a connection is then sought further up the stack. Names, or one text with commas; added to
            those of ``POOLHOUSE_SKIP``.
        hold_warning: Log a WARNING for each connection that is held for longer, in seconds, with the line that
            took it; ``None`` for never. Checked once per report.

    Raises:
        SettingError: If a setting is wrong; the message names it.
        sqlalchemy.exc.ArgumentError: If SQLAlchemy is too old; the message names the version that is needed.
        TypeError: If this is not an engine.
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
        "username": username,
        "password": password,
        "password_file": password_file,
        "security": security,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    packages, longest = skipped(skip, "skip"), hold_warning_of(hold_warning, "hold_warning")
    destination = reporter.destination_of(settings, prefixes=("",))
    guarded(watch)(root_engine(engine), reporter.stream(destination), packages, longest)
