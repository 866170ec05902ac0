"""PyPI's sqlalchemy-collectd, installed where collectd finds ours."""

from poolhouse.collectd_plugin.log import Log
from poolhouse.instrumentation.installation import COMMANDS, legacy_version


def warn_of_legacy(log: Log) -> None:
    """One line if it is there: its modules bear the same names, and whichever is installed last wins."""
    if version := legacy_version():
        commands = '" and then "'.join(COMMANDS)
        log.warning(f'sqlalchemy-collectd {version} is installed beside poolhouse: run "{commands}"')
