"""``Import "sqlalchemy_collectd.server.plugin"``: collects reports, hands sums to collectd."""

import collectd  # pyright: ignore[reportMissingImports]  # Exists inside collectd only.

from poolhouse.clock import SystemClock
from poolhouse.collectd_plugin.server import ServerPlugin

plugin = ServerPlugin(collectd, SystemClock())  # pyright: ignore[reportArgumentType]
plugin.register()
