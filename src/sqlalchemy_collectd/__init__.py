"""Module names that existing collectd.conf files import; behind them is `poolhouse.collectd_plugin`."""
