"""PyPI's sqlalchemy-collectd installed beside poolhouse, and what to do about it.

Both install a package ``sqlalchemy_collectd`` and a SQLAlchemy plugin ``collectd``. The one installed last has
overwritten the other's modules; removing it deletes them; and SQLAlchemy may load either plugin.
"""

from typing import Protocol

from poolhouse.distributions import version_of
from poolhouse.installing import reinstall_command
from poolhouse.safely import DEBUG, WARNING

EARLIER = "sqlalchemy-collectd"
#: The remedy: the first command removes our modules too, the second restores them.
COMMANDS = ("pip uninstall sqlalchemy-collectd", reinstall_command())

#: One item once this process has looked.
_told: list[bool] = []


class Write(Protocol):
    """Logs a message."""

    def __call__(self, level: int, message: str, *arguments: object, error: BaseException | None = None) -> None:
        """As `poolhouse.safely.Log.log`."""


def legacy_version() -> str | None:
    """The version of sqlalchemy-collectd that is installed here; ``None`` if it is not.

    Raises:
        Exception: As `version_of`.
    """
    return version_of(EARLIER)


def advice(version: str) -> str:
    """The advice for a user who has this version of sqlalchemy-collectd installed.

    >>> print(advice("0.0.8"))
    sqlalchemy-collectd 0.0.8 is installed beside poolhouse and takes its place: run
        pip uninstall sqlalchemy-collectd
        pip install --force-reinstall --no-deps . in a checkout of poolhouse
    """
    commands = "".join(f"\n    {command}" for command in COMMANDS)
    return f"{EARLIER} {version} is installed beside poolhouse and takes its place: run{commands}"


def warn_once(write: Write) -> None:
    """Log the advice if it is needed, once per process; raises only what `write` raises."""
    if _told:
        return
    _told.append(True)
    try:
        version = legacy_version()
    except Exception as error:
        write(DEBUG, "poolhouse cannot read which packages are installed", error=error)
        return
    if version is not None:
        write(WARNING, "%s", advice(version))
