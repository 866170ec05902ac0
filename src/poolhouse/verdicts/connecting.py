"""Causes around connects: the database is down or full; connections are dead or belong to another process."""

from collections.abc import Iterator
from operator import add

from poolhouse.meter.signs import ConnectErrors, Finding, ProcessSigns
from poolhouse.verdicts.causes import DATABASE_DOWN, SERVER_FULL, SHARED_AFTER_FORK, STALE_CONNECTIONS
from poolhouse.verdicts.moment import Trail

_DOWN = ("refused", "timeout", "dns", "starting", "lost")


def examine_connects(trail: Trail, steps: int, process: ProcessSigns) -> Iterator[Finding]:
    """What is wrong with the connects of one pool.

    Args:
        trail: The pool.
        steps: How many intervals the window has; all, if there are fewer.
        process: The newest signs of the process.
    """
    newest, window = trail.newest, trail.span(steps)
    key = trail.now.key
    if newest.inherited >= SHARED_AFTER_FORK["used"]:
        site = max(newest.sites, key=lambda one: one.now.open, default=None)
        taker = site.now.site if site is not None and site.now.open else ""
        yield Finding("shared_after_fork", key, process.fork_line, taker, 0.0, (window.inherited,))
    if newest.errors.full and window.errors.full >= SERVER_FULL["refused"]:
        yield Finding(
            "server_full", key, "", "", 0.0, (window.errors.full, trail.now.gauges.connections, window.max)
        )
    errors = _errors_since_success(trail, steps)
    failed = _down(errors)
    if _down(newest.errors) and failed >= DATABASE_DOWN["failed"]:
        yield Finding("database_down", key, "", "", 0.0, (failed, *(getattr(errors, name) for name in _DOWN)))
    if newest.dead and window.dead >= STALE_CONNECTIONS["dead"] and window.connects and not failed:
        yield Finding("stale_connections", key, "", "", 0.0, (window.dead, window.connects))


def _errors_since_success(trail: Trail, steps: int) -> ConnectErrors:
    """The failed connects of the newest intervals without a success, within the window."""
    total = ConnectErrors()
    for back in range(steps):
        step = trail.step(back)
        if step is None or step.connects > DATABASE_DOWN["succeeded"]:
            break
        total = ConnectErrors(*map(add, total, step.errors))
    return total


def _down(errors: ConnectErrors) -> int:
    return sum(getattr(errors, name) for name in _DOWN)
