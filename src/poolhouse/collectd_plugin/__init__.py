"""The two plugins that collectd loads: server and connmon."""
