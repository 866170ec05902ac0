"""One pool at one instant, as plain values that the wire, the fleet and the faces share.

A reading is absolute and cumulative: counters and histograms count since the pool's first event in its process, so
a lost reading costs freshness but no data.
"""

from typing import TYPE_CHECKING, Generic, NamedTuple, Self, TypeVar

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import PoolSigns

T = TypeVar("T")


class Limits(NamedTuple):
    """The limits of a pool. ``None`` if there is no limit, or none can be known."""

    #: The most connections that may be open at once.
    max_open: int | None = None
    #: The most connections that are kept open while idle.
    max_idle: int | None = None
    #: How many connections are kept open even if nothing needs them.
    min_idle: int | None = None


class Gauges(NamedTuple):
    """The present numbers of connections (`waiting`: of callers)."""

    idle: int = 0
    used: int = 0
    detached: int = 0
    #: Callers that have asked for a connection and have neither got one nor given up.
    waiting: int = 0

    @property
    def connections(self) -> int:
        """Connections open to the database: idle, used and detached ones."""
        return self.idle + self.used + self.detached


class PerCounter(NamedTuple, Generic[T]):
    """One value for each counter: the only list of counters, from which everything else that names them is made.

    Their order is that of the report's bytes (`poolhouse.wire.layout`), so new counters are appended. A counter's
    collectd name is its name here without underscores. ``None`` if the source does not know the counter.
    """

    #: Connections handed out. The fleet's vectors take the first counter for this one.
    checkouts: T | None = None
    #: Connections opened to the database.
    connects: T | None = None
    #: Connections closed, by either side.
    disconnects: T | None = None
    #: Connections that were declared unusable.
    invalidated: T | None = None
    commits: T | None = None
    rollbacks: T | None = None
    #: Transactions ended, by a commit or a rollback.
    transactions: T | None = None
    #: Callers that waited for a connection as long as they were allowed to, in vain.
    timeouts: T | None = None
    #: Callers that got an error other than a timeout instead of a connection.
    acquire_errors: T | None = None
    #: Attempts to connect to the database that failed.
    connect_errors: T | None = None


class Counters(PerCounter[int]):
    """What has happened so far in one pool; a counter that is not given is 0.

    >>> Counters(checkouts=3).checkouts, Counters(checkouts=3).timeouts
    (3, 0)
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # Type checkers read the fields of `PerCounter` instead.

        def __new__(cls, *counts: int | None, **named: int | None) -> Self:
            """Counts in their order, or by their names."""
            rest = dict.fromkeys(cls._fields[len(counts) :], 0)
            return super().__new__(cls, *counts, **(rest | named))


class Mark(NamedTuple):
    """The largest values seen within one interval, or since the pool's first event."""

    #: The number of the report that closed the interval.
    interval: int = 0
    used: int = 0
    waiting: int = 0
    #: Connections open at once.
    connections: int = 0


#: How many closed intervals' marks a reading contains: a mark survives four lost reports in a row.
MARKS = 5

#: The key of the reading that sums every pool not reported on its own: see `PoolReading.key`.
REST = 0


class PoolReading(NamedTuple):
    """One pool of one process: identity, limits, gauges, counters, marks and three histograms."""

    #: The identity of the pool within its process, never reused. `REST` is not one pool: it sums the pools that
    #: came and went between two reports, and those beyond the number that is reported one by one.
    key: int
    #: As OpenTelemetry's ``db.client.connection.pool.name``: ``server.address:server.port/db.namespace``.
    name: str
    #: The pool's class, for example ``QueuePool``.
    kind: str
    #: How many living pools this reading sums: 1; 0 for a pool that is gone; any number for `REST`.
    pools: int = 1
    limits: Limits = Limits()
    gauges: Gauges = Gauges()
    counters: Counters = Counters()
    #: The marks of the last intervals, at most `MARKS`, newest first.
    marks: tuple[Mark, ...] = ()
    #: The mark since the pool's first event; its ``interval`` is that of the newest report.
    peak: Mark = Mark()
    #: How long callers waited for a connection, including timeouts. ``None`` if the source cannot tell.
    wait: Histogram | None = None
    #: How long connections were out, from checkout to checkin.
    use: Histogram | None = None
    #: How long connects took; only successful ones.
    create: Histogram | None = None
    #: Whether `Gauges.used` and `Gauges.waiting` are upper bounds, because the source knows no better.
    is_bound: bool = False
    #: Who holds connections, and what goes wrong around the pool; ``None`` if the source does not say.
    signs: PoolSigns | None = None
