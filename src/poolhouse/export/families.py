"""The metrics for Prometheus: their names, types, units, descriptions and sources, in one table.

OpenTelemetry's nine metrics of connection pools come first, under the names that Prometheus gives them: dots
become underscores, the unit ``s`` becomes ``_seconds``, a counter ends in ``_total``. Names and descriptions are
those of the semantic conventions 1.44.0. Then come poolhouse's own metrics: more counters, the lines that hold
connections, and the verdicts. The daemon's own health is last.
``docs/reference/prometheus.md`` is made from this table.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from poolhouse.clean import clean
from poolhouse.export.convention import (
    COUNT,
    CREATE_TIME,
    IDLE_MAX,
    IDLE_MIN,
    MAX,
    PENDING_REQUESTS,
    POOL_NAME,
    STATE,
    TIMEOUTS,
    USE_TIME,
    WAIT_TIME,
    Metric,
    prometheus_name,
)
from poolhouse.fleet.distribution import Distribution
from poolhouse.fleet.holders import Line
from poolhouse.fleet.rows import Counted
from poolhouse.fleet.snapshot import Health, Row
from poolhouse.meter.reading import PerCounter
from poolhouse.verdicts.verdict import Verdict

Kind = Literal["gauge", "counter", "histogram"]
#: Labels as written in the exposition, and the value; ``None`` if it is not known.
Value = tuple[str, float | None]


class Figures(NamedTuple):
    """The daemon's own figures."""

    version: str
    health: Health
    #: Seconds that the previous answer took to make; ``None`` if there was none.
    scrape_seconds: float | None = None
    #: What each listener besides that of reports has refused, by listener and reason.
    refusals: Mapping[str, Mapping[str, int]] = {}
    #: These four describe the daemon's process; ``None`` if the system does not say.
    cpu_seconds: float | None = None
    start_time: float | None = None
    resident_bytes: int | None = None
    open_files: int | None = None
    #: Pushes of metrics to OpenTelemetry's collector that failed.
    failed_pushes: int = 0


class RowNumber(NamedTuple):
    """A number of each program: a gauge or a counter."""

    name: str
    kind: Kind
    unit: str
    description: str
    #: Labels besides the row's, as written in the exposition, and how to get the value.
    sources: tuple[tuple[str, Callable[[Row], float | None]], ...]
    #: Whether it is a figure of pools, with their name as a label.
    of_pools: bool = True
    #: The convention's metric; ``None`` for one of ours.
    of: Metric | None = None


class RowTimes(NamedTuple):
    """Durations of each program: a histogram in seconds."""

    name: str
    description: str
    source: Callable[[Counted], Distribution | None]
    kind: Kind = "histogram"
    unit: str = "seconds"
    of_pools: bool = True
    of: Metric | None = None


class LineNumber(NamedTuple):
    """A number of each line of code that holds connections."""

    name: str
    kind: Kind
    unit: str
    description: str
    source: Callable[[Line], float]


class VerdictNumber(NamedTuple):
    """A number of each current verdict."""

    name: str
    kind: Kind
    unit: str
    description: str
    source: Callable[[Verdict], float]


class OwnNumber(NamedTuple):
    """A figure of the daemon."""

    name: str
    kind: Kind
    unit: str
    description: str
    source: Callable[[Figures], Iterable[Value]]


#: Names of labels: those that Prometheus makes of OpenTelemetry's attributes.
SERVICE_LABEL, HOST_LABEL = "service_name", "host_name"
POOL_LABEL, STATE_LABEL = prometheus_name(POOL_NAME), prometheus_name(STATE)
#: A line of the application; a verdict's name and severity.
LINE_LABEL, CAUSE_LABEL, SEVERITY_LABEL = "code_line", "cause", "severity"
#: The label for the sum of pools with different names.
ALL_POOLS = "all"


def pools_name(counted: Counted) -> str:
    """The name of a row's pools for labels and attributes."""
    return ALL_POOLS if counted.pool is None else clean(counted.pool)


def _state(name: str) -> str:
    return f'{STATE_LABEL}="{name}"'


def _number(metric: Metric, *sources: tuple[str, Callable[[Row], float | None]]) -> RowNumber:
    kind: Kind = "counter" if metric.instrument == "counter" else "gauge"
    return RowNumber(prometheus_name(metric.name), kind, "", metric.description, sources, of=metric)


def _times(metric: Metric, source: Callable[[Counted], Distribution | None]) -> RowTimes:
    return RowTimes(prometheus_name(metric.name, metric.unit), metric.description, source, of=metric)


CONVENTION: tuple[RowNumber | RowTimes, ...] = (
    _number(
        COUNT,
        (_state("idle"), lambda row: row.idle),
        (_state("used"), lambda row: row.used),
        (_state("detached"), lambda row: row.detached),
    ),
    _number(IDLE_MAX, ("", lambda row: row.max_idle)),
    _number(IDLE_MIN, ("", lambda row: row.min_idle)),
    _number(MAX, ("", lambda row: row.max_open)),
    _number(PENDING_REQUESTS, ("", lambda row: row.waiting)),
    _number(TIMEOUTS, ("", lambda row: row.totals.timeouts)),
    _times(CREATE_TIME, lambda counted: counted.create),
    _times(WAIT_TIME, lambda counted: counted.wait),
    _times(USE_TIME, lambda counted: counted.use),
)

#: The descriptions of counters that are not in the conventions.
_COUNTERS = {
    "checkouts": "Connections handed out.",
    "connects": "Connections opened to the database.",
    "disconnects": "Connections closed, by whichever side.",
    "invalidated": "Connections that were declared unusable.",
    "commits": "Transactions ended by a commit.",
    "rollbacks": "Transactions ended by a rollback.",
    "transactions": "Transactions ended, by a commit or a rollback.",
    "acquire_errors": "Callers that got an error other than a timeout instead of a connection.",
    "connect_errors": "Attempts to connect to the database that failed.",
}


def _counter(place: int, name: str) -> RowNumber:
    description = _COUNTERS.get(name, f"Events counted as {name}.")
    return RowNumber(f"poolhouse_{name}", "counter", "", description, (("", lambda row: row.totals[place]),))


BEYOND: tuple[RowNumber, ...] = (
    *(_counter(place, name) for place, name in enumerate(PerCounter._fields) if name != "timeouts"),
    RowNumber(
        "poolhouse_processes", "gauge", "", "Processes that report.", (("", lambda row: row.processes),), False
    ),
    RowNumber("poolhouse_pools", "gauge", "", "Pools of these processes.", (("", lambda row: row.pools),), False),
    RowNumber(
        "poolhouse_full_pools",
        "gauge",
        "",
        "Pools with every connection that they may have in use.",
        (("", lambda row: row.full_pools),),
        False,
    ),
    RowNumber(
        "poolhouse_saturated_pools",
        "gauge",
        "",
        "Full pools whose callers wait for a connection.",
        (("", lambda row: row.saturated_pools),),
        False,
    ),
    RowNumber(
        "poolhouse_report_age_seconds",
        "gauge",
        "seconds",
        "Seconds since the newest report.",
        (("", lambda row: row.age),),
        False,
    ),
)

ROW_FAMILIES: tuple[RowNumber | RowTimes, ...] = (*CONVENTION, *BEYOND)

LINES: tuple[LineNumber, ...] = (
    LineNumber(
        "poolhouse_line_open_connections",
        "gauge",
        "",
        "Connections that a line of the application holds.",
        lambda line: line.open,
    ),
    LineNumber(
        "poolhouse_line_oldest_seconds",
        "gauge",
        "seconds",
        "How long the line has held its oldest connection; 0 if it holds none.",
        lambda line: line.oldest_s,
    ),
    LineNumber(
        "poolhouse_line_connection_seconds",
        "counter",
        "seconds",
        "The sum of all holds of the line, including current ones.",
        lambda line: line.held_s,
    ),
)

VERDICTS: tuple[VerdictNumber, ...] = (
    VerdictNumber(
        "poolhouse_verdict",
        "gauge",
        "",
        "What is wrong: 1 for each verdict that stands.",
        lambda verdict: 1,
    ),
    VerdictNumber(
        "poolhouse_verdict_start_time_seconds",
        "gauge",
        "seconds",
        "When the verdict began, in seconds since the Unix epoch.",
        lambda verdict: verdict.since,
    ),
)


def _by_reason(own: Figures, listener: str) -> Iterable[Value]:
    refusals = own.refusals.get(listener, {})
    return ((f'reason="{escaped(reason)}"', count) for reason, count in refusals.items())


OWN: tuple[OwnNumber, ...] = (
    OwnNumber(
        "poolhouse_build_info",
        "gauge",
        "",
        "The version of connmond; the value is 1.",
        lambda own: ((f'version="{escaped(own.version)}"', 1),),
    ),
    OwnNumber(
        "poolhouse_datagrams_received",
        "counter",
        "",
        "Datagrams of reports that arrived.",
        lambda own: (("", own.health.received),),
    ),
    OwnNumber(
        "poolhouse_datagrams_refused",
        "counter",
        "",
        "Datagrams that arrived and were malformed, or over a limit.",
        lambda own: (("", own.health.refused),),
    ),
    OwnNumber(
        "poolhouse_refusals",
        "counter",
        "",
        "Datagrams that were refused in whole or in part, by reason.",
        lambda own: ((f'reason="{escaped(reason)}"', count) for reason, count in own.health.refusals),
    ),
    OwnNumber(
        "poolhouse_old_password_datagrams",
        "counter",
        "",
        "Datagrams that a user sealed with an old password.",
        lambda own: (
            (f'user="{escaped(user.name)}"', user.received_old) for user in own.health.users if user.received_old
        ),
    ),
    OwnNumber(
        "poolhouse_datagrams_expected",
        "counter",
        "",
        "Datagrams that should have arrived, according to their senders' numbers.",
        lambda own: (("", own.health.expected),),
    ),
    OwnNumber(
        "poolhouse_datagrams_lost",
        "counter",
        "",
        "Datagrams that never arrived, according to their senders' numbers.",
        lambda own: (("", own.health.lost),),
    ),
    OwnNumber(
        "poolhouse_datagrams_dropped",
        "counter",
        "",
        "Datagrams that the kernel dropped because the socket's buffer was full; they are among the lost ones.",
        lambda own: (("", own.health.dropped),),
    ),
    OwnNumber(
        "poolhouse_over_limit",
        "counter",
        "",
        "Refusals because a limit was reached, by limit.",
        lambda own: ((f'limit="{escaped(name)}"', count) for name, count in own.health.over_limit),
    ),
    OwnNumber(
        "poolhouse_csv_writes_failed",
        "counter",
        "",
        "Writes of the CSV file that failed.",
        lambda own: (("", own.health.unwritten),),
    ),
    OwnNumber(
        "poolhouse_http_refused",
        "counter",
        "",
        "Connections and requests over HTTP that were refused, or closed to make room, by reason.",
        lambda own: _by_reason(own, "http"),
    ),
    OwnNumber(
        "poolhouse_clients_refused",
        "counter",
        "",
        "Connections to the TCP port that were refused or closed, by reason.",
        lambda own: _by_reason(own, "clients"),
    ),
    OwnNumber(
        "poolhouse_consoles_refused",
        "counter",
        "",
        "Datagrams of consoles that were refused, by reason.",
        lambda own: _by_reason(own, "consoles"),
    ),
    OwnNumber(
        "poolhouse_otlp_pushes_failed",
        "counter",
        "",
        "Pushes of metrics to OpenTelemetry's collector that failed.",
        lambda own: (("", own.failed_pushes),),
    ),
    OwnNumber(
        "poolhouse_fleet_memory_bytes",
        "gauge",
        "bytes",
        "Approximate memory that the fleet's state takes.",
        lambda own: (("", own.health.bytes),),
    ),
    OwnNumber(
        "poolhouse_fleet_memory_limit_bytes",
        "gauge",
        "bytes",
        "The most memory that the fleet's state may take.",
        lambda own: (("", own.health.bytes_limit),),
    ),
    OwnNumber(
        "poolhouse_node_missing_seconds",
        "gauge",
        "seconds",
        "How long another node of the service has been missing; 0 while it is linked.",
        lambda own: (
            (f'node="{escaped(node.name)}"', node.missing_for or 0)
            for node in own.health.nodes
            if not node.is_here
        ),
    ),
    OwnNumber(
        "poolhouse_scrape_duration_seconds",
        "gauge",
        "seconds",
        "How long it took to make the previous answer.",
        lambda own: (("", own.scrape_seconds),),
    ),
    OwnNumber(
        "process_cpu_seconds",
        "counter",
        "seconds",
        "Total user and system CPU time spent in seconds.",
        lambda own: (("", own.cpu_seconds),),
    ),
    OwnNumber(
        "process_resident_memory_bytes",
        "gauge",
        "bytes",
        "Resident memory size in bytes.",
        lambda own: (("", own.resident_bytes),),
    ),
    OwnNumber(
        "process_open_fds",
        "gauge",
        "",
        "Number of open file descriptors.",
        lambda own: (("", own.open_files),),
    ),
    OwnNumber(
        "process_start_time_seconds",
        "gauge",
        "seconds",
        "Start time of the process since unix epoch in seconds.",
        lambda own: (("", own.start_time),),
    ),
)

Family = RowNumber | RowTimes | LineNumber | VerdictNumber | OwnNumber
FAMILIES: tuple[Family, ...] = (*ROW_FAMILIES, *LINES, *VERDICTS, *OWN)


def sample_name(family: Family) -> str:
    """The name to use in a query; for a histogram, ``_bucket`` is appended to it."""
    return f"{family.name}_total" if family.kind == "counter" else family.name


def escaped(value: str) -> str:
    r"""A label's value, escaped for the quotes around it.

    >>> print(escaped('a"b\\c'))
    a\"b\\c
    """
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
