"""The shared part of all measurements of foreign pools: SQLAlchemy's, psycopg_pool's, and those of drivers."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from poolhouse.instrumentation.holders import Holder
from poolhouse.meter.connect_errors import ConnectFailures
from poolhouse.meter.meter import NO_WAIT, Meter, Tally
from poolhouse.meter.signs import PoolSigns
from poolhouse.sites.readings import site_readings
from poolhouse.sites.site import Site
from poolhouse.sites.table import SiteTable
from poolhouse.sites.tally import PoolLooks
from poolhouse.verdicts.readiness import Condition
from poolhouse.verdicts.verdict import Verdict

K = TypeVar("K")
L = TypeVar("L")


class Measured:
    """The measurement of one pool, except for its leases, which each kind stores in its own way.

    Attributes:
        meter: The measurements.
        looks: The results of the looks.
        verdict: What is wrong with the pool, for the errors of its callers; ``None`` if nothing is found.
    """

    def __init__(self, table: SiteTable) -> None:
        """Start with nothing measured.

        Args:
            table: Finds the lines of the application that take connections.
        """
        self.meter = Meter()
        self.looks = PoolLooks()
        self.verdict: Verdict | None = None
        self._table = self.meter.other_uses = table
        self._connect_failures = ConnectFailures()
        #: The callers that are asking for a connection, and since when.
        self._waiting: dict[Holder, float] = {}
        #: How often a connection of the parent process was handed out.
        self._lendings = Tally()

    def _number_waiting(self, now: float) -> int:
        """How many callers have been waiting for a noticeable time."""
        return sum(now - since > NO_WAIT for since in list(self._waiting.values()))

    def _condition(self, idle: int, used: int, waiting: int, taken: Iterable[float]) -> Condition:
        """The pool's condition, for `poolhouse.ready`.

        Args:
            idle: Idle connections.
            used: Connections that are out.
            waiting: Waiting callers.
            taken: When each connection that is out was taken, if known, in monotonic seconds.
        """
        return Condition(
            idle=idle,
            used=used,
            waiting=waiting,
            taken_at=max(taken, default=None),
            timed_out_at=self.meter.timed_out_at,
            failing=self._connect_failures.failing(self.meter.connects),
            verdict=self.verdict,
        )

    def _signs(
        self, holds: list[tuple[Site, float]], now: float, *, target: str, made_at: str, dead: int = 0
    ) -> PoolSigns:
        """The pool's signs beyond its counters.

        Args:
            holds: The site of each connection that is out, and since when.
            now: Monotonic seconds.
            target: As the field of that name.
            made_at: As the field of that name.
            dead: As the field of that name.
        """
        signs = PoolSigns(
            target=target,
            made_at=made_at,
            connect_errors=self._connect_failures.read(),
            inherited=self._lendings.read(),
            dead=dead,
            sites=site_readings(self._table.sites(), holds, now),
        )
        return self.looks.told_in(signs)

    def _tell_marks(self, used: int, site: Site, waited: float) -> None:
        """Record the marks when a caller that may have waited gets a connection, and `used` are then out."""
        self.meter.used.tell(used)
        if waited > NO_WAIT:
            site.waits.append(waited)
            self.meter.waiting.tell(len(self._waiting) + 1)  # This caller has already left.

    def _begin_afresh(self) -> None:
        """Start from zero in a forked child."""
        self._waiting.clear()
        self._table.clear()
        self.verdict = None
        self.meter.reset()
        self.looks.reset()
        self._connect_failures.reset()
        self._lendings.reset()


class Suspects(Generic[K, L]):
    """Leases that seem to have ended unseen. A lease counts as ended if it seems so at two readings in a row.

    A connection that is out by its lease but not by the pool may be on its way out or back now, but not still at
    the next reading.
    """

    def __init__(self) -> None:
        self._suspects: dict[K, L] = {}

    def end(self, leases: dict[K, L], suspects: dict[K, L]) -> None:
        """End the leases that are suspects now and were at the previous reading.

        Args:
            leases: All leases of the pool.
            suspects: Those that seem to have ended now.
        """
        for key, lease in suspects.items():
            if self._suspects.get(key) is lease and leases.get(key) is lease:
                leases.pop(key, None)
        self._suspects = suspects

    def clear(self) -> None:
        """Drop all suspects, in a forked child."""
        self._suspects.clear()
