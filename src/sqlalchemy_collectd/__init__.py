"""The module names that existing collectd.conf files import; they hand over to poolhouse."""
