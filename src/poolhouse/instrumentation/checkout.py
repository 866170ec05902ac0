"""The hot path of a measured SQLAlchemy pool: connections that are taken, returned and made.

A connection that is out has a *lease*: its start, the line of the application that took it (`poolhouse.sites`),
and its holder. Its use time is added to the line; the pool's is the sum over all lines.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeAlias

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import Pool
from sqlalchemy.pool.base import _ConnectionFairy

from poolhouse.clock import monotonic
from poolhouse.copies import copy_of
from poolhouse.instrumentation.engines import held_records
from poolhouse.instrumentation.guard import guarded, report
from poolhouse.instrumentation.holders import Holder, holder_finder
from poolhouse.instrumentation.measured import Measured, Suspects
from poolhouse.instrumentation.records import LiveSet, Record, Records
from poolhouse.instrumentation.timeouts import explain
from poolhouse.meter.meter import BATCH, NO_WAIT
from poolhouse.sites.learner import Learner
from poolhouse.sites.looker import Holding
from poolhouse.sites.site import Site
from poolhouse.sites.table import SiteTable

#: How many leases ended by the garbage collector are remembered: usually more than end between two looks.
_MOST_COLLECTED = 256

#: The key under which a record briefly keeps its connect time, in ``record_info``; ``info`` is the application's.
CREATE = "poolhouse.create_s"

#: When a record was checked out, in monotonic seconds; a reference to the application's proxy; the line that took
#: it; and its holder, ``None`` if that is not known.
Lease: TypeAlias = tuple[float, Any, Site, Holder | None]

#: How many frames above ``pool.connect`` the caller of ``Engine.raw_connection`` is. If that is a new Connection,
#: the caller of ``Engine.connect`` is two frames further up.
_CALLER = 3 if hasattr(Engine, "_wrap_pool_connect") else 2
_CONNECTION_INIT = vars(Connection)["__init__"].__code__
_CONNECT = vars(Pool)["connect"]


class Checkouts(Measured):
    """The leases of a pool, and of the pools that replace it."""

    def __init__(self, table: SiteTable, *, is_async: bool) -> None:
        super().__init__(table)
        self._is_async = is_async
        self._holder = holder_finder(is_async=is_async)
        self._records = Records()
        #: The records that are checked out, so that the mark of connections in use need not examine all records.
        self._leases: dict[Record, Lease] = {}
        self._suspects: Suspects[Record, Lease] = Suspects()
        #: In a forked child, the records whose connections belong to the parent, and the leases of these.
        self._inherited = LiveSet()
        self._lent: dict[Record, Lease] = {}
        #: One item for each connection that was already out when the pool began to be measured, with that time.
        #: The records of some are known.
        self._unknown: list[None] = []
        self._unknown_records = LiveSet()
        self._began = 0.0
        self._learner = Learner(table)
        #: The latest leases ended by the garbage collector.
        self._collected: deque[Lease] = deque(maxlen=_MOST_COLLECTED)
        #: Whether checkouts may take the short path: the pool is reported, and no record is inherited.
        self._is_settled = False

    def holds(self) -> list[tuple[Site, float]]:
        """The site of each connection that is out, and since when; without those of the parent process."""
        unknown, began = self._table.unknown, self._began
        leases = list(self._leases.values())
        return [*((lease[2], lease[0]) for lease in leases), *((unknown, began) for _ in list(self._unknown))]

    def holding(self) -> Holding:
        """The present holds and the number of waiting callers, for the looks in the reporter's thread."""
        now = monotonic()
        holds = self._learner.follow(list(self._leases.values()), list(self._collected.copy()))
        return Holding(holds, self._number_waiting(now))

    def _forget_leases(self) -> None:
        """Start afresh, in a forked child."""
        for mutable in (
            self._leases,
            self._suspects,
            self._lent,
            self._unknown,
            self._unknown_records,
            self._learner,
            self._collected,
        ):
            mutable.clear()
        self._begin_afresh()
        self._is_settled = False

    def _end_lost_leases(self) -> None:
        """Forget leases whose records were never returned, because a listener of the application raised."""
        suspects = {record: lease for record, lease in copy_of(self._leases).items() if not record.in_use}
        self._suspects.end(self._leases, suspects)

    def _measuring_connect(self, pool: Pool) -> Callable[[], Any]:
        """The pool's `connect`, measured. The hot path: every name is bound, and nothing is called twice."""
        connect = _plain_connect(pool)
        meter, waiting, leases, table = self.meter, self._waiting, self._leases, self._table
        used, waits = meter.used, meter.waits
        lease, holder = leases.setdefault, self._holder
        now, waited, reach = monotonic, waits.append, used.reach
        seek, find, is_async, getframe = table.seek, table.find, self._is_async, sys._getframe
        no_wait, batch, caller = NO_WAIT, BATCH, _CALLER

        def measured_connect() -> Any:
            me, began = holder(), now()
            try:
                waiting[me] = began  # Inside the try: it is undone even if an interrupt strikes right after it.
                fairy = connect(pool)
                ended = now()
                took = ended - began
                if took > no_wait:
                    self._has_waited()
            except BaseException as error:
                self._not_acquired(error, began)
                raise
            finally:
                try:  # noqa: SIM105  # suppress() costs half a microsecond.
                    del waiting[me]
                except KeyError:
                    pass  # In a forked child, a greenlet that was waiting in the parent continues here, uncounted.
            try:
                waited(took)
                try:
                    if is_async:
                        site = find(caller)
                    else:
                        depth, site_at = table.first
                        frame = getframe(depth)
                        site = site_at(id(frame.f_code) + frame.f_lasti) or seek(caller, _CONNECTION_INIT)
                except ValueError:  # The stack is not that deep.
                    site = seek(caller, _CONNECTION_INIT)
                if took > no_wait:
                    site.waits.append(took)
                record = fairy._connection_record
                # A nested checkout of a SingletonThreadPool gets its thread's proxy again: still one lease.
                if self._is_settled:
                    lease(record, (ended, record.fairy_ref, site, me))
                    if len(leases) > used.level:
                        reach(len(leases))
                else:
                    self._settle(record, (ended, record.fairy_ref, site, me))
                if len(waits) >= batch:
                    meter.fold()
            except Exception:
                report("checkout")
            return fairy

        return measured_connect

    def _measuring_return(self, give_back: Callable[[Record], None]) -> Callable[[Record], None]:
        """The pool's return of a record, measured: the second half of the hot path."""
        end_lease, now, collected = self._leases.pop, monotonic, self._collected.append

        def measured_return(record: Record) -> None:
            try:
                lease = end_lease(record, None)
                if lease is not None:
                    site = lease[2]
                    site.ended(now() - lease[0])
                    if lease[1]() is None:
                        site.collected.add()
                        collected(lease)
                else:
                    self._returned_without_lease(record)
            except Exception:
                report("checkin")
            finally:
                give_back(record)

        return measured_return

    def _measuring_creator(self, create: Callable[[Record], Any]) -> Callable[[Record], Any]:
        """The pool's creator, timed, with its failures counted; a cancellation is not a failure."""
        did_not_connect, now = self._did_not_connect, monotonic

        def measured_creator(record: Record) -> Any:
            began = now()
            try:
                connection = create(record)
            except Exception as error:
                did_not_connect(error)
                raise
            record.record_info[CREATE] = now() - began
            return connection

        return measured_creator

    @guarded
    def _did_not_connect(self, error: Exception) -> None:
        self.meter.connect_errors.add()
        self._connect_failures.add(error, monotonic(), self.meter.connects)

    def _settle(self, record: Record, lease: Lease) -> None:
        """Record a checkout on the long path; then decide whether the next one may be short (`_is_settled`)."""
        if record in self._inherited:
            self._lendings.add()
            self._lent.setdefault(record, lease)
        else:
            self._leases.setdefault(record, lease)
            self.meter.used.tell(len(self._leases))
        self._be_reported()
        self._is_settled = not self._inherited

    @guarded
    def _has_waited(self) -> None:
        """Record the wait of a caller that is leaving; it still counts as waiting here, as `HighWater` demands."""
        self.meter.waiting.tell(len(self._waiting))

    @guarded
    def _not_acquired(self, error: BaseException, began: float) -> None:
        waited = monotonic() - began
        if waited > NO_WAIT:
            self._has_waited()
            self._table.walked().waits.append(waited)
        if isinstance(error, PoolTimeoutError):
            now, others = monotonic(), len(self._waiting) - 1
            self.meter.timed_out(waited, now)
            explain(error, self.holds(), now, max(0, others), self.verdict)
        else:
            # This includes cancelled callers: asyncio.timeout() and gevent.Timeout end waits in this way.
            self.meter.acquire_errors.add()
        self._be_reported()

    def _returned_without_lease(self, record: Record) -> None:
        """Handle a returned record without a lease.

        It was checked out before the pool was measured, or its connection is inherited, or its checkout failed.
        """
        lease = self._lent.pop(record, None)
        if lease is not None:
            lease[2].ended(monotonic() - lease[0])
        elif record not in self._inherited:
            self._end_unknown(record)
            self._adopt(record)

    def _expect_unknown(self, pools: Iterable[Pool]) -> None:
        """Note the number of connections that are already out when the pool begins to be measured."""
        self._began = monotonic()
        for pool in pools:
            in_use = [record for record in held_records(pool) if record.in_use]
            for record in in_use:
                self._unknown_records.add(record)
            self._unknown.extend([None] * max(_checked_out(pool), len(in_use)))

    def _end_unknown(self, record: Record) -> None:
        """Note that a connection without a lease has come back, or has left its record."""
        is_known = record in self._unknown_records
        if self._unknown and (is_known or record not in self._records):
            self._unknown_records.discard(record)
            with suppress(IndexError):
                self._unknown.pop()

    def _end_lost_unknown(self, pools: Iterable[Pool]) -> None:
        """Forget some of the connections that were already out, if fewer are out now."""
        if self._unknown:
            # A caller that was only about to take one may have failed since.
            out = sum(map(_checked_out, pools)) - len(self._leases)
            del self._unknown[max(0, out, len(list(self._unknown_records))) :]

    def _be_reported(self) -> None:
        raise NotImplementedError("a subclass has the stream")

    def _adopt(self, record: Record) -> None:
        raise NotImplementedError("a subclass has the pool's records")


def _plain_connect(pool: Pool) -> Callable[[Pool], Any]:
    """What ``pool.connect()`` does; if that is SQLAlchemy's own method, the function that it calls."""
    connect: Any = pool.connect
    code = getattr(getattr(connect, "__func__", None), "__code__", None)
    if code is not None and code is _CONNECT.__code__ and code.co_names == ("_ConnectionFairy", "_checkout"):
        checkout: Callable[[Pool], Any] = _ConnectionFairy._checkout
        return checkout
    return lambda _: connect()


def _checked_out(pool: Pool) -> int:
    """How many connections a pool has checked out; 0 for pools that do not count them."""
    count = getattr(pool, "checkedout", None)
    number = count() if callable(count) else 0
    return number if isinstance(number, int) else 0
