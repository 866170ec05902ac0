"""The checkouts of a pool that comes with a driver: asyncpg's, aiomysql's, psycopg2's.

Each of these pools knows which of its connections are out, so nothing must be guessed: a connection that was taken
before the pool was watched counts as in use, under the line `unknown`, until it comes back.
"""

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import CodeType, FrameType
from typing import Any, TypeAlias

from poolhouse.clock import monotonic
from poolhouse.copies import copy_of
from poolhouse.instrumentation.guard import guarded, report
from poolhouse.instrumentation.holders import Holder, holder_finder
from poolhouse.instrumentation.measured import Measured, Suspects
from poolhouse.instrumentation.records import LiveSet
from poolhouse.instrumentation.timeouts import explain
from poolhouse.meter.meter import BATCH, NO_WAIT
from poolhouse.meter.signs import PoolSigns
from poolhouse.sites.look import Hold
from poolhouse.sites.looker import Holding
from poolhouse.sites.site import Site
from poolhouse.sites.table import SiteTable
from poolhouse.verdicts.readiness import Condition

#: How many frames above ours the application's is sought at first.
_DEEPEST = 6

_getframe = sys._getframe


#: When a connection was taken, in monotonic seconds; the line that took it; its holder, ``None`` if not known; and
#: whether it was taken before the pool was watched, so that its use time is not known.
Lease: TypeAlias = tuple[float, Site, Holder | None, bool]

#: The most code objects that are remembered as a driver's, or not.
_MOST_CODES = 4_096


class DriverCheckouts(Measured):
    """The leases of one pool, by the identities of its connections. The pool is not kept alive."""

    def __init__(
        self, is_used: Callable[[], None], *, is_async: bool, between: str, is_opaque: bool = False
    ) -> None:
        """Start without a pool to measure.

        Args:
            is_used: Called at the pool's first use in this process.
            is_async: Whether asyncio tasks take the connections, rather than threads.
            between: The package whose frames lie between our functions and the application.
            is_opaque: Whether the driver is written in C, so that no frame shows whether it is working.
        """
        super().__init__(SiteTable())
        self._holder = holder_finder(is_async=is_async)
        self._between = f"{between}."
        #: The code of callers, and whether it is the driver's, by the code's identity.
        self._codes: dict[int, tuple[CodeType, bool]] = {}
        self._is_opaque = is_opaque
        self._is_used = is_used
        self._leases: dict[int, Lease] = {}
        self._suspects: Suspects[int, Lease] = Suspects()
        #: In a forked child, the connections that belong to the parent.
        self._inherited = LiveSet()
        self._is_settled = False

    # The reporter's side.

    def adopt(self, idle: int, used: Iterable[Any]) -> None:
        """Note what is open when the pool begins to be watched: how many are idle, and which are in use."""
        for _ in range(idle):
            self.meter.adopted.add()
        for connection in used:
            self.meter.adopted.add()
            self._leases.setdefault(id(connection), (monotonic(), self._table.unknown, None, True))

    def end_lost(self, used: Iterable[Any]) -> None:
        """Forget leases that ended unseen, for example by a pool's ``terminate()``.

        Args:
            used: The connections that the pool has checked out.
        """
        known = {id(connection) for connection in used}
        suspects = {key: lease for key, lease in copy_of(self._leases).items() if key not in known}
        self._suspects.end(self._leases, suspects)

    def holding(self) -> Holding:
        """The present holds and the number of waiting callers, for the looks."""
        holds = [self._hold(lease) for lease in self._all() if lease[1].place is not None]
        return Holding(holds, self.waiting())

    def waiting(self) -> int:
        """How many callers are waiting now."""
        return self._number_waiting(monotonic())

    def condition(self, idle: int, used: int) -> Condition:
        """The pool's condition, for `poolhouse.ready`, without its limit and whether it is open."""
        return self._condition(idle, used, self.waiting(), (lease[0] for lease in self._all()))

    def signs(self, target: str, made_at: str) -> PoolSigns:
        """The pool's signs beyond its counters; the arguments are the fields of the same names."""
        return self._signs(self._holds(), monotonic(), target=target, made_at=made_at)

    def after_fork(self, opened: Iterable[Any]) -> None:
        """Start from zero in a forked child: what is open belongs to the parent."""
        for connection in opened:
            with suppress(TypeError):  # The connection allows no weak reference.
                self._inherited.add(connection)
        self._leases.clear()
        self._suspects.clear()
        self._begin_afresh()
        self._is_settled = False

    def _all(self) -> list[Lease]:
        return list(self._leases.values())

    def _holds(self) -> list[tuple[Site, float]]:
        return [(site, since) for since, site, _, _ in self._all()]

    def _hold(self, lease: Lease) -> Hold:
        since, site, holder, _ = lease
        code, instruction = site.place or (None, 0)
        return Hold(site.looks, code, instruction, since, holder, site.loop, self._is_opaque)

    # The pool's side: called by the functions that replace the pool's own.

    def asker(self) -> tuple[Holder, float]:
        """The caller that asks for a connection, and when."""
        return self._holder(), monotonic()

    def asks(self, me: Holder, began: float) -> None:
        """Note that a caller asks; `has_asked` must follow even if an interrupt strikes right after this."""
        self._waiting[me] = began

    def has_asked(self, me: Holder) -> None:
        """Note that the caller has got a connection, or given up."""
        self._waiting.pop(me, None)

    def took(self, connection: Any, me: Holder, began: float, ended: float) -> None:
        """Record that a caller has got a connection. Called by the function that the driver or application calls.

        A connection that is already out, as with psycopg2's keys, keeps its one lease. Raises no `Exception`.
        """
        try:
            meter, leases, codes, waited = self.meter, self._leases, self._codes, ended - began
            meter.waits.append(waited)
            depth, frame = 2, _getframe(2)  # Skip this frame and the calling function's.
            while depth < _DEEPEST:
                code = frame.f_code
                known = codes.get(id(code)) or self._learn(frame)
                if not known[1] or frame.f_back is None:
                    break
                depth, frame = depth + 1, frame.f_back
            site = self._table.get(id(frame.f_code) + frame.f_lasti) or self._table.find(depth)
            leases.setdefault(id(connection), (ended, site, me, False))
            if waited > NO_WAIT or len(leases) > meter.used.level or not self._is_settled:
                self._is_out(connection, site, waited)
            if len(meter.waits) >= BATCH:
                meter.fold()
        except Exception:
            report("acquire")

    @guarded
    def took_none(self, error: BaseException, began: float, *, is_timeout: bool) -> None:
        """Record that a caller got an error instead.

        Args:
            error: The error. A timeout gets a note about who holds the connections.
            began: When the caller asked.
            is_timeout: Whether the caller waited for its whole time limit in vain.
        """
        now = monotonic()
        if now - began > NO_WAIT:
            self.meter.waiting.tell(len(self._waiting))
        if is_timeout:
            self.meter.timed_out(now - began, now)
            explain(error, self._holds(), now, max(0, self.waiting() - 1), self.verdict)
        else:
            self.meter.acquire_errors.add()
        self._is_used()

    def gives_back(self, connection: Any) -> tuple[Lease | None, float]:
        """End the lease of a connection that is about to come back. Returns the lease, and the time."""
        return self._leases.pop(id(connection), None), monotonic()

    def gave_back(self, lease: Lease | None, ended: float) -> None:
        """Record that it has come back. Raises no `Exception`."""
        try:
            if lease is not None and not lease[3]:
                lease[1].ended(ended - lease[0])
        except Exception:
            report("release")

    def kept(self, connection: Any, lease: Lease | None) -> None:
        """Undo `gives_back`: the pool refused the connection, or failed to take it."""
        if lease is not None:
            self._leases.setdefault(id(connection), lease)

    @guarded
    def connected(self, seconds: float) -> None:
        """Record that the pool has made a connection, and how long that took."""
        self.meter.creates.append(seconds)

    @guarded
    def did_not_connect(self, error: BaseException) -> None:
        """Record that the pool could not make a connection."""
        self.meter.connect_errors.add()
        self._connect_failures.add(error, monotonic(), self.meter.connects)
        self._is_used()

    def _is_out(self, connection: Any, site: Site, waited: float) -> None:
        """The long path: more connections are out than ever, the caller has waited, or the pool is not settled."""
        self._tell_marks(len(self._leases), site, waited)
        if not self._is_settled:
            if self._inherited and connection in self._inherited:
                self._lendings.add()
            self._is_used()
            self._is_settled = not self._inherited

    def _learn(self, frame: FrameType) -> tuple[CodeType, bool]:
        """Whether a frame is the driver's; remembered by its code, which is kept alive for that."""
        if len(self._codes) >= _MOST_CODES:
            self._codes.clear()
        is_drivers = str(frame.f_globals.get("__name__")).startswith(self._between)
        known = self._codes[id(frame.f_code)] = frame.f_code, is_drivers
        return known
