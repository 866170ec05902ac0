"""The daemon's own figures, for monitoring the daemon itself."""

import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from poolhouse.export.families import Figures
from poolhouse.feed.product import product
from poolhouse.fleet.snapshot import Health

#: Clock ticks per second, the unit of Linux's process start time; and the place of that time in
#: ``/proc/self/stat``, after the name.
_TICKS, _START_FIELD = os.sysconf("SC_CLK_TCK"), 19


def figures(
    health: Health,
    scrape_seconds: float | None,
    refusals: Mapping[str, Callable[[], Mapping[str, int]]],
    failed_pushes: int = 0,
) -> Figures:
    """The present figures.

    Args:
        health: The fleet's health.
        scrape_seconds: How long the previous answer took to make.
        refusals: Tells what a listener has refused, by listener.
        failed_pushes: How many pushes of metrics failed.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Figures(
        VERSION,
        health,
        scrape_seconds,
        {listener: count() for listener, count in refusals.items()},
        usage.ru_utime + usage.ru_stime,
        START_TIME,
        _resident_bytes(),
        _open_files(),
        failed_pushes,
    )


def _start_time() -> float | None:
    """When the process began, in seconds since the epoch."""
    try:
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        since_boot = int(after_name[_START_FIELD]) / _TICKS
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot
    except (OSError, ValueError, IndexError, AttributeError):
        return None


#: Both are constant while the process runs.
VERSION, START_TIME = product("connmond").partition(" ")[2], _start_time()


def _resident_bytes() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return None


def _open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return None
