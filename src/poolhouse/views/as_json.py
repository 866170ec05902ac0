"""The snapshot as JSON: raw numbers, with units in the keys' names; ``null`` where something is not known."""

import json
from math import isfinite
from typing import Any

from poolhouse.clean import clean
from poolhouse.fleet.snapshot import Event, Health, Peaks, PoolRow, ProcessRow, Rates, Row, Snapshot, Times, Totals
from poolhouse.meter.histogram import Histogram
from poolhouse.views.standing import is_saturated

_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))


def json_text(snapshot: Snapshot) -> str:
    """The snapshot as indented JSON: in ASCII, without NaN, with names as the window shows them (`clean`)."""
    return json.dumps(_shown(as_json(snapshot)), indent=2, allow_nan=False) + "\n"


def json_line(snapshot: Snapshot) -> str:
    """The same in one line."""
    return json.dumps(_shown(as_json(snapshot)), allow_nan=False, separators=(",", ":")) + "\n"


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as dictionaries and lists."""
    return {
        "wall_time_seconds": snapshot.wall_time,
        "is_saturated": is_saturated(snapshot),
        "fleet": _row(snapshot.fleet),
        "programs": [_row(row) for row in snapshot.programs],
        "hosts": [_row(row) for row in snapshot.hosts],
        "processes": [_process(process) for process in snapshot.processes],
        "events": [_event(event) for event in snapshot.events],
        "aggregator": _health(snapshot.health),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "processes": row.processes,
        "pools": row.pools,
        "full_pools": row.full_pools,
        "saturated_pools": row.saturated_pools,
        "used_connections": row.used,
        "idle_connections": row.idle,
        "detached_connections": row.detached,
        "connections": row.connections,
        "waiting_callers": row.waiting,
        "is_upper_bound": row.is_bound,
        "max_open_connections": row.max_open,
        "max_idle_connections": row.max_idle,
        "min_idle_connections": row.min_idle,
        **_peaks("interval_peak", row.interval_peaks),
        **_peaks("peak", row.peaks),
        "peak_interval_checkouts": row.peaks.checkouts,
        "interval_checkouts": row.interval_checkouts,
        **_counts(row.totals, row.rates),
        **_times(row.recent),
        "age_seconds": row.age,
        "interval_seconds": row.interval,
        "is_late": row.is_stale,
    }


def _process(process: ProcessRow) -> dict[str, Any]:
    return {
        "host": process.host,
        "program": process.program,
        "token": process.token,
        "uptime_seconds": process.uptime,
        "lost_datagrams": process.lost,
        "sums": _row(process.sums),
        "pools": [_pool(pool) for pool in process.pools],
    }


def _pool(pool: PoolRow) -> dict[str, Any]:
    reading = pool.reading
    peak = reading.peak if reading.marks else None  # A pool that tells no marks has unknown ones.
    return {
        "key": reading.key,
        "name": reading.name,
        "kind": reading.kind,
        "pools": reading.pools,
        "used_connections": reading.gauges.used,
        "idle_connections": reading.gauges.idle,
        "detached_connections": reading.gauges.detached,
        "connections": reading.gauges.connections,
        "waiting_callers": reading.gauges.waiting,
        "is_upper_bound": reading.is_bound,
        "max_open_connections": reading.limits.max_open,
        "max_idle_connections": reading.limits.max_idle,
        "min_idle_connections": reading.limits.min_idle,
        "peak_used_connections": None if peak is None else peak.used,
        "peak_connections": None if peak is None else peak.connections,
        "peak_waiting_callers": None if peak is None else peak.waiting,
        **_counts(Totals(*reading.counters), pool.rates),
        **_times(pool.recent),
    }


def _peaks(prefix: str, peaks: Peaks) -> dict[str, Any]:
    return {
        f"{prefix}_processes": peaks.processes,
        f"{prefix}_used_connections": peaks.used,
        f"{prefix}_used_connections_bound": peaks.used_bound,
        f"{prefix}_connections": peaks.connections,
        f"{prefix}_waiting_callers": peaks.waiting,
    }


def _counts(totals: Totals, rates: Rates) -> dict[str, Any]:
    return {
        **{f"{name}_total": value for name, value in totals._asdict().items()},
        **{f"{name}_per_second": value for name, value in rates._asdict().items()},
    }


def _times(times: Times) -> dict[str, Any]:
    """Quantiles of the last minute: ``wait_seconds_p99`` and the like."""
    return {
        key: value
        for name, histogram in times._asdict().items()
        for key, value in _distribution(f"{name}_seconds", histogram).items()
    }


def _distribution(name: str, times: Histogram | None) -> dict[str, Any]:
    longest = times.max_ns / 1e9 if times is not None and times.max_ns else None
    return {**{f"{name}_{quantile}": _nanoseconds(times, q) for quantile, q in _QUANTILES}, f"{name}_max": longest}


def _nanoseconds(times: Histogram | None, q: float) -> float | None:
    """A quantile in seconds, to the nanosecond: more digits than that mean nothing."""
    seconds = times.quantile(q) if times is not None else None
    return round(seconds, 9) if seconds is not None else None


def _event(event: Event) -> dict[str, Any]:
    return {
        "wall_time_seconds": event.wall_time,
        "kind": event.kind,
        "host": event.host,
        "program": event.program,
        "text": event.text,
    }


def _health(health: Health) -> dict[str, Any]:
    return {
        "received_datagrams": health.received,
        "refused_datagrams": health.refused,
        "lost_datagrams": health.lost,
        "expected_datagrams": health.expected,
        "uptime_seconds": health.uptime,
        "over_limit": dict(health.over_limit),
        "memory_bytes": health.bytes,
        "memory_limit_bytes": health.bytes_limit,
        "kernel_dropped_datagrams": health.dropped,
        "failed_csv_writes": health.unwritten,
        "nodes": [
            {"name": node.name, "is_here": node.is_here, "missing_seconds": node.missing_for}
            for node in health.nodes
        ],
    }


def _shown(value: Any) -> Any:
    """The value with clean texts, and with ``None`` for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {clean(key): _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    if isinstance(value, str):
        return clean(value)
    return None if isinstance(value, float) and not isfinite(value) else value
