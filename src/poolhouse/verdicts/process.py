"""Causes that concern a whole process: its event loop, its CPU, and the pools that it makes."""

from collections.abc import Iterator, Sequence

from poolhouse.meter.reading import REST, PoolReading
from poolhouse.meter.signs import Finding
from poolhouse.verdicts.causes import DUPLICATE_ENGINES, ENGINE_PER_REQUEST, EVENT_LOOP_BLOCKED, NO_CPU
from poolhouse.verdicts.moment import Moment, look_seconds


def examine_loop(before: Moment, now: Moment) -> Iterator[Finding]:
    """Whether the event loop stands still, or the whole process.

    Args:
        before: The moment at which the window began.
        now: The newest moment.
    """
    earlier, later = before.process, now.process
    seconds = now.at - before.at
    looks, late = later.looks - earlier.looks, later.late_looks - earlier.late_looks
    stalled = later.stalled_s - earlier.stalled_s
    late_s = late * look_seconds(seconds, now.looks_due - before.looks_due)
    is_long = late >= NO_CPU["looks"] and late_s >= NO_CPU["late for"]
    if looks > 0 and is_long and late >= NO_CPU["late"] * looks:
        yield Finding("no_cpu", REST, "", "", 0.0, (late / looks, late))
    elif stalled >= EVENT_LOOP_BLOCKED["stalled"] * seconds and stalled >= EVENT_LOOP_BLOCKED["longest"]:
        # The longest stall so far may be older than the window; one in this window is no longer than their sum.
        longest = min(later.longest_stall_s, stalled)
        if longest >= EVENT_LOOP_BLOCKED["longest"]:
            numbers = (stalled, longest, seconds)
            yield Finding("event_loop_blocked", REST, later.stall_line, "", 0.0, numbers)


def examine_engines(moments: Sequence[Moment]) -> Iterator[Finding]:
    """Whether one line makes several pools for one database."""
    newest = moments[-1]
    since = newest.at - ENGINE_PER_REQUEST["made within"]
    groups: dict[tuple[str, str], list[PoolReading]] = {}
    for pool in newest.pools:
        if pool.key != REST and pool.signs is not None and pool.signs.made_at:
            groups.setdefault((pool.signs.made_at, pool.signs.target), []).append(pool)
    if all(len(pools) < DUPLICATE_ENGINES["pools"] for pools in groups.values()):
        return
    # The pools that existed when the window began; none if it began with the process, which makes its pools then,
    # so that those are counted from the first moment on.
    past = [moment for moment in moments if moment.at <= since] or list(moments[:1])
    old = {pool.key for pool in past[-1].pools}
    for (line, _), pools in groups.items():
        living = [pool for pool in pools if pool.pools == 1]
        made = sum(pool.key not in old for pool in pools)
        connections = sum(pool.gauges.connections for pool in living)
        key = max(pool.key for pool in pools)
        if len(pools) >= ENGINE_PER_REQUEST["pools"] and made >= ENGINE_PER_REQUEST["made"]:
            yield Finding("engine_per_request", key, line, "", 0.0, (len(pools), made, connections))
        elif _are_duplicates(living):
            most = sum(pool.limits.max_open or 0 for pool in living)
            yield Finding(
                "duplicate_engines",
                min(one.key for one in living),
                line,
                "",
                0.0,
                (len(living), connections, most),
            )


def _are_duplicates(pools: list[PoolReading]) -> bool:
    """Whether these pools of one line and target could be one: the same kind and size, and all in use."""
    few = DUPLICATE_ENGINES["pools"] <= len(pools) <= DUPLICATE_ENGINES["pools at most"]
    return (
        few
        and len({(pool.kind, pool.limits) for pool in pools}) == 1
        and all(pool.counters.checkouts for pool in pools)
        and bool(pools[0].signs and pools[0].signs.target)
    )
