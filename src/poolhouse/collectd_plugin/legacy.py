"""Detects PyPI's sqlalchemy-collectd beside poolhouse."""

from poolhouse.collectd_plugin.log import Log
from poolhouse.earlier import COMMANDS, legacy_version


def warn_of_legacy(log: Log) -> None:
    """Log one warning if it is installed: both have modules of the same names, and the last one installed wins."""
    if version := legacy_version():
        commands = '" and then "'.join(COMMANDS)
        log.warning(f'sqlalchemy-collectd {version} is installed beside poolhouse: run "{commands}"')
