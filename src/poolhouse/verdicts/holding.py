"""Why a saturated pool is used up: what its holders are doing, and how long they hold."""

from collections.abc import Iterator, Sequence
from math import ceil, inf
from typing import NamedTuple

from poolhouse.meter.signs import Finding
from poolhouse.verdicts.causes import (
    HELD_IDLE,
    LINE,
    LINE_ALONE,
    NESTED_CHECKOUT,
    OTHER_LINE,
    POOL_TOO_SMALL,
    ROW_LOCK,
    SLOW_STATEMENT,
    WINDOW_S,
)
from poolhouse.verdicts.habits import Habits
from poolhouse.verdicts.moment import NEARLY, PoolSpan, SiteSpan, Trail


class _Holders(NamedTuple):
    """The holders that explain the pool's use: those of one site, or all of them."""

    #: Empty if no single site has most of the connection-seconds.
    site: str
    spans: Sequence[SiteSpan]
    hold_s: float
    #: 0 if there is none.
    habit_s: float

    def share(self, state: str) -> float:
        """The share of looks at them that found them in a state."""
        seen = sum(span.seen for span in self.spans)
        return sum(getattr(span.looks, state) for span in self.spans) / seen if seen else 0.0

    def is_long(self, times: float, seconds: float) -> bool:
        """Whether they hold for `times` their habit; without a habit, for `seconds`."""
        return self.hold_s >= (times * self.habit_s if self.habit_s else seconds)


def examine_holders(trail: Trail, steps: int, habits: Habits) -> Iterator[Finding]:
    """Why one pool is used up.

    Args:
        trail: The pool.
        steps: How many intervals the window has.
        habits: The habits of its holds.
    """
    saturated_s = trail.saturated_s
    if not saturated_s:
        return
    span = trail.span(steps)
    if nested := _nested(trail, span):
        yield nested
    if saturated_s < NEARLY * WINDOW_S:
        return
    holders = _holders(trail, span, habits)
    busy, idle = holders.share("busy"), holders.share("idle")
    numbers = (holders.hold_s, holders.habit_s, span.used, span.max, trail.now.gauges.waiting)
    key = trail.now.key
    if _is_slow(holders) and busy >= SLOW_STATEMENT["busy"]:
        if stopped := _stopped(trail, span, habits, busy):
            yield stopped
            return
        if lock := _row_lock(trail, span, busy):
            yield lock
        yield Finding("slow_statement", key, holders.site, "", 0.0, (busy, *numbers))
    elif holders.is_long(HELD_IDLE["habit"], HELD_IDLE["hold"]) and idle >= HELD_IDLE["idle"]:
        site, line = _idle_place(holders, span)
        yield Finding("held_idle", key, site, line, 0.0, (idle, *numbers))
    elif (
        saturated_s >= NEARLY * POOL_TOO_SMALL["saturated"]
        and _is_as_ever(trail, span, holders, habits)
        and not _drains(trail)
    ):
        size = max(span.max + 1, ceil(span.used + span.waiting))
        told = (size, span.used, span.max, trail.now.gauges.waiting, holders.hold_s, holders.habit_s)
        yield Finding("pool_too_small", key, "", "", 0.0, told)


def _is_slow(holders: _Holders) -> bool:
    return holders.is_long(SLOW_STATEMENT["habit"], SLOW_STATEMENT["hold"])


def _is_as_ever(trail: Trail, span: PoolSpan, holders: _Holders, habits: Habits) -> bool:
    """Whether holds are no longer than before; without a habit, no longer than any that ended."""
    times = POOL_TOO_SMALL["habit"]
    if holders.habit_s:
        return not holders.is_long(times, inf)
    return _came_back(span) > 0 or holders.hold_s < times * habits.longest_s(trail.now.key)


def _drains(trail: Trail) -> bool:
    """Whether the queue is shrinking, so that a burst or a start is being worked off."""
    before = trail.step(1)
    return before is not None and trail.newest.waiting < POOL_TOO_SMALL["queue"] * before.waiting


def _nested(trail: Trail, span: PoolSpan) -> Finding | None:
    """Callers that hold a connection and wait for another one of the same pool."""
    seen = sum(site.seen for site in span.sites)
    asking = sum(site.looks.asks for site in span.sites)
    if (
        asking * span.look_s < NESTED_CHECKOUT["asking for"]
        or span.looks_waiting < NESTED_CHECKOUT["looks"]
        or asking < NESTED_CHECKOUT["asking"] * seen
    ):
        return None
    site = max(span.sites, key=lambda one: one.looks.asks)
    oldest = max(one.now.oldest_s for one in span.sites)
    numbers = (asking / seen, trail.now.gauges.used, span.max, trail.now.gauges.waiting, oldest)
    return Finding("nested_checkout", trail.now.key, site.now.site, site.now.idle_line, 0.0, numbers)


def _holders(trail: Trail, span: PoolSpan, habits: Habits) -> _Holders:
    """The site with most of the connection-seconds; if there is none, all sites."""
    key = trail.now.key
    held = sum(site.held_s for site in span.sites)
    largest = max(span.sites, key=lambda site: site.held_s, default=None)
    everything = _Holders("", span.sites, _hold(span.sites, span), habits.of_pool(key) or 0.0)
    if largest is None or not held or largest.held_s < LINE * held:
        return everything
    if largest.held_s < LINE_ALONE * held:
        for site in span.sites:
            is_large = site is not largest and site.held_s >= OTHER_LINE * held
            if is_large and _is_slow(_holders_of(site, span, habits)):
                return everything
    return _holders_of(largest, span, habits)


def _holders_of(site: SiteSpan, span: PoolSpan, habits: Habits) -> _Holders:
    key = span.now.key
    habit = habits.of_site(key, site.now.site) if site.now.returned else habits.of_pool(key)
    return _Holders(site.now.site, (site,), _hold([site], span), habit or 0.0)


def _hold(sites: Sequence[SiteSpan], span: PoolSpan) -> float:
    """The mean hold in the window: connection-seconds for each connection that came back (Little's law).

    If a source does not measure holds by site, the mean of the pool. If none came back, the age of the oldest,
    which has been out for at least that long.
    """
    returned, held = sum(site.returned for site in sites), sum(site.held_s for site in sites)
    if not returned and not any(site.now.returned for site in sites):
        returned, held = span.measured
    return held / returned if returned else max((site.now.oldest_s for site in sites), default=0.0)


def _idle_place(holders: _Holders, span: PoolSpan) -> tuple[str, str]:
    """The holding site and where its holders are; or the one line at which the holders of several sites are."""
    if holders.site:
        return holders.site, holders.spans[0].now.idle_line
    held = sum(site.held_s for site in span.sites)
    idle = sum(site.looks.idle for site in span.sites)
    at: dict[str, list[SiteSpan]] = {}
    for site in span.sites:
        if site.now.idle_line:
            at.setdefault(site.now.idle_line, []).append(site)
    for line, sites in at.items():
        large = sum(site.held_s >= HELD_IDLE["sites"] * held for site in sites)
        if large > 1 and sum(site.looks.idle for site in sites) >= HELD_IDLE["line"] * idle:
            return line, ""
    return "", ""


def _stopped(trail: Trail, span: PoolSpan, habits: Habits, busy: float) -> Finding | None:
    """All wait inside the database and none comes back; the process cannot see which session they wait for.

    Slow statements come back now and then, while those that queue behind a lock do not as long as it is held. In
    neither case are the lines at which they wait to blame.
    """
    before = trail.step(1)
    is_old = habits.of_pool(trail.now.key) is not None
    if before is None or not is_old or busy < ROW_LOCK["busy"] or span.used < ROW_LOCK["queue"]:
        return None
    steps = (trail.newest, before)
    if sum(step.seconds for step in steps) < ROW_LOCK["stopped"] or any(_came_back(step) for step in steps):
        return None
    numbers = (busy, 0.0, 0.0, span.used, span.max, trail.now.gauges.waiting)
    return Finding("row_lock", trail.now.key, "", "", 0.0, numbers)


def _came_back(span: PoolSpan) -> int:
    return max(span.measured[0], sum(site.returned for site in span.sites))


def _row_lock(trail: Trail, span: PoolSpan, busy: float) -> Finding | None:
    """The holder for which the others wait inside the database, if the looks show one."""
    seen = sum(site.seen for site in span.sites)
    idle = sum(site.looks.idle for site in span.sites)
    returned = sum(site.returned for site in span.sites)
    at_a_time = idle / span.looks if span.looks else 0.0
    if (
        busy < ROW_LOCK["busy"]
        or at_a_time < ROW_LOCK["idle holders"]
        or idle > ROW_LOCK["idle share"] * seen
        or span.used < ROW_LOCK["queue"]
        or at_a_time * span.seconds < ROW_LOCK["idle"] * returned
    ):
        return None
    holder = max(span.sites, key=lambda site: site.looks.idle)
    each = at_a_time * span.seconds / returned if returned else holder.now.oldest_s
    numbers = (busy, at_a_time, each, span.used, span.max, trail.now.gauges.waiting)
    return Finding("row_lock", trail.now.key, holder.now.site, holder.now.idle_line, 0.0, numbers)
