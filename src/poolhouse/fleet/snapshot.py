"""The fleet at one instant: frozen values, the only thing that faces read.

``None`` always means "not known", because the source does not send it; it is shown as ``–`` and never as 0.
"""

from dataclasses import dataclass
from typing import NamedTuple

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Mark, PerCounter, PoolReading
from poolhouse.meter.signs import Finding, ProcessSigns, SiteReading
from poolhouse.verdicts.verdict import Verdict

NO_MARK = Mark()


class Totals(PerCounter[int]):
    """Cumulative counts since the aggregator first heard of the row; they never fall."""

    __slots__ = ()


class Rates(PerCounter[float]):
    """The same counts per second, over the last few intervals."""

    __slots__ = ()


class Peaks(NamedTuple):
    """The largest values seen."""

    processes: int | None = None
    connections: int | None = None
    used: int | None = None
    waiting: int | None = None
    #: The sum of the pools' own exact marks: the true peak of the sum is at most this (shown with ``≤``).
    used_bound: int | None = None
    #: Checkouts in one interval.
    checkouts: int | None = None


class Times(NamedTuple):
    """Distributions of wait, use and create times, in seconds when read."""

    wait: Histogram | None = None
    use: Histogram | None = None
    create: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The sums of one program, one host, one program on one host, one process, or the whole fleet."""

    #: The program's or host's name; a process's token; empty for the fleet.
    name: str
    processes: int | None = None
    pools: int | None = None
    idle: int | None = None
    used: int | None = None
    detached: int | None = None
    waiting: int | None = None
    #: Sum of the pools' limits; ``None`` if one of them has none.
    max_open: int | None = None
    max_idle: int | None = None
    min_idle: int | None = None
    #: Pools that have every connection they may have in use.
    full_pools: int | None = None
    #: True where `used` and `waiting` contain an upper bound.
    is_bound: bool = False
    totals: Totals = Totals()
    rates: Rates = Rates()
    #: Within the last interval, and since the aggregator first heard of the row.
    interval_peaks: Peaks = Peaks()
    peaks: Peaks = Peaks()
    #: Checkouts in the last interval.
    interval_checkouts: int | None = None
    #: Over the last minute, and since the aggregator first heard of the row.
    recent: Times = Times()
    since_start: Times = Times()
    #: Seconds since the newest report of the row, by the aggregator's clock.
    age: float | None = None
    #: Seconds between reports, as the sender says.
    interval: float | None = None
    #: No report for two intervals or more.
    is_stale: bool = False
    #: Full pools with callers that wait for a connection.
    saturated_pools: int | None = None

    @property
    def connections(self) -> int | None:
        """Connections open to the database, where known."""
        parts = [n for n in (self.idle, self.used, self.detached) if n is not None]
        return sum(parts) if parts else None


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process of the program that was asked for."""

    host: str
    program: str
    token: str
    sums: Row
    #: Seconds since the process (or its fork) began.
    uptime: float | None
    #: Datagrams of this process that never arrived.
    lost: int
    pools: tuple["PoolRow", ...]
    #: What it shows beyond its pools; ``None`` where it does not tell.
    signs: ProcessSigns | None = None
    #: What it found wrong with itself.
    findings: tuple[Finding, ...] = ()
    #: The user of the AuthFile who sealed its newest report; empty where nobody did.
    user: str = ""
    #: Whether that was with an old password.
    uses_old_password: bool = False


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One pool of one process, as in its newest report."""

    reading: PoolReading
    rates: Rates
    recent: Times
    #: The largest values since the second newest report that arrived: of one interval, or of several if reports
    #: were lost.
    interval_mark: Mark = NO_MARK


class Holder(NamedTuple):
    """One line of a program that takes connections: the sum over its processes, those included that have left."""

    program: str
    #: Living processes that tell of it.
    processes: int
    site: SiteReading


class HostProgram(NamedTuple):
    """One program on one host."""

    host: str
    program: str
    sums: Row


class NodeState(NamedTuple):
    """One node of the aggregator's service, as the node that made the snapshot sees it."""

    name: str
    #: Whether this is the node that made the snapshot.
    is_here: bool
    #: Seconds since its link was lost, or since this node began to look for it; ``None`` while it is linked.
    missing_for: float | None


class UserState(NamedTuple):
    """What one user of the AuthFile has sent."""

    name: str
    #: Datagrams that were accepted, and those of them that an old password sealed.
    received: int
    received_old: int
    #: Seconds since the newest of them; ``None`` where no old password was used.
    heard_ago: float
    old_ago: float | None
    #: Which process used one last.
    old_host: str = ""
    old_program: str = ""
    old_token: str = ""


class Health(NamedTuple):
    """The aggregator's own figures, counted since it started."""

    #: Datagrams received, and those of them that were refused (malformed, or over a limit).
    received: int = 0
    refused: int = 0
    #: Datagrams that the senders' numbers show missing, and how many there should have been.
    lost: int = 0
    expected: int = 0
    #: Seconds since the aggregator started.
    uptime: float = 0.0
    #: How often something was refused because a bound was reached, by the bound's name.
    over_limit: tuple[tuple[str, int], ...] = ()
    #: The bytes that the fleet takes, about, and how many it may; 0 where the server does not say.
    bytes: int = 0
    bytes_limit: int = 0
    #: The nodes of the service, this one included, in the order of the configuration; empty without a cluster.
    nodes: tuple[NodeState, ...] = ()
    #: Datagrams that the kernel dropped because the socket's buffer was full; they are among the lost ones too.
    dropped: int = 0
    #: Writes of the CSV file that failed.
    unwritten: int = 0
    #: How many of `refused` were refused for what reason, or were left out in part, by the reason's name.
    refusals: tuple[tuple[str, int], ...] = ()
    #: Users that sent sealed reports, those with an old password first; the others as far as there is room.
    users: tuple[UserState, ...] = ()


class Event(NamedTuple):
    """Something worth a line: a process appeared, fell silent, a pool reached its maximum."""

    wall_time: float
    #: One of ``appeared``, ``goodbye``, ``silent``, ``returned``, ``full``, ``waiting``, ``timeouts``,
    #: ``connect errors``, ``recovered``, ``lost``; or, of a verdict, ``verdict``, ``changed``, ``ended``.
    kind: str
    host: str
    program: str
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole fleet at one instant."""

    wall_time: float
    fleet: Row
    programs: tuple[Row, ...]
    hosts: tuple[Row, ...]
    health: Health
    events: tuple[Event, ...] = ()
    #: The program that was asked for, and its processes with their pools; empty when none was. Or what
    #: `poolhouse.fleet.names.asking_for_host` says, and in the place of each process the sums of a program there.
    program: str | None = None
    processes: tuple[ProcessRow, ...] = ()
    #: The lines that hold connections: all of the program that was asked for, and some of each other one. Within a
    #: program, lines with open holds come first, then those with the most connection-seconds.
    holders: tuple[Holder, ...] = ()
    #: What is wrong, the main cause first.
    verdicts: tuple[Verdict, ...] = ()
