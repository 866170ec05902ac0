"""Chooses the next console to serve, by the cost of serving so far: no clock, no socket, no snapshot.

Consoles ask for *topics* (the processes of one program, or none); a snapshot of a topic serves all consoles that
ask for it. Making it is a *job* of many small steps, between which the shell reads reports. Three rules:

- All consoles together take at most `SHARE` of the time. Unused time is saved for later, but only `CREDIT` seconds
  of it.
- The console that has cost least goes next. Its account stays with its address, so one that keeps asking for
  another program is served no more than any other. The consoles that wait for a job share its cost.
- A console is sent at most one snapshot per interval; one that asks for another program need not wait so long.

The shell must call `spent` after each step, with the seconds it took.
"""

from collections.abc import Container, Hashable, Iterable
from math import inf

#: The share of the time that consoles may take, and the seconds of work that may be done at once after a rest.
SHARE = 0.25
CREDIT = 0.25
#: Seconds until a console that asks for another program may be sent it.
CHANGE_SECONDS = 0.2
#: Seconds of work for one topic before another may take over: many half-finished topics help no console.
QUANTUM = 0.05


class _Console:
    __slots__ = ("cost", "due", "topic")

    def __init__(self, topic: Hashable, cost: float, due: float) -> None:
        self.topic = topic
        #: Seconds of work that the console has cost.
        self.cost = cost
        #: When it may next be sent a snapshot.
        self.due = due


class _Job:
    __slots__ = ("begun", "waiting")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.waiting: set[Hashable] = set()


class Schedule:
    """Decides which topic to work on next. Times are monotonic seconds."""

    def __init__(self, interval: float, now: float, share: float = SHARE) -> None:
        """Start without consoles; each is sent a topic every `interval` seconds at most."""
        self._interval = interval
        self._share = share
        self._credit = CREDIT
        self._credited_at = now
        self._consoles: dict[Hashable, _Console] = {}
        self._jobs: dict[Hashable, _Job] = {}
        self._current: Hashable = None
        #: Seconds of work on the current topic since the work changed topics.
        self._streak = 0.0

    def set_consoles(self, consoles: Iterable[tuple[Hashable, Hashable]], now: float) -> None:
        """Set the consoles, each with its key and topic; all others have left."""
        named = dict(consoles)
        for key in self._consoles.keys() - named.keys():
            self._leave(key)
            del self._consoles[key]
        least = min((one.cost for one in self._consoles.values()), default=0.0)
        for key, topic in named.items():
            console = self._consoles.get(key)
            if console is None:
                self._consoles[key] = _Console(topic, least, now)
            elif console.topic != topic:
                self._leave(key)
                console.topic = topic
                console.due = min(console.due, max(now, console.due - self._interval + CHANGE_SECONDS))

    def next(self, now: float, busy: Container[Hashable] = (), held: Hashable = None) -> tuple[Hashable] | None:
        """The topic to work on now, as a tuple of one; ``None`` if there is nothing to do, or no time for it.

        Args:
            now: The time.
            busy: Keys of consoles to which something is still being sent: they are given nothing more.
            held: A topic not to be worked on now.
        """
        self._refill(now)
        if self._credit <= 0:
            return None
        self._begin_jobs(now, busy)
        topics = [topic for topic in self._jobs if held is None or topic != held]
        if not topics:
            return None
        best = min(topics, key=self._cost_of)
        if self._current in topics and self._streak < QUANTUM:
            best = self._current
        elif best != self._current:
            self._current, self._streak = best, 0.0
        else:
            self._streak = 0.0
        return (best,)

    def begun(self, topic: Hashable) -> float:
        """When the work on this topic began."""
        return self._jobs[topic].begun

    def is_wanted(self, topic: Hashable) -> bool:
        """Whether a console is still waiting for it."""
        return topic in self._jobs

    def sent(self, seconds: float) -> None:
        """Count the seconds that sending took."""
        self._credit -= seconds

    def spent(self, seconds: float, topic: Hashable) -> None:
        """Count the seconds that a step of this topic took."""
        self._credit -= seconds
        job = self._jobs.get(topic)
        if job is not None:
            self._streak += seconds
            for key in job.waiting:
                self._consoles[key].cost += seconds / len(job.waiting)

    def finish(self, topic: Hashable) -> set[Hashable]:
        """Finish the topic; return the keys of the consoles that waited for it."""
        job = self._jobs.pop(topic)
        for key in job.waiting:
            self._consoles[key].due = job.begun + self._interval
        return job.waiting

    def next_due(self, now: float, busy: Container[Hashable] = (), held: Hashable = None) -> float:
        """When `next` may have something to do, while these are busy and this is held."""
        self._refill(now)
        rested = now if self._credit > 0 else now - self._credit / self._share + 0.001
        if any(held is None or topic != held for topic in self._jobs):
            return rested
        due = (one.due for key, one in self._consoles.items() if key not in busy)
        return max(rested, min(due, default=inf))

    def _begin_jobs(self, now: float, busy: Container[Hashable]) -> None:
        """Begin a job for each topic with a console that is due; consoles that will be due soon wait with it."""
        for key, console in self._consoles.items():
            if console.due <= now and key not in busy:
                self._jobs.setdefault(console.topic, _Job(now)).waiting.add(key)
        for key, console in self._consoles.items():
            job = self._jobs.get(console.topic)
            if job is not None and console.due <= now + self._interval / 2 and key not in busy:
                job.waiting.add(key)

    def _cost_of(self, topic: Hashable) -> float:
        return min(self._consoles[key].cost for key in self._jobs[topic].waiting)

    def _leave(self, key: Hashable) -> None:
        """The console stops waiting; a job without waiting consoles is dropped."""
        topic = self._consoles[key].topic
        job = self._jobs.get(topic)
        if job is not None:
            job.waiting.discard(key)
            if not job.waiting:
                del self._jobs[topic]

    def _refill(self, now: float) -> None:
        self._credit = min(CREDIT, self._credit + (now - self._credited_at) * self._share)
        self._credited_at = now
