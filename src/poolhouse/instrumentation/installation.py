"""Which distributions provide the names that users type, and whether this SQLAlchemy is recent enough."""

import os
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

from poolhouse import earlier
from poolhouse.distributions import version_of
from poolhouse.earlier import EARLIER
from poolhouse.report.log import log
from poolhouse.safely import Log

logger = Log("poolhouse.instrumentation")

OURS = "poolhouse"
#: The oldest SQLAlchemy whose connection records can be examined (``dbapi_connection``).
OLDEST = (1, 4, 24)


def version_problem(version: str) -> str | None:
    """The reason why this SQLAlchemy cannot be measured, in a sentence; ``None`` if it can.

    >>> version_problem("2.1.0b1"), version_problem("1.3.24")
    (None, 'poolhouse needs SQLAlchemy 1.4.24 or later, and this is 1.3.24')
    """
    numbers = [int("".join(filter(str.isdigit, part[:2])) or 0) for part in version.split(".")[:3]]
    if tuple(numbers) >= OLDEST:
        return None
    return f"poolhouse needs SQLAlchemy {'.'.join(map(str, OLDEST))} or later, and this is {version}"


class Installation(NamedTuple):
    """Which distribution provides the names that users type, in this interpreter."""

    #: The distribution and version whose plugin ``?plugin=collectd`` loads; ``None`` if there is none.
    plugin: str | None
    #: The distribution whose ``sqlalchemy_collectd.server.plugin`` is imported; ``None`` if there is none.
    module: str | None
    #: The version of SQLAlchemy that is installed.
    sqlalchemy: str | None
    #: What to do if sqlalchemy-collectd is in the way; ``None`` if it is not.
    advice: str | None

    @property
    def is_ours(self) -> bool:
        """Whether both names lead to poolhouse."""
        return self.module == OURS and self.plugin is not None and self.plugin.split()[0] == OURS


def look() -> Installation:
    """Find out what is installed in this interpreter, without importing it."""
    # Only here: an application that is measured does without `email` and all that this imports.
    from importlib.metadata import entry_points

    found = [entry for entry in entry_points(group="sqlalchemy.plugins") if entry.name == "collectd"]
    # SQLAlchemy takes the first entry point of a name.
    plugin = found[0].dist if found else None
    beside = earlier.legacy_version()
    return Installation(
        plugin=f"{plugin.metadata['Name']} {plugin.version}" if plugin is not None else None,
        module=_module_owner(),
        sqlalchemy=version_of("sqlalchemy"),
        advice=None if beside is None else earlier.advice(beside),
    )


def warn_once() -> None:
    """Log the advice if sqlalchemy-collectd is installed, once per process; never raises."""
    earlier.warn_once(partial(log, logger=logger))


def _module_owner() -> str | None:
    """The distribution whose ``sqlalchemy_collectd.server.plugin`` would be imported: ours mentions poolhouse."""
    spec = find_spec("sqlalchemy_collectd")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = os.path.join(folder, "server", "plugin.py")
        with (
            suppress(FileNotFoundError, NotADirectoryError),
            open(path, encoding="utf-8", errors="replace") as module,
        ):
            return OURS if OURS in module.read() else EARLIER
    return None
