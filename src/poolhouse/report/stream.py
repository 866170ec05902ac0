"""The reports of one program of this process to one destination."""

import weakref
from collections import deque
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from poolhouse.report.destination import Destination
from poolhouse.report.roster import Failure, Roster
from poolhouse.report.sender import AnySender
from poolhouse.report.source import Source
from poolhouse.wire.report import Report, encode_report


class Identity(NamedTuple):
    """The identity that all streams of a process share, until it forks."""

    #: ``<pid>:<6 hex>``.
    token: str
    #: The monotonic time at which the measuring of its pools began.
    began: float


class Delivery(NamedTuple):
    """The result of a report."""

    #: Whether it was sent to every host, without a known error.
    left: bool
    #: The pools that could not be read.
    failures: tuple[Failure, ...]


class Stream:
    """Pools that are reported together, under one program's name.

    Attributes:
        destination: Where reports are sent, under which names, how often.
        senders: Send them, one for each host; streams to the same place share them.
        due: The monotonic time of the next report; infinite until a pool is used in this process.
        has_failed: Whether making the last report failed.
    """

    def __init__(self, destination: Destination, senders: tuple[AnySender, ...], wake: Callable[[], None]) -> None:
        self.destination = destination
        self._wake = wake
        self._expected: weakref.WeakSet[Source] = weakref.WeakSet()
        self.begin(senders)

    def begin(self, senders: tuple[AnySender, ...]) -> None:
        """Start afresh in a new process, whose pools have not been used yet."""
        self.senders = senders
        self.due = inf
        self.has_failed = False
        self._arrivals: deque[Source] = deque()
        self._roster = Roster()
        self._number = 0
        self._sequence = 1

    def add(self, source: Source) -> None:
        """Report this pool from now on. To be called at its first connect or checkout in this process.

        Never waits, locks or raises; the same pool may be added twice. The stream's first report is sent at once;
        a pool that is added later is in the next report.
        """
        self._arrivals.append(source)
        if self.due == inf:
            self.due = -inf
        self._wake()

    def expect(self, source: Source) -> None:
        """Have this pool start afresh in a forked child, also if it was not added before the fork.

        A fork may happen while the pool is used for the first time. This reports nothing, and keeps nothing alive.
        """
        self._expected.add(source)

    @property
    def is_looked_up(self) -> bool:
        """Whether a lookup of each host has ended, whatever it gave."""
        return all(sender.route.was_looked_up for sender in self.senders)

    @property
    def is_ready(self) -> bool:
        """Whether a report would leave now: no report is made for a service none of whose nodes is there."""
        return self.is_looked_up and any(sender.is_ready for sender in self.senders)

    @property
    def sources(self) -> set[Source]:
        """The pools that are reported or expected."""
        return {*self._roster.sources, *self._arrivals, *self._expected}

    def report(self, identity: Identity, now: float, wall_time: float, goodbye: bool) -> Delivery:
        """Read the pools and send their figures.

        Args:
            identity: The process's.
            now: Monotonic seconds.
            wall_time: Seconds since the epoch.
            goodbye: Whether this is the process's last report.
        """
        self._number += 1
        self.due = _next_due(self.due, self.destination.interval, now)
        arrivals = list(self._arrivals)
        statement = self._roster.read(arrivals, self._number)
        # Only now, so that a fork in between finds each pool in `sources`.
        for _ in arrivals:
            self._arrivals.popleft()
        datagrams = encode_report(
            Report(
                host=self.destination.report_host,
                program=self.destination.program_name,
                token=identity.token,
                number=self._number,
                sequence=self._sequence,
                uptime=now - identity.began,
                wall_time=wall_time,
                interval=self.destination.interval,
                goodbye=goodbye,
                sums=statement.sums,
                pools=statement.pools,
            ),
            self.destination.detail,
        )
        # The numbers of datagrams that were not sent are not reused: the receiver counts them as lost.
        self._sequence += len(datagrams)
        left = [sender.send(datagrams) for sender in self.senders]
        return Delivery(all(left), statement.failures)


def _next_due(due: float, interval: float, now: float) -> float:
    """One interval after the last report was due; from now where whole intervals were missed.

    >>> _next_due(10.0, 2.0, 10.5), _next_due(10.0, 2.0, 17.0)
    (12.0, 19.0)
    """
    return due + interval if due + interval > now else now + interval
