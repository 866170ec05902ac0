"""Values that several parts of poolhouse must agree on: ports, environment variables, and what silence means."""

#: The aggregator's UDP port for reports; one higher than the port of collectd's own network plugin.
REPORTS_PORT = 25827
#: The aggregator's UDP port for consoles.
CONSOLES_PORT = 25828
#: The aggregator's TCP port for HTTP.
HTTP_PORT = 25829
#: The TCP port of a service's nodes: connmon's documentation, its built-in configuration and its ``--host``.
SERVICE_PORT = 5800
#: The TCP port of a node for which a configuration file names none.
UNNAMED_SERVICE_PORT = 5084

#: The environment variable that holds a destination's URL.
REPORT_VARIABLE = "POOLHOUSE_REPORT"
#: The environment variable that names further packages between the application and its pools.
SKIP_VARIABLE = "POOLHOUSE_SKIP"

#: Seconds between two reports of a process.
REPORT_INTERVAL = 2.0
#: Seconds between two snapshots for a console.
SNAPSHOT_INTERVAL = 1.0
#: A row is stale after this many intervals without a report; a row without processes disappears after as many.
STALE_INTERVALS = 2
GONE_INTERVALS = 5
