"""The snapshot as JSON: raw numbers, with units in the keys' names; ``null`` for what is not known."""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import isfinite
from typing import Any

from poolhouse.clean import clean
from poolhouse.fleet.snapshot import (
    Event,
    Health,
    Holder,
    Peaks,
    PoolRow,
    ProcessRow,
    Rates,
    Row,
    Snapshot,
    Times,
    Totals,
    UserState,
)
from poolhouse.fleet.state import FleetState
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import Looks, PoolSigns, ProcessSigns, SiteReading
from poolhouse.verdicts.verdict import Verdict
from poolhouse.verdicts.words import sentence
from poolhouse.views.bars import quantile_values
from poolhouse.views.holder_table import busy_share
from poolhouse.views.sheet_data import compact
from poolhouse.views.standing import is_row_saturated, is_saturated

#: The keys of counts and their rates, and of the counts of looks at holders.
_TOTALS = tuple(f"{name}_total" for name in Totals._fields)
_RATES = tuple(f"{name}_per_second" for name in Rates._fields)
_LOOKS = tuple(f"looks_{state}_total" for state in Looks._fields)


def json_text(snapshot: Snapshot) -> str:
    """The snapshot as indented JSON: in ASCII, without NaN, with names as the window shows them (`clean`)."""
    return json.dumps(_shown(as_json(snapshot)), indent=2, allow_nan=False) + "\n"


def json_line(snapshot: Snapshot) -> str:
    """The same on one line."""
    return "".join(json_pieces(snapshot))


def json_pieces(snapshot: Snapshot) -> Iterator[str]:
    """`json_line` in one piece per row, so that the work for a large fleet can be spread out."""
    return _pieces(_parts(snapshot))


def state_pieces(
    state: FleetState, processes: Iterable[ProcessRow | None], holders: Iterable[Holder | None]
) -> Iterator[str]:
    """The same from a fleet's sums, whose rows are made one at a time and not kept.

    Args:
        state: The sums.
        processes: The processes of the requested program; ``None`` between them gives an empty piece.
        holders: The lines that hold connections, in the same way.
    """
    is_saturated = False
    for one in (*state.programs, *state.hosts):
        is_saturated = is_saturated or is_row_saturated(one.counted().row)
        yield ""
    parts = _all_parts(
        state.wall_time,
        is_saturated,
        state.fleet.row(with_since_start=False),
        (one.row(with_since_start=False) for one in state.programs),
        (one.row(with_since_start=False) for one in state.hosts),
        processes,
        holders,
        state.verdicts,
        state.events,
        state.health,
    )
    yield from _pieces(parts)


def _pieces(parts: dict[str, Any]) -> Iterator[str]:
    for number, (key, value) in enumerate(parts.items()):
        yield f"{',' if number else '{'}{_compact(key)}:"
        if isinstance(value, map):
            yield "["
            comma = ""
            for item in value:
                yield comma + _compact(item) if item is not None else ""
                comma = comma if item is None else ","
            yield "]"
        else:
            yield _compact(value)
    yield "}\n"


def _compact(value: object) -> str:
    return compact(_shown(value))


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as dictionaries and lists."""
    return {key: list(value) if isinstance(value, map) else value for key, value in _parts(snapshot).items()}


def _parts(snapshot: Snapshot) -> dict[str, Any]:
    return _all_parts(
        snapshot.wall_time,
        is_saturated(snapshot),
        snapshot.fleet,
        snapshot.programs,
        snapshot.hosts,
        snapshot.processes,
        snapshot.holders,
        snapshot.verdicts,
        snapshot.events,
        snapshot.health,
    )


def _all_parts(
    wall_time: float,
    is_saturated: bool,
    fleet: Row,
    programs: Iterable[Row],
    hosts: Iterable[Row],
    processes: Iterable[ProcessRow | None],
    holders: Iterable[Holder | None],
    verdicts: Iterable[Verdict],
    events: Iterable[Event],
    health: Health,
) -> dict[str, Any]:
    """All parts; rows of many things are made only when they are read."""
    return {
        "wall_time_seconds": wall_time,
        "is_saturated": is_saturated,
        "fleet": _row(fleet),
        "programs": map(_row, programs),
        "hosts": map(_row, hosts),
        "processes": map(_process, processes),
        "holders": map(_holder, holders),
        "verdicts": map(verdict_json, verdicts),
        "events": map(_event, events),
        "aggregator": _health(health),
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


def _process(process: ProcessRow | None) -> dict[str, Any] | None:
    return (
        None
        if process is None
        else {
            "host": process.host,
            "program": process.program,
            "token": process.token,
            "uptime_seconds": process.uptime,
            "lost_datagrams": process.lost,
            "user": process.user or None,
            "uses_old_password": process.uses_old_password,
            "sums": _row(process.sums),
            "pools": [_pool(pool) for pool in process.pools],
            "signs": None if process.signs is None else _process_signs(process.signs),
        }
    )


def _process_signs(signs: ProcessSigns) -> dict[str, Any]:
    return {
        "looks": signs.looks,
        "late_looks": signs.late_looks,
        "loop_stalled_seconds": signs.stalled_s,
        "loop_longest_stall_seconds": signs.longest_stall_s,
        "loop_stall_line": signs.stall_line or None,
        "fork_line": signs.fork_line or None,
        "pools_made": signs.pools_made,
    }


def _holder(holder: Holder | None) -> dict[str, Any] | None:
    return (
        None
        if holder is None
        else {"program": holder.program, "processes": holder.processes, **_site(holder.site)}
    )


def _site(site: SiteReading) -> dict[str, Any]:
    return {
        "site": site.site,
        "open_connections": site.open,
        "oldest_seconds": site.oldest_s,
        "returned_total": site.returned,
        "collected_total": site.collected,
        "connection_seconds_total": site.held_s,
        "waited_seconds_total": site.waited_s,
        **dict(zip(_LOOKS, site.looks, strict=True)),
        "busy_share": busy_share(site.looks),
        "idle_line": site.idle_line or None,
        **_distribution("use_seconds", site.use),
    }


def _pool_signs(signs: PoolSigns | None) -> dict[str, Any]:
    if signs is None:
        return {"target": None, "made_at": None, "failed_connects": None, "holders": []}
    return {
        "target": signs.target or None,
        "made_at": signs.made_at or None,
        "looks": signs.looks,
        "looks_with_waiting_callers": signs.looks_waiting,
        "failed_connects": signs.connect_errors._asdict(),
        "inherited_connections_used": signs.inherited,
        "dead_connections_used": signs.dead,
        "holders": [_site(site) for site in signs.sites],
    }


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as dictionaries and lists; ``None`` for absent names."""
    return {
        "cause": verdict.cause,
        "severity": verdict.severity,
        "since": verdict.since,
        "program": verdict.program,
        "hosts": list(verdict.hosts),
        "processes": list(verdict.processes),
        "pool": verdict.pool or None,
        "target": verdict.target or None,
        "culprit": None if verdict.culprit is None else verdict.culprit._asdict(),
        "evidence": dict(verdict.evidence),
        "text": sentence(verdict),
        "do": verdict.do,
        "disprove": verdict.disprove,
    }


def _pool(pool: PoolRow) -> dict[str, Any]:
    reading = pool.reading
    peak = reading.peak if reading.marks else None  # The marks of a pool that sends none are unknown.
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
        **_pool_signs(reading.signs),
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
    return {**dict(zip(_TOTALS, totals, strict=True)), **dict(zip(_RATES, rates, strict=True))}


def _times(times: Times) -> dict[str, Any]:
    """Quantiles of the last minute: ``wait_seconds_p99`` and so on."""
    return {
        **_distribution("wait_seconds", times.wait),
        **_distribution("use_seconds", times.use),
        **_distribution("create_seconds", times.create),
    }


def _distribution(name: str, times: Histogram | None) -> dict[str, Any]:
    keys = _times_keys(name)
    if times is None:
        return dict.fromkeys(keys)
    values = [seconds for _, seconds in quantile_values(times)]
    # To the nanosecond: further digits mean nothing.
    return {key: None if seconds is None else round(seconds, 9) for key, seconds in zip(keys, values, strict=True)}


@lru_cache(maxsize=8)
def _times_keys(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_{what}" for what, _ in quantile_values(None))


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
        "refusals": dict(health.refusals),
        "lost_datagrams": health.lost,
        "expected_datagrams": health.expected,
        "uptime_seconds": health.uptime,
        "over_limit": dict(health.over_limit),
        "memory_bytes": health.bytes,
        "memory_limit_bytes": health.bytes_limit,
        "kernel_dropped_datagrams": health.dropped,
        "failed_csv_writes": health.unwritten,
        "users": [_user(user) for user in health.users],
        "nodes": [
            {"name": node.name, "is_here": node.is_here, "missing_seconds": node.missing_for}
            for node in health.nodes
        ],
    }


def _user(user: UserState) -> dict[str, Any]:
    last: dict[str, Any] | None = None
    if user.old_ago is not None:
        last = {"seconds_ago": user.old_ago}
        last |= {"host": user.old_host, "program": user.old_program, "token": user.old_token}
    return {
        "name": user.name,
        "datagrams": user.received,
        "last_seconds_ago": user.heard_ago,
        "datagrams_with_old_password": user.received_old,
        "last_with_old_password": last,
    }


def _shown(value: Any) -> Any:
    """The value with cleaned texts, and with ``None`` for numbers that JSON lacks."""
    if isinstance(value, dict):
        return {_key(key): item if type(item) in _PLAIN else _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    if isinstance(value, str):
        return clean(value)
    return None if isinstance(value, float) and not isfinite(value) else value


#: Most values of a row have one of these types, and are used unchanged.
_PLAIN = frozenset({int, bool, type(None)})
#: Nearly all keys are this module's own, and few.
_key = lru_cache(maxsize=1024)(clean)
