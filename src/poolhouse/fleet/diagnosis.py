"""The standing verdicts; their beginnings, changes and ends become events."""

from collections import deque
from typing import NamedTuple

from poolhouse.fleet.snapshot import Event
from poolhouse.verdicts.verdict import Verdict, main_first
from poolhouse.verdicts.words import place_of, sentence

#: Seconds that a verdict stands after the last process has withdrawn it: a restarting process needs that long to
#: repeat it. (Within a process, findings stand for `STANDS_S` after their last evidence.)
LINGER_S = 4.0
#: The time of day at which a verdict began is updated only if it differs by this many seconds: the clock was set,
#: or a process has found it earlier. Otherwise it would change a little every second.
STEP_S = 1.0
#: The most events that are kept, and for how many seconds.
MOST_EVENTS, KEPT_S = 500, 86_400.0

BEGAN, CHANGED, ENDED = "verdict", "changed", "ended"


class _Standing(NamedTuple):
    verdict: Verdict
    #: The aggregator's time of its first and last evidence.
    began_at: float
    seen_at: float

    def told(self, now: float, wall_time: float) -> Verdict:
        """The verdict, with its beginning by the present time of day."""
        since = wall_time - (now - self.began_at)
        return self.verdict._replace(since=since) if abs(since - self.verdict.since) > STEP_S else self.verdict


class Diagnosis:
    """The verdicts of one aggregator. No I/O, no clock."""

    def __init__(self) -> None:
        self._standing: dict[tuple[str, str, str, str, str], _Standing] = {}
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)

    def take(self, verdicts: tuple[Verdict, ...], now: float, wall_time: float) -> tuple[Event, ...]:
        """Take the present result of `diagnose`; return what began, changed and ended.

        Args:
            verdicts: The verdicts from `diagnose`.
            now: The aggregator's time, in seconds; it never falls.
            wall_time: The time of day, for events.
        """
        began: list[Verdict] = []
        for verdict in verdicts:
            before = self._standing.get(verdict.subject)
            began_at = now - (wall_time - verdict.since)
            if before is None:
                began.append(verdict)
            else:
                # One trouble begins once, whatever processes that join later report about its age.
                began_at = min(began_at, before.began_at)
                verdict = verdict._replace(since=before.verdict.since)
            self._standing[verdict.subject] = _Standing(verdict, began_at, now)
        present = {verdict.subject for verdict in verdicts}
        ended: list[Verdict] = []
        for subject, standing in list(self._standing.items()):
            # A verdict that another one replaces does not stand beside it.
            is_replaced = any(standing.verdict.pool_key == other.pool_key for other in began)
            if subject not in present and (is_replaced or now - standing.seen_at >= LINGER_S):
                del self._standing[subject]
                ended.append(standing.verdict)
            else:
                self._standing[subject] = standing._replace(verdict=standing.told(now, wall_time))
        events = _events(began, ended, wall_time)
        self._events.extend(events)
        return events

    def verdicts(self) -> tuple[Verdict, ...]:
        """The standing verdicts, the main one first."""
        return tuple(sorted((standing.verdict for standing in self._standing.values()), key=main_first))

    def events(self, wall_time: float) -> tuple[Event, ...]:
        """The events of the last day, the oldest first."""
        while self._events and wall_time - self._events[0].wall_time > KEPT_S:
            self._events.popleft()
        return tuple(self._events)


def _events(began: list[Verdict], ended: list[Verdict], wall_time: float) -> tuple[Event, ...]:
    """One event for each; a single one if a verdict replaces another."""
    events: list[Event] = []
    for verdict in began:
        before = next((one for one in ended if one.pool_key == verdict.pool_key), None)
        if before is None:
            events.append(_event(BEGAN, verdict, f"{verdict.cause}: {sentence(verdict)}", wall_time))
        else:
            ended.remove(before)
            text = f"{before.cause} is now {verdict.cause}: {sentence(verdict)}"
            events.append(_event(CHANGED, verdict, text, wall_time))
    events += [_event(ENDED, one, f"{one.cause} on {place_of(one)} has ended", wall_time) for one in ended]
    return tuple(events)


def _event(kind: str, verdict: Verdict, text: str, wall_time: float) -> Event:
    host = verdict.hosts[0] if len(verdict.hosts) == 1 else ""
    return Event(wall_time, kind, host, verdict.program, text)
