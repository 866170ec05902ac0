"""The Grafana dashboard, made from a short table of its panels.

    python tools/grafana_dashboard.py

writes ``src/poolhouse/export/grafana_dashboard.json`` anew.

Every query holds for one connmond and for several that tell the same fleet, and for rows of programs and of
programs on hosts: the largest of what several daemons tell of a row is taken, and rows of hosts are added up.
Quantiles are read from classic buckets, or else from native histograms.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[1] / "src" / "poolhouse" / "export" / "grafana_dashboard.json"

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: The rows that the variables choose; of daemons, only the job; of lines and verdicts, which no host has, no host.
ROWS = '{job=~"$job", service_name=~"$service_name", host_name=~"$host_name"}'
PROGRAMS = '{job=~"$job", service_name=~"$service_name"}'
DAEMONS = '{job=~"$job"}'
WIDTH = 24


def summed(value: str, *labels: str) -> str:
    """A number of each program, and of each value of further labels."""
    by = ", ".join(("service_name", *labels))
    return f"sum by ({by}) (max by (host_name, {by}) ({value}))"


def gauge(name: str, *labels: str, state: str = "") -> str:
    """A gauge of each program."""
    rows = ROWS if not state else ROWS.replace("{", f'{{db_client_connection_state="{state}", ')
    return summed(f"{name}{rows}", *labels)


def rate(name: str) -> str:
    """How much a counter grows a second, of each program."""
    return summed(f"rate({name}{ROWS}[$__rate_interval])")


def quantile(q: float, name: str) -> str:
    """A quantile of durations, of each program."""
    classic = summed(f"rate({name}_bucket{ROWS}[$__rate_interval])", "le")
    native = f"sum by (service_name) (rate({name}{ROWS}[$__rate_interval]))"
    return f"histogram_quantile({q}, {classic})\n  or\nhistogram_quantile({q}, {native})"


@dataclass(frozen=True)
class Panel:
    """One panel; its queries with their legends."""

    title: str
    description: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    width: int = 8
    height: int = 8
    kind: str = "timeseries"


def per_program(title: str, description: str, unit: str, query: str, **more: Any) -> Panel:
    """One line for each program."""
    return Panel(title, description, unit, ((query, "{{service_name}}"),), **more)


def durations(title: str, description: str, name: str) -> Panel:
    """Median and 99th percentile."""
    queries = ((quantile(0.99, name), "{{service_name}} p99"), (quantile(0.5, name), "{{service_name}} p50"))
    return Panel(title, description, "s", queries)


LINE = "{{service_name}} {{code_line}}"

#: Headings and their panels.
SECTIONS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "What is wrong",
        (
            Panel(
                "Verdicts",
                "What is wrong now: the cause, and the line of the application that is to blame. Empty if nothing "
                "is. `poolhouse explain CAUSE` says what to do.",
                "short",
                (
                    (
                        "max by (service_name, cause, severity, db_client_connection_pool_name, code_line) "
                        f"(poolhouse_verdict{PROGRAMS})",
                        "",
                    ),
                ),
                width=16,
                height=7,
                kind="table",
            ),
            per_program(
                "Saturated pools",
                "Pools that have every connection in use while callers wait.",
                "short",
                gauge("poolhouse_saturated_pools"),
                height=7,
            ),
        ),
    ),
    (
        "Connections",
        (
            per_program(
                "Active",
                "Connections in use.",
                "short",
                gauge("db_client_connection_count", state="used"),
            ),
            per_program(
                "Idle",
                "Connections that are open and not in use.",
                "short",
                gauge("db_client_connection_count", state="idle"),
            ),
            per_program(
                "Pending",
                "Callers that wait for a connection.",
                "short",
                gauge("db_client_connection_pending_requests"),
            ),
            per_program(
                "Active of the maximum",
                "The share of the connections that may be open which is in use. Empty where a pool has no limit.",
                "percentunit",
                f"{gauge('db_client_connection_count', state='used')}\n  /\n{gauge('db_client_connection_max')}",
            ),
            Panel(
                "Limits",
                "How many connections may be open, how many are kept while idle, and how many always.",
                "short",
                (
                    (gauge("db_client_connection_max"), "{{service_name}} max"),
                    (gauge("db_client_connection_idle_max"), "{{service_name}} idle max"),
                    (gauge("db_client_connection_idle_min"), "{{service_name}} idle min"),
                ),
            ),
            Panel(
                "Processes and pools",
                "Processes that report, and their pools.",
                "short",
                (
                    (gauge("poolhouse_processes"), "{{service_name}} processes"),
                    (gauge("poolhouse_pools"), "{{service_name}} pools"),
                ),
            ),
        ),
    ),
    (
        "Durations",
        (
            durations(
                "Acquire",
                "How long callers waited for a connection, those included that got none in time.",
                "db_client_connection_wait_time_seconds",
            ),
            durations(
                "Usage",
                "How long connections were in use, from borrowing to returning.",
                "db_client_connection_use_time_seconds",
            ),
            durations(
                "Creation",
                "How long it took to open a connection to the database.",
                "db_client_connection_create_time_seconds",
            ),
        ),
    ),
    (
        "Events",
        (
            per_program(
                "Acquired connections",
                "Connections handed out a second.",
                "ops",
                rate("poolhouse_checkouts_total"),
            ),
            Panel(
                "Timeouts and errors",
                "Callers a second that got no connection in time, or an error; and connects that failed.",
                "ops",
                (
                    (rate("db_client_connection_timeouts_total"), "{{service_name}} timeouts"),
                    (rate("poolhouse_acquire_errors_total"), "{{service_name}} errors"),
                    (rate("poolhouse_connect_errors_total"), "{{service_name}} failed connects"),
                ),
            ),
            Panel(
                "Connections created and closed",
                "Connections opened, closed, and declared unusable a second. If there are many, the pool keeps "
                "too few.",
                "ops",
                (
                    (rate("poolhouse_connects_total"), "{{service_name}} created"),
                    (rate("poolhouse_disconnects_total"), "{{service_name}} closed"),
                    (rate("poolhouse_invalidated_total"), "{{service_name}} unusable"),
                ),
            ),
        ),
    ),
    (
        "Lines of the application",
        (
            Panel(
                "Active by line",
                "Connections that each line of the application holds; five lines of each program at most.",
                "short",
                ((f"max by (service_name, code_line) (poolhouse_line_open_connections{PROGRAMS})", LINE),),
            ),
            Panel(
                "Oldest by line",
                "For how long each line has held its oldest connection.",
                "s",
                ((f"max by (service_name, code_line) (poolhouse_line_oldest_seconds{PROGRAMS})", LINE),),
            ),
            Panel(
                "Connections used by line",
                "Connection-seconds a second of each line: the connections that it has in use on average.",
                "short",
                (
                    (
                        "max by (service_name, code_line) "
                        f"(rate(poolhouse_line_connection_seconds_total{PROGRAMS}[$__rate_interval]))",
                        LINE,
                    ),
                ),
            ),
        ),
    ),
    (
        "connmond",
        (
            Panel(
                "Reports lost",
                "The share of the processes' datagrams that never arrived.",
                "percentunit",
                (
                    (
                        f"rate(poolhouse_datagrams_lost_total{DAEMONS}[$__rate_interval])\n  /\n"
                        f"rate(poolhouse_datagrams_expected_total{DAEMONS}[$__rate_interval])",
                        "{{instance}}",
                    ),
                ),
            ),
            Panel(
                "CPU and scrapes",
                "The share of a core that connmond takes, and the time that it takes to answer Prometheus.",
                "s",
                (
                    (f"rate(process_cpu_seconds_total{DAEMONS}[$__rate_interval])", "{{instance}} CPU a second"),
                    (f"poolhouse_scrape_duration_seconds{DAEMONS}", "{{instance}} scrape"),
                ),
            ),
            Panel(
                "Memory",
                "What the fleet takes of connmond's memory, and how much it may take.",
                "bytes",
                (
                    (f"poolhouse_fleet_memory_bytes{DAEMONS}", "{{instance}} used"),
                    (f"poolhouse_fleet_memory_limit_bytes{DAEMONS}", "{{instance}} limit"),
                ),
            ),
        ),
    ),
)


def variable(name: str, label: str, query: str, every: str) -> dict[str, Any]:
    """A variable with several values, which a query finds."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": every,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "hide": 0,
        "regex": "",
        "skipUrlSync": False,
    }


VARIABLES: tuple[dict[str, Any], ...] = (
    {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "current": {},
        "options": [],
        "multi": False,
        "includeAll": False,
        "refresh": 1,
        "hide": 0,
        "regex": "",
        "skipUrlSync": False,
    },
    variable("job", "Job", "label_values(db_client_connection_count, job)", ".+"),
    variable(
        "service_name", "Program", 'label_values(db_client_connection_count{job=~"$job"}, service_name)', ".+"
    ),
    # Rows of whole programs have no host: "All" is for them, too.
    variable(
        "host_name",
        "Host",
        'label_values(db_client_connection_count{job=~"$job", service_name=~"$service_name"}, host_name)',
        ".*",
    ),
)

_LINES = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 5, "showPoints": "never", "spanNulls": False}


def panel_json(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    """A panel at its place."""
    is_table = panel.kind == "table"
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": query,
            "legendFormat": legend,
            **({"format": "table", "instant": True, "range": False} if is_table else {"range": True}),
        }
        for place, (query, legend) in enumerate(panel.queries)
    ]
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": {} if is_table else _LINES}, "overrides": []},
    }
    if not is_table:
        made["fieldConfig"]["defaults"]["min"] = 0
        made["options"] = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
        return made
    made["options"] = {"showHeader": True, "cellHeight": "sm"}
    made["transformations"] = [
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True, "Value": True},
                "indexByName": {
                    "service_name": 0,
                    "cause": 1,
                    "severity": 2,
                    "code_line": 3,
                    "db_client_connection_pool_name": 4,
                },
                "renameByName": {
                    "service_name": "Program",
                    "cause": "Cause",
                    "severity": "Severity",
                    "code_line": "Line",
                    "db_client_connection_pool_name": "Pool",
                },
            },
        }
    ]
    return made


def dashboard() -> dict[str, Any]:
    """The whole dashboard."""
    panels: list[dict[str, Any]] = []
    y = 0
    for heading, several in SECTIONS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": heading,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
                "panels": [],
            }
        )
        y += 1
        x = 0
        for panel in several:
            if x + panel.width > WIDTH:
                x, y = 0, y + panel.height
            panels.append(panel_json(panel, len(panels) + 1, x, y))
            x += panel.width
        y += several[-1].height
    return {
        "uid": "poolhouse",
        "title": "Connection pools",
        "description": "The database connection pools of every program that reports to connmond.",
        "tags": ["poolhouse", "database"],
        "schemaVersion": 38,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "timezone": "browser",
        "templating": {"list": list(VARIABLES)},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }


def text() -> str:
    """The file's text."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
