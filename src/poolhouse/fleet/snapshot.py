"""The fleet at one instant: frozen values, the only data that faces read.

``None`` always means "not known", because the source does not send it; it is shown as ``–``, never as 0.
"""

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


class Row(NamedTuple):
    """The sums of one program, one host, one program on one host, one process, or the whole fleet."""

    #: The program's or host's name; a process's token; empty for the fleet.
    name: str
    processes: int | None = None
    pools: int | None = None
    idle: int | None = None
    used: int | None = None
    detached: int | None = None
    waiting: int | None = None
    #: The sum of the pools' limits; ``None`` if one of them has none.
    max_open: int | None = None
    max_idle: int | None = None
    min_idle: int | None = None
    #: Pools with all their connections in use.
    full_pools: int | None = None
    #: Whether `used` and `waiting` contain an upper bound.
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
    #: Seconds since the latest report of the row, by the aggregator's clock.
    age: float | None = None
    #: Seconds between reports, as claimed by the sender.
    interval: float | None = None
    #: No report for two intervals or more.
    is_stale: bool = False
    #: Full pools with waiting callers.
    saturated_pools: int | None = None

    @property
    def connections(self) -> int | None:
        """Connections open to the database; ``None`` if not known."""
        parts = [n for n in (self.idle, self.used, self.detached) if n is not None]
        return sum(parts) if parts else None


class ProcessRow(NamedTuple):
    """One process of the requested program."""

    host: str
    program: str
    token: str
    sums: Row
    #: Seconds since the process (or its fork) began.
    uptime: float | None
    #: Datagrams of this process that never arrived.
    lost: int
    pools: tuple["PoolRow", ...]
    #: Its signs beyond its pools; ``None`` if it sends none.
    signs: ProcessSigns | None = None
    #: Its findings about itself.
    findings: tuple[Finding, ...] = ()
    #: The AuthFile's user who sealed its latest report; empty if it was not sealed.
    user: str = ""
    #: Whether that was with an old password.
    uses_old_password: bool = False


class PoolRow(NamedTuple):
    """One pool of one process, as in its latest report."""

    reading: PoolReading
    rates: Rates
    recent: Times
    #: The largest values since the second latest report that arrived: of one interval, or of several if reports
    #: were lost.
    interval_mark: Mark = NO_MARK


class Holder(NamedTuple):
    """One line of a program that takes connections: the sum over its processes, including those that have left."""

    program: str
    #: Live processes that report it.
    processes: int
    site: SiteReading


class HostProgram(NamedTuple):
    """One program on one host."""

    host: str
    program: str
    sums: Row


class NodeState(NamedTuple):
    """One node of the aggregator's service, as seen by the node that made the snapshot."""

    name: str
    #: Whether this is the node that made the snapshot.
    is_here: bool
    #: Seconds since its link was lost, or since this node began to look for it; ``None`` while it is linked.
    missing_for: float | None


class UserState(NamedTuple):
    """The figures of one user of the AuthFile."""

    name: str
    #: Datagrams that were accepted, and those of them that an old password sealed.
    received: int
    received_old: int
    #: Seconds since the newest of them; ``None`` where no old password was used.
    heard_ago: float
    old_ago: float | None
    #: The process that last used one.
    old_host: str = ""
    old_program: str = ""
    old_token: str = ""


class Health(NamedTuple):
    """The aggregator's own figures, counted since it started."""

    #: Datagrams received, and those of them that were refused (malformed, or over a limit).
    received: int = 0
    refused: int = 0
    #: Datagrams missing according to the senders' numbers, and how many there should have been.
    lost: int = 0
    expected: int = 0
    #: Seconds since the aggregator started.
    uptime: float = 0.0
    #: How often something was refused because a limit was reached, by the limit's name.
    over_limit: tuple[tuple[str, int], ...] = ()
    #: The approximate bytes of the fleet, and their limit; 0 if the server does not say.
    bytes: int = 0
    bytes_limit: int = 0
    #: The nodes of the service, this one included, in the order of the configuration; empty without a cluster.
    nodes: tuple[NodeState, ...] = ()
    #: Datagrams that the kernel dropped because the socket's buffer was full; the lost ones include them.
    dropped: int = 0
    #: Writes of the CSV file that failed.
    unwritten: int = 0
    #: How many of `refused` were refused, or left out in part, for each reason, by the reason's name.
    refusals: tuple[tuple[str, int], ...] = ()
    #: Users that sent sealed reports, those with an old password first; the others as far as there is room.
    users: tuple[UserState, ...] = ()


class Event(NamedTuple):
    """A noteworthy event: a process appeared or fell silent, a pool reached its maximum."""

    wall_time: float
    #: One of ``appeared``, ``goodbye``, ``silent``, ``returned``, ``full``, ``waiting``, ``timeouts``,
    #: ``connect errors``, ``recovered``, ``lost``; or, of a verdict, ``verdict``, ``changed``, ``ended``.
    kind: str
    host: str
    program: str
    text: str


class Snapshot(NamedTuple):
    """The whole fleet at one instant."""

    wall_time: float
    fleet: Row
    programs: tuple[Row, ...]
    hosts: tuple[Row, ...]
    health: Health
    events: tuple[Event, ...] = ()
    #: The requested program, and its processes with their pools; empty if none was requested. Or the result of
    #: `poolhouse.fleet.names.asking_for_host`, with the sums of a program there in place of each process.
    program: str | None = None
    processes: tuple[ProcessRow, ...] = ()
    #: The lines that hold connections: all of the requested program, and some of each other one. Within a program,
    #: lines with open holds come first, then those with the most connection-seconds.
    holders: tuple[Holder, ...] = ()
    #: The standing verdicts, the main cause first.
    verdicts: tuple[Verdict, ...] = ()
