"""``Import "sqlalchemy_collectd.connmon.plugin"``: shows consoles what collectd writes."""

import sys

import collectd  # pyright: ignore[reportMissingImports]  # Exists inside collectd only.

from poolhouse.clock import SystemClock
from poolhouse.collectd_plugin.connmon import ConnmonPlugin
from poolhouse.collectd_plugin.server import ServerPlugin


def _server() -> ServerPlugin | None:
    """The server plugin, if collectd.conf imports it too."""
    module = sys.modules.get("sqlalchemy_collectd.server.plugin")
    return None if module is None else module.plugin


plugin = ConnmonPlugin(collectd, _server, SystemClock())  # pyright: ignore[reportArgumentType]
plugin.register()
