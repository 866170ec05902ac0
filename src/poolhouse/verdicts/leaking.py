"""Connections that stay out although the call that took them has ended."""

from collections.abc import Container, Iterator
from itertools import pairwise

from poolhouse.meter.signs import Finding
from poolhouse.verdicts.causes import LEAK
from poolhouse.verdicts.habits import Habits
from poolhouse.verdicts.moment import NEARLY, PoolSpan, SiteSpan, Trail

#: How many intervals show whether a site's open connections grow, and in how many of them they must.
GROWTH_INTERVALS, GROWN_INTERVALS = 5, 3
#: How many connection-seconds the looks must have seen of a site before a share of them means anything.
ENOUGH_SEEN_S = 1.0


def examine_leaks(
    trail: Trail, steps: int, habits: Habits, standing: Container[tuple[int, str]] = ()
) -> Iterator[Finding]:
    """The lines of one pool that leak.

    Args:
        trail: The pool.
        steps: How many intervals the window has.
        habits: The habits of its holds.
        standing: The standing leaks, by pool and site: they continue while no caller waits, or if they stop
            growing.
    """
    window = trail.span(steps)
    whole = {site.now.site: site for site in trail.span(len(trail.readings())).sites}
    for site in window.sites:
        now = site.now
        ended = site.looks.ended / site.seen if site.seen else 0.0
        collected = _collected(site, whole.get(now.site, site))
        if collected or (
            (now.open >= LEAK["open"] or _is_small_pool(window, now.open))
            and site.seen * window.look_s >= NEARLY * ENOUGH_SEEN_S
            and ended >= LEAK["ended"]
            and _is_too_old(trail, window, site, habits, stands=(trail.now.key, now.site) in standing)
        ):
            numbers = (
                now.open if ended >= LEAK["ended"] else 0,
                window.max,
                now.oldest_s,
                trail.now.gauges.waiting,
                collected,
                ended,
            )
            yield Finding("leak", trail.now.key, now.site, "", 0.0, numbers)


def _collected(site: SiteSpan, whole: SiteSpan) -> int:
    """Connections that the garbage collector returned over all kept moments if they show a leak; else 0."""
    enough = max(LEAK["open"], LEAK["collected"] * whole.returned)
    return whole.collected if site.collected and whole.collected >= enough else 0


def _is_too_old(trail: Trail, window: PoolSpan, site: SiteSpan, habits: Habits, *, stands: bool) -> bool:
    """Whether the site's oldest connection has been out for much longer than any completed hold."""
    key, now = trail.now.key, site.now
    of_site, of_pool = habits.longest_s(key, now.site), habits.longest_s(key)
    longest = of_site or of_pool
    oldest = now.oldest_s
    if _is_small_pool(window, now.open):
        is_old = oldest >= LEAK["oldest if small"] and oldest >= LEAK["times if small"] * longest
        return is_old and (stands or trail.newest.is_saturated)
    if (stands or trail.newest.is_saturated) and now.open >= LEAK["pool"] * window.max:
        return oldest >= LEAK["oldest if saturated"] and oldest >= LEAK["times if saturated"] * longest
    if of_site and (stands or _grows(trail, now.site)):
        return oldest >= LEAK["oldest if growing"] and oldest >= LEAK["times if growing"] * of_site
    return oldest >= LEAK["oldest"] and oldest >= LEAK["times"] * max(of_site, of_pool)


def _is_small_pool(window: PoolSpan, connections: int) -> bool:
    """Whether these are all connections of a pool smaller than what a line may keep on purpose."""
    return 0 < window.max < LEAK["open"] and connections >= window.max


def _grows(trail: Trail, name: str) -> bool:
    """Whether the site's open connections rose in most of the latest intervals, and fell in none."""
    readings = trail.readings()[-1 - GROWTH_INTERVALS :]
    open_then = [
        next((site.open for site in reading.signs.sites if site.site == name), 0)
        for reading in readings
        if reading.signs is not None
    ]
    steps = [later - earlier for earlier, later in pairwise(open_then)]
    return min(steps, default=-1) >= 0 and sum(step > 0 for step in steps) >= GROWN_INTERVALS
