"""From the readings of a process to its findings: the function `examine`."""

from collections.abc import Container, Sequence

from poolhouse.meter.signs import Finding
from poolhouse.verdicts.causes import rank_of
from poolhouse.verdicts.connecting import examine_connects
from poolhouse.verdicts.habits import Habits
from poolhouse.verdicts.holding import examine_holders
from poolhouse.verdicts.leaking import examine_leaks
from poolhouse.verdicts.moment import Moment, trails, window
from poolhouse.verdicts.process import examine_engines, examine_loop


def examine(
    moments: Sequence[Moment], habits: Habits, leaks: Container[tuple[int, str]] = ()
) -> tuple[Finding, ...]:
    """The findings of the newest moments, the main cause first; each `Finding.age_s` is 0.

    Args:
        moments: The latest moments of one process, the oldest first, as in `History`.
        habits: The habits of its calm times.
        leaks: The standing leaks, by pool and site: they need less evidence to continue than to begin.
    """
    if not moments:
        return ()
    steps = window(moments)
    newest = moments[-1]
    found: list[Finding] = []
    for trail in trails(moments):
        found += examine_connects(trail, steps or len(moments), newest.process)
        if steps is not None:
            found += examine_leaks(trail, steps, habits, leaks)
            found += examine_holders(trail, steps, habits)
    found += examine_engines(moments)
    if steps is not None:
        found += examine_loop(moments[-1 - steps], newest)
    return tuple(sorted(found, key=lambda finding: rank_of(finding.cause)))
