"""OpenTelemetry's nine metrics of connection pools, and three of processes, as in the semantic conventions 1.44.0.

Source: semantic conventions, ``docs/db/database-metrics.md``. All of them still have the status "development", so
their names are spelled only here. This module imports only `typing`, because applications import it too.
"""

from typing import Literal, NamedTuple

#: The schema URL, which tells readers the version of the conventions.
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

#: Attributes: the pool's name, and a connection's state.
POOL_NAME, STATE = "db.client.connection.pool.name", "db.client.connection.state"


class Metric(NamedTuple):
    """One metric of the convention."""

    name: str
    instrument: Literal["updowncounter", "counter", "histogram"]
    #: In UCUM: ``s``, or the counted thing in braces.
    unit: str
    description: str


COUNT = Metric(
    "db.client.connection.count",
    "updowncounter",
    "{connection}",
    "The number of connections that are currently in state described by the `state` attribute.",
)
IDLE_MAX = Metric(
    "db.client.connection.idle.max",
    "updowncounter",
    "{connection}",
    "The maximum number of idle open connections allowed.",
)
IDLE_MIN = Metric(
    "db.client.connection.idle.min",
    "updowncounter",
    "{connection}",
    "The minimum number of idle open connections allowed.",
)
MAX = Metric(
    "db.client.connection.max",
    "updowncounter",
    "{connection}",
    "The maximum number of open connections allowed.",
)
PENDING_REQUESTS = Metric(
    "db.client.connection.pending_requests",
    "updowncounter",
    "{request}",
    "The number of current pending requests for an open connection.",
)
TIMEOUTS = Metric(
    "db.client.connection.timeouts",
    "counter",
    "{timeout}",
    "The number of connection timeouts that have occurred trying to obtain a connection from the pool.",
)
CREATE_TIME = Metric(
    "db.client.connection.create_time", "histogram", "s", "The time it took to create a new connection."
)
WAIT_TIME = Metric(
    "db.client.connection.wait_time",
    "histogram",
    "s",
    "The time it took to obtain an open connection from the pool.",
)
USE_TIME = Metric(
    "db.client.connection.use_time",
    "histogram",
    "s",
    "The time between borrowing a connection and returning it to the pool.",
)

METRICS = (COUNT, IDLE_MAX, IDLE_MIN, MAX, PENDING_REQUESTS, TIMEOUTS, CREATE_TIME, WAIT_TIME, USE_TIME)

#: Metrics of a process; Prometheus has older names of its own for them.
PROCESS_CPU_TIME = Metric(
    "process.cpu.time", "counter", "s", "Total CPU seconds broken down by different CPU modes."
)
PROCESS_MEMORY_USAGE = Metric(
    "process.memory.usage", "updowncounter", "By", "The amount of physical memory in use."
)
PROCESS_FILE_DESCRIPTORS = Metric(
    "process.unix.file_descriptor.count",
    "updowncounter",
    "{file_descriptor}",
    "Number of UNIX file descriptors in use by the process.",
)


def prometheus_name(name: str, unit: str = "") -> str:
    """The Prometheus name of a metric or an attribute, without a counter's ``_total``.

    >>> prometheus_name("db.client.connection.idle.max", "{connection}"), prometheus_name("a.wait_time", "s")
    ('db_client_connection_idle_max', 'a_wait_time_seconds')
    """
    return name.replace(".", "_") + ("_seconds" if unit == "s" else "")
