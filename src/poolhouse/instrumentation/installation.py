"""Whether PyPI's sqlalchemy-collectd is installed beside poolhouse, and what to do about it.

Both install a package ``sqlalchemy_collectd`` and a SQLAlchemy plugin ``collectd``. The one installed last has
overwritten the other's modules; removing it deletes them; and SQLAlchemy may load either plugin.
"""

from collections.abc import Iterable
from importlib.metadata import Distribution, distributions, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from poolhouse.installing import reinstall_command
from poolhouse.report.log import log
from poolhouse.safely import DEBUG, WARNING, Log

logger = Log("poolhouse.instrumentation")

OURS = "poolhouse"
EARLIER = "sqlalchemy-collectd"
#: The remedy: the first command removes our modules too, the second restores them.
COMMANDS = ("pip uninstall sqlalchemy-collectd", reinstall_command())

_told: list[bool] = []


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
    found = [entry for entry in entry_points(group="sqlalchemy.plugins") if entry.name == "collectd"]
    # SQLAlchemy takes the first entry point of a name.
    plugin = found[0].dist if found else None
    earlier = legacy_version()
    return Installation(
        plugin=f"{plugin.metadata['Name']} {plugin.version}" if plugin is not None else None,
        module=_module_owner(),
        sqlalchemy=_version("sqlalchemy"),
        advice=None if earlier is None else advice(earlier),
    )


def legacy_version(installed: Iterable[Distribution] | None = None) -> str | None:
    """The version of sqlalchemy-collectd that is installed here; ``None`` if it is not.

    Args:
        installed: The distributions to search; by default those of this interpreter.
    """
    return _version(EARLIER, installed)


def advice(version: str) -> str:
    """The advice for a user who has this version of sqlalchemy-collectd installed.

    >>> print(advice("0.0.8"))
    sqlalchemy-collectd 0.0.8 is installed beside poolhouse and takes its place: run
        pip uninstall sqlalchemy-collectd
        pip install --force-reinstall --no-deps . in a checkout of poolhouse
    """
    commands = "".join(f"\n    {command}" for command in COMMANDS)
    return f"{EARLIER} {version} is installed beside poolhouse and takes its place: run{commands}"


def warn_once() -> None:
    """Log the advice if it is needed, once per process; never raises."""
    if _told:
        return
    _told.append(True)
    try:
        version = legacy_version()
    except Exception as error:
        log(DEBUG, "poolhouse cannot read which packages are installed", error=error, logger=logger)
        return
    if version is not None:
        log(WARNING, "%s", advice(version), logger=logger)


def _version(name: str, installed: Iterable[Distribution] | None = None) -> str | None:
    for distribution in distributions(name=name) if installed is None else installed:
        # A broken removal may leave a folder without metadata.
        found = distribution.metadata["Name"] if distribution.metadata else None
        if found and found.lower().replace("_", "-").replace(".", "-") == name:
            return distribution.version
    return None


def _module_owner() -> str | None:
    """The distribution whose ``sqlalchemy_collectd.server.plugin`` would be imported: ours mentions poolhouse."""
    spec = find_spec("sqlalchemy_collectd")
    for folder in (spec and spec.submodule_search_locations) or ():
        module = Path(folder, "server", "plugin.py")
        if module.is_file():
            return OURS if OURS in module.read_text("utf-8", "replace") else EARLIER
    return None
