"""Whether a process still reports, and which of its claimed intervals to believe.

It counts as gone after five of its intervals, so a process that claimed a long interval and was killed would be
shown for that long. Therefore an interval is believed only as far as the process has kept to it.
"""

from enum import Enum, auto

#: An interval outside these limits, in seconds, is replaced by the nearer one.
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.05, 3600.0
#: An interval longer than this is believed only if the process has once been silent for nearly as long.
UNPROVEN_INTERVAL = 60.0
#: A report may arrive early or late by this factor of its interval.
SLACK = 1.5


class State(Enum):
    """Whether a process still reports."""

    LIVING = auto()
    #: Not heard for five intervals; it may return.
    SILENT = auto()
    #: It said goodbye; datagrams that still arrive were sent before that.
    ENDED = auto()


LIVING, SILENT, ENDED = State.LIVING, State.SILENT, State.ENDED


def bounded(interval: float) -> float:
    """The interval, or the limit that it exceeds."""
    return min(max(SHORTEST_INTERVAL, interval), LONGEST_INTERVAL)


def believed(interval: float, longest_gap: float) -> float:
    """A process's claimed interval, as far as the longest time between two of its reports confirms it."""
    return min(bounded(interval), max(UNPROVEN_INTERVAL, SLACK * longest_gap))
