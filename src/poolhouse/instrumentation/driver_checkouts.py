"""The checkouts of a pool that comes with a driver: asyncpg's, aiomysql's, psycopg2's.

Each of these pools knows which of its connections are out, so nothing has to be guessed: a connection that was
taken before the pool was watched counts as in use, under the line `unknown`, until it comes back.
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

#: How many frames further out than our own the application's is looked for at first.
_DEEPEST = 6

_getframe = sys._getframe


#: Since when a connection is out, in monotonic seconds; the line that took it; who did, ``None`` if not known; and
#: whether it was taken before the pool was watched: how long it was out is then not known.
Lease: TypeAlias = tuple[float, Site, Holder | None, bool]

#: How many code objects are known to be a driver's, or not.
_MOST_CODES = 4_096


class DriverCheckouts(Measured):
    """The leases of one pool, by the identities of its connections. It does not keep the pool alive."""

    def __init__(
        self, is_used: Callable[[], None], *, is_async: bool, between: str, is_opaque: bool = False
    ) -> None:
        """Measure nothing yet.

        Args:
            is_used: Called at the pool's first use in this process.
            is_async: Whether tasks of asyncio take the connections, else threads do.
            between: The package whose frames lie between our functions and the application.
            is_opaque: Whether the driver is written in C, so that no frame says whether it works.
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
        """Know what is open as the pool begins to be watched: how many are idle, and which are in use."""
        for _ in range(idle):
            self.meter.adopted.add()
        for connection in used:
            self.meter.adopted.add()
            self._leases.setdefault(id(connection), (monotonic(), self._table.unknown, None, True))

    def end_lost(self, used: Iterable[Any]) -> None:
        """Forget leases that ended in a way that we do not see, as a pool's ``terminate()`` does.

        Args:
            used: The connections that the pool has out.
        """
        known = {id(connection) for connection in used}
        suspects = {key: lease for key, lease in copy_of(self._leases).items() if key not in known}
        self._suspects.end(self._leases, suspects)

    def holding(self) -> Holding:
        """What is out, and how many wait, for the looks."""
        holds = [self._hold(lease) for lease in self._all() if lease[1].place is not None]
        return Holding(holds, self.waiting())

    def waiting(self) -> int:
        """How many callers wait now."""
        return self._number_waiting(monotonic())

    def condition(self, idle: int, used: int) -> Condition:
        """What is known of the pool, for `poolhouse.ready`; but for its limit, and whether it is open."""
        return self._condition(idle, used, self.waiting(), (lease[0] for lease in self._all()))

    def signs(self, target: str, made_at: str) -> PoolSigns:
        """What the pool shows beyond its counters; the arguments are as the fields of that name."""
        return self._signs(self._holds(), monotonic(), target=target, made_at=made_at)

    def after_fork(self, opened: Iterable[Any]) -> None:
        """Start from zero in a forked child: what is open belongs to the parent."""
        for connection in opened:
            with suppress(TypeError):  # It allows no weak reference.
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

    # The pool's side: called by the functions that stand for the pool's own.

    def asker(self) -> tuple[Holder, float]:
        """Who asks for a connection, and when."""
        return self._holder(), monotonic()

    def asks(self, me: Holder, began: float) -> None:
        """Somebody asks; to be called where `has_asked` follows even if an interrupt strikes right after it."""
        self._waiting[me] = began

    def has_asked(self, me: Holder) -> None:
        """It has got one, or given up."""
        self._waiting.pop(me, None)

    def took(self, connection: Any, me: Holder, began: float, ended: float) -> None:
        """A caller has got a connection. To be called by the function that the driver, or the application, calls.

        A connection that is out already, as with psycopg2's keys, has one lease. Raises no `Exception`.
        """
        try:
            meter, leases, codes, waited = self.meter, self._leases, self._codes, ended - began
            meter.waits.append(waited)
            depth, frame = 2, _getframe(2)  # Beyond this one and that function's.
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
        """A caller got an error instead.

        Args:
            error: The error; where it is a timeout, a note says who has the connections.
            began: When the caller asked.
            is_timeout: Whether the pool had none for as long as the caller was allowed to wait.
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
        """A connection is about to come back: its lease, which ends, and when that is."""
        return self._leases.pop(id(connection), None), monotonic()

    def gave_back(self, lease: Lease | None, ended: float) -> None:
        """It has come back. Raises no `Exception`."""
        try:
            if lease is not None and not lease[3]:
                lease[1].ended(ended - lease[0])
        except Exception:
            report("release")

    def kept(self, connection: Any, lease: Lease | None) -> None:
        """It has not come back: the pool refused it, or failed to take it."""
        if lease is not None:
            self._leases.setdefault(id(connection), lease)

    @guarded
    def connected(self, seconds: float) -> None:
        """The pool has made a connection, and that took so long."""
        self.meter.creates.append(seconds)

    @guarded
    def did_not_connect(self, error: BaseException) -> None:
        """The pool could not make a connection."""
        self.meter.connect_errors.add()
        self._connect_failures.add(error, monotonic(), self.meter.connects)
        self._is_used()

    def _is_out(self, connection: Any, site: Site, waited: float) -> None:
        """The long path: more connections are out than before, the caller has waited, or not all is settled."""
        self._tell_marks(len(self._leases), site, waited)
        if not self._is_settled:
            if self._inherited and connection in self._inherited:
                self._lendings.add()
            self._is_used()
            self._is_settled = not self._inherited

    def _learn(self, frame: FrameType) -> tuple[CodeType, bool]:
        """Whether a frame is the driver's, remembered by its code, which is kept alive for that."""
        if len(self._codes) >= _MOST_CODES:
            self._codes.clear()
        is_drivers = str(frame.f_globals.get("__name__")).startswith(self._between)
        known = self._codes[id(frame.f_code)] = frame.f_code, is_drivers
        return known
