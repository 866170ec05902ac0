"""Whether PyPI's sqlalchemy-collectd is installed beside poolhouse, and what to do about it.

Both install a package ``sqlalchemy_collectd`` and a SQLAlchemy plugin ``collectd``. Whichever was installed last
has overwritten the other's modules, removing it deletes them, and SQLAlchemy may load either plugin.
"""

import logging
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions

logger = logging.getLogger("poolhouse.instrumentation")

EARLIER = "sqlalchemy-collectd"
#: What puts it right: the first takes our modules away too, the second brings them back.
COMMANDS = ("pip uninstall sqlalchemy-collectd", "pip install --force-reinstall --no-deps poolhouse")

_told: list[bool] = []


def earlier_version(installed: Iterable[Distribution] | None = None) -> str | None:
    """The version of sqlalchemy-collectd that is installed here; ``None`` if it is not.

    Args:
        installed: Distributions to look through; by default those of this interpreter.
    """
    for distribution in distributions(name=EARLIER) if installed is None else installed:
        # A folder that a broken removal left behind has no metadata.
        name = distribution.metadata["Name"] if distribution.metadata else None
        if name and name.lower().replace("_", "-").replace(".", "-") == EARLIER:
            return distribution.version
    return None


def advice(version: str) -> str:
    """What to tell whoever has this version of sqlalchemy-collectd installed.

    >>> print(advice("0.0.8"))
    sqlalchemy-collectd 0.0.8 is installed beside poolhouse and takes its place: run
        pip uninstall sqlalchemy-collectd
        pip install --force-reinstall --no-deps poolhouse
    """
    commands = "".join(f"\n    {command}" for command in COMMANDS)
    return f"{EARLIER} {version} is installed beside poolhouse and takes its place: run{commands}"


def warn_once() -> None:
    """Log the advice if it is needed, once in this process; never raises."""
    if _told:
        return
    _told.append(True)
    try:
        version = earlier_version()
    except Exception:
        logger.debug("the installed packages could not be looked at", exc_info=True)
        return
    if version is not None:
        logger.warning("%s", advice(version))
