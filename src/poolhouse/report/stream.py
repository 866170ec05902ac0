"""The reports of one program of this process to one destination."""

import weakref
from collections import deque
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from poolhouse.meter.signs import ProcessSigns
from poolhouse.report.destination import Destination
from poolhouse.report.examination import Examination
from poolhouse.report.readings import is_observed, tell
from poolhouse.report.roster import Failure, Roster, Statement
from poolhouse.report.sender import AnySender
from poolhouse.report.source import Source
from poolhouse.report.telling import Teller
from poolhouse.wire.parts import PAYLOAD_BYTES
from poolhouse.wire.report import Report, encode_report

#: After how many intervals without a report pools are read for observers.
_LATE_INTERVALS = 1.5


class Identity(NamedTuple):
    """The identity that all streams of a process share, until it forks."""

    #: ``<pid>:<6 hex>``.
    token: str
    #: When measuring of its pools began, in monotonic seconds.
    began: float


class Delivery(NamedTuple):
    """The result of a report."""

    #: Whether it was sent to every host without a known error.
    left: bool
    #: The pools that could not be read.
    failures: tuple[Failure, ...]


class Stream:
    """Pools that are reported together under one program's name.

    Attributes:
        destination: Where, under which names, and how often reports are sent.
        senders: One for each host; streams to the same place share them.
        due: When the next report is due, in monotonic seconds; infinite until a pool is used in this process.
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
        self._teller = Teller()
        self._examination = Examination(self.destination.program_name, self.destination.report_host)
        self._number = 0
        self._sequence = 1
        #: When the pools were last read.
        self._read_at = -inf

    def add(self, source: Source) -> None:
        """Report this pool from now on. Call this at its first connect or checkout in this process.

        Never waits, locks or raises; the same pool may be added twice. The stream's first report is sent at once;
        a pool that is added later is in the next report.
        """
        self._arrivals.append(source)
        if self.due == inf:
            self.due = -inf
        self._wake()

    def expect(self, source: Source) -> None:
        """Have this pool start afresh in a forked child, even if it was not added before the fork.

        A fork may happen while the pool is first used. This reports nothing, and keeps nothing alive.
        """
        self._expected.add(source)

    @property
    def is_looked_up(self) -> bool:
        """Whether a lookup of each host has ended, successfully or not."""
        return all(sender.route.was_looked_up for sender in self.senders)

    @property
    def is_ready(self) -> bool:
        """Whether a report would leave now: none is made for a service without a reachable node."""
        return self.is_looked_up and any(sender.is_ready for sender in self.senders)

    @property
    def sources(self) -> set[Source]:
        """The pools that are reported or expected."""
        return {*self._roster.sources, *self._arrivals, *self._expected}

    @property
    def reported(self) -> list[Source]:
        """The pools of the next report."""
        return [*self._roster.sources, *self._arrivals.copy()]

    def look_due(self, now: float) -> float:
        """When to read the pools for observers although no report leaves, in monotonic seconds.

        Infinite if there are no observers.
        """
        if self.due == inf or not is_observed():
            return inf
        if self._read_at == -inf:
            self._read_at = now  # The first report may leave soon.
        return self._read_at + _LATE_INTERVALS * self.destination.interval

    def look(self, now: float) -> tuple[Failure, ...]:
        """Read the pools for observers; the time of the next report does not change."""
        return self._read(now).failures

    def report(
        self,
        identity: Identity,
        now: float,
        wall_time: float,
        goodbye: bool,
        signs: ProcessSigns | None = None,
        looks_due: float = 0.0,
    ) -> Delivery:
        """Read the pools and send their figures.

        Args:
            identity: The process's identity.
            now: Monotonic seconds.
            wall_time: Seconds since the epoch.
            goodbye: Whether this is the process's last report.
            signs: The process's signs beyond its pools; ``None`` if it takes no looks. The stream itself knows
                best how many pools were made.
            looks_due: How many looks a pool would have had by now if one of its connections had always been out.
        """
        self.due = _next_due(self.due, self.destination.interval, now)
        statement = self._read(now)
        findings = self._examination.examine(now, wall_time, statement.pools, signs, self._roster.keyed, looks_due)
        report = Report(
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
            signs=signs and signs._replace(pools_made=self._roster.made),
            past_signs=statement.past_signs,
            findings=findings,
        )
        selection = self._teller.select(report.signs, report.findings, report.pool_signs())
        protection = self.destination.protection
        room = PAYLOAD_BYTES if protection is None else protection.payload_bytes
        datagrams = encode_report(report, self.destination.detail, selection, room)
        self._teller.note(selection)
        # The numbers of datagrams that were not sent are not reused: the receiver counts them as lost.
        self._sequence += len(datagrams)
        left = [sender.send(datagrams) for sender in self.senders]
        return Delivery(all(left), statement.failures)

    def _read(self, now: float) -> Statement:
        """Read the pools, and inform the observers."""
        self._number += 1
        self._read_at = now
        arrivals = self._arrivals.copy()
        statement = self._roster.read(arrivals, self._number)
        tell(statement.readings)
        # Only now, so that a fork in between finds each pool in `sources`.
        for _ in arrivals:
            self._arrivals.popleft()
        return statement


def _next_due(due: float, interval: float, now: float) -> float:
    """One interval after the last report was due; one interval from now if whole intervals were missed.

    >>> _next_due(10.0, 2.0, 10.5), _next_due(10.0, 2.0, 17.0)
    (12.0, 19.0)
    """
    return due + interval if due + interval > now else now + interval
