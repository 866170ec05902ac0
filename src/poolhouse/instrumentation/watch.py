"""Measuring the pool of a SQLAlchemy engine.

What is measured where:

- Gauges: the connection records are looked at when a report is made (`records`).
- Waits, checkouts, timeouts, errors, callers waiting: a wrapper of ``pool.connect``, which every checkout calls,
  in threads and in greenlets. ``dispose()`` makes a new pool, which a wrapper of ``pool.recreate`` wraps too.
  (At the event ``engine_disposed`` other threads may have used the new pool already.)
- Uses: from the end of that wrapper to a wrapper of ``pool._return_conn``, or to the event ``detach``. (The event
  ``checkin`` fires at the same moment, but its dispatch costs three times as much as all our work there.)
- Connects: the event ``connect``. Their durations and failures: a wrapper of the pool's creator, since the
  event for these does not fire where the application connects for itself (``creator=``).
- Transactions: events of the engine.

Nothing here raises into the application, waits, or keeps an engine, a pool or an idle connection alive.
"""

import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy.engine import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import Pool

from poolhouse.instrumentation.engines import held_records, pool_limits, pool_name
from poolhouse.instrumentation.events import listen
from poolhouse.instrumentation.guard import guarded, report
from poolhouse.instrumentation.pools import hand_over
from poolhouse.instrumentation.records import LiveSet, Record, Records
from poolhouse.meter.meter import BATCH, HighWater, Meter, Tally
from poolhouse.meter.reading import Gauges, PoolReading
from poolhouse.report.source import Source


class Stream(Protocol):
    """Where pools are reported: ``poolhouse.report.stream.Stream``."""

    def add(self, source: Source, /) -> None:
        """Report this pool from now on."""
        ...

    def expect(self, source: Source, /) -> None:
        """Have this pool begin anew in a forked child, also if it was not added before the fork."""
        ...


#: A caller that is served within this many seconds does not count as waiting.
NO_WAIT = 0.0001

#: The key under which a record briefly keeps its connect time, in ``record_info``; ``info`` is the application's.
_CREATE = "poolhouse.create_s"

#: The watch of each pool; several engines may share a pool.
_watches: "weakref.WeakKeyDictionary[Pool, PoolWatch]" = weakref.WeakKeyDictionary()


def watch(engine: Engine, stream: Stream) -> None:
    """Measure an engine and its pool, and report them in `stream` from their first use on.

    An engine whose pool is watched already reports where the pool does. Several threads may do this at once, and
    the engine may be in use.
    """
    pool = engine.pool
    found = _watches.get(pool)
    if found is not None:
        found.listen_to_engine(engine)
        return
    made = PoolWatch(str(engine.url.get_backend_name()), type(pool).__name__, stream, place=pool_name(engine.url))
    found = _watches.setdefault(pool, made)  # In one step: of several threads one is the first.
    found.listen_to_engine(engine)
    if found is made:
        found.listen_to_pool(pool)


def is_watched(pool: Any) -> bool:
    """Whether an engine's instrumentation measures this pool."""
    return pool in _watches


class PoolWatch:
    """One pool of one or more engines, and the pools that replace it. It is a `Source` of reports."""

    def __init__(self, name: str, kind: str, stream: Stream, place: str = "") -> None:
        """Begin with nothing.

        Args:
            name: The pool's name until it has made a connection.
            kind: The pool's class.
            stream: The stream that reports it.
            place: Its name after that, since only then is the URL known to be right; the same as `name` if empty.
        """
        self._name = name
        self._place = place or name
        self._kind = kind
        self._stream = stream
        self._meter = Meter()
        self._engines = LiveSet()
        self._pools = LiveSet()
        self._records = Records()
        #: One item for each caller inside ``pool.connect``.
        self._waiting: deque[None] = deque()
        #: The records that are checked out: the mark of connections in use needs no look at all records.
        self._leases: dict[Record, Lease] = {}
        #: Leases of records that were not in use when the pool was read last.
        self._suspects: dict[Record, Lease] = {}
        #: In a forked child, the records whose connections belong to the parent, and the leases of these.
        self._inherited = LiveSet()
        self._lent: dict[Record, Lease] = {}
        self._is_reported = False
        #: Whether a checkout may take the short path: the pool is reported, and no record is inherited.
        self._is_settled = False
        stream.expect(self)

    # The reporter's side.

    def is_gone(self) -> bool:
        """Whether the engines have been collected, and the pool too: an application may have kept that alone."""
        return not self._engines and not self._pools

    def read(self, number: int) -> PoolReading:
        """The pool's figures now."""
        self._end_lost_leases()
        limits = pool_limits(self._pools_in_use())
        return self._meter.read(number, self._look, limits, name=self._name, kind=self._kind)

    def after_fork(self) -> None:
        """Start from zero: the counts and the open connections belong to the parent."""
        held = [record for pool in self._pools_in_use() for record in held_records(pool)]
        for record in (*self._records, *held):
            if record.dbapi_connection is not None:
                self._inherited.add(record)
        self._records.clear()
        for mutable in (self._waiting, self._leases, self._suspects, self._lent):
            mutable.clear()
        self._meter.reset()
        self._is_reported = self._is_settled = False

    def __repr__(self) -> str:
        """For the log, for example ``<PoolWatch QueuePool 'db.example:5432/shop'>``."""
        return f"<PoolWatch {self._kind} {self._name!r}>"

    def _pools_in_use(self) -> set[Pool]:
        """The engines' pools; where no engine is left, the pools that were theirs."""
        return {engine.pool for engine in self._engines} or set(self._pools)

    def _look(self) -> Gauges:
        if self.is_gone():
            return Gauges()
        return Gauges(*self._records.look(), len(self._waiting))

    def _end_lost_leases(self) -> None:
        """Forget leases whose records were never returned, because a listener of the application raised.

        A record that is not in use may be in the middle of its return now, but not still at the next reading.
        """
        suspects = {record: lease for record, lease in self._leases.copy().items() if not record.in_use}
        for record, lease in suspects.items():
            if self._suspects.get(record) is lease and self._leases.get(record) is lease:
                self._leases.pop(record, None)
        self._suspects = suspects

    # The pool's side.

    def listen_to_engine(self, engine: Engine) -> None:
        """Count the engine's transactions. Idempotent."""
        if not self._engines.add(engine):
            return
        meter = self._meter
        for kind, tally in (
            ("begin", meter.transactions),
            ("commit", meter.commits),
            ("rollback", meter.rollbacks),
        ):
            listen(engine, kind, _counter(tally))
            listen(engine, f"{kind}_twophase", _counter(tally))

    def listen_to_pool(self, pool: Pool) -> None:
        """Measure this pool, at once if it holds connections already.

        The pools that replace it inherit the listeners, and need `_wrap` only.
        """
        # Our listeners are first, so that they see connections that a listener of the application refuses.
        for kind, listener in (
            ("connect", self._connected),
            ("detach", self._detached),
            ("close_detached", self._detached_closed),
            ("invalidate", self._invalidated),
            ("soft_invalidate", self._invalidated),
        ):
            listen(pool, kind, listener, first=True)
        for record in held_records(pool):
            self._adopt(record)
        self._wrap(pool)
        if self._records:
            self._be_reported()

    def _wrap(self, pool: Pool) -> None:
        _watches[pool] = self
        self._pools.add(pool)
        hand_over(pool)
        # Instance attributes, because nothing else changes a pool that exists already. The return is wrapped
        # first: a connection that another thread checks out in between is then adopted when it is returned.
        attributes: Any = vars(pool)
        attributes["_return_conn"] = self._measuring_return(pool._return_conn)
        attributes["_invoke_creator"] = self._measuring_creator(pool._invoke_creator)
        attributes["recreate"] = self._measuring_successor(pool.recreate)
        attributes["connect"] = self._measuring_connect(pool.connect)

    def _measuring_successor(self, recreate: Callable[[], Pool]) -> Callable[[], Pool]:
        """The pool's `recreate`: the engine gets a pool that is measured from its first use on."""

        def measured_successor() -> Pool:
            successor = recreate()
            try:
                self._wrap(successor)
            except Exception:
                report("dispose")
            return successor

        return measured_successor

    def _measuring_connect(self, connect: Callable[[], Any]) -> Callable[[], Any]:
        """The pool's `connect`, measured. The hot path: every name is bound, and nothing is called twice."""
        meter, waiting, leases = self._meter, self._waiting, self._leases
        used, waits = meter.used, meter.waits
        enter, leave, lease = waiting.append, waiting.pop, leases.setdefault
        now, waited, reach = time.monotonic, waits.append, used.reach

        def measured_connect() -> Any:
            began = now()
            try:
                enter(None)  # Inside the try: an interrupt may strike as it returns, and `leave` must still run.
                fairy = connect()
                ended = now()
                if ended - began > NO_WAIT:
                    self._has_waited()
            except BaseException as error:
                self._not_acquired(error, began)
                raise
            finally:
                try:  # noqa: SIM105  # suppress() costs half a microsecond.
                    leave()
                except IndexError:
                    pass  # In a forked child: a greenlet that was waiting in the parent runs on here, uncounted.
            try:
                waited(ended - began)
                record = fairy._connection_record
                # A nested checkout of a SingletonThreadPool gets its thread's proxy again: still one lease.
                if self._is_settled:
                    lease(record, (ended, record.fairy_ref))
                    if len(leases) > used.level:
                        reach(len(leases))
                else:
                    self._settle(record, (ended, record.fairy_ref))
                if len(waits) >= BATCH:
                    meter.fold()
            except Exception:
                report("checkout")
            return fairy

        return measured_connect

    def _measuring_return(self, give_back: Callable[[Record], None]) -> Callable[[Record], None]:
        """The pool's return of a record, measured: the second half of the hot path."""
        end_lease, now, was_used = self._leases.pop, time.monotonic, self._meter.uses.append

        def measured_return(record: Record) -> None:
            try:
                lease = end_lease(record, None)
                if lease is not None:
                    was_used(now() - lease[0])
                else:
                    self._returned_without_lease(record)
            except Exception:
                report("checkin")
            finally:
                give_back(record)

        return measured_return

    def _measuring_creator(self, create: Callable[[Record], Any]) -> Callable[[Record], Any]:
        """The pool's creator, timed, with its failures counted; a cancellation is not one."""
        failed, now = self._meter.connect_errors.add, time.monotonic

        def measured_creator(record: Record) -> Any:
            began = now()
            try:
                connection = create(record)
            except Exception:
                failed()
                raise
            record.record_info[_CREATE] = now() - began
            return connection

        return measured_creator

    def _settle(self, record: Record, lease: "Lease") -> None:
        """Record a checkout on the long path; then decide whether the next one may be short (`_is_settled`)."""
        if record in self._inherited:
            self._lent.setdefault(record, lease)
        else:
            self._leases.setdefault(record, lease)
            _tell(self._meter.used, len(self._leases))
        self._be_reported()
        self._is_settled = not self._inherited

    @guarded
    def _has_waited(self) -> None:
        """A caller that did wait is leaving; it still counts as waiting here, as `HighWater` demands."""
        _tell(self._meter.waiting, len(self._waiting))

    @guarded
    def _not_acquired(self, error: BaseException, began: float) -> None:
        waited = time.monotonic() - began
        if waited > NO_WAIT:
            self._has_waited()
        if isinstance(error, PoolTimeoutError):
            self._meter.timeouts.append(waited)
        else:
            # Cancelled callers included: asyncio.timeout() and gevent.Timeout end waits in this way.
            self._meter.acquire_errors.add()
        self._be_reported()

    @guarded
    def _connected(self, connection: Any, record: Record) -> None:
        # Count first, then make it visible: a connection that a report sees has been counted.
        self._meter.creates.append(record.record_info.pop(_CREATE, 0.0))
        self._inherited.discard(record)
        self._records.add(record)
        self._name = self._place
        _tell(self._meter.connections, sum(self._records.look()))

    def _returned_without_lease(self, record: Record) -> None:
        """A record without a lease is returned.

        It was checked out before the pool was measured, or its connection is inherited, or its checkout failed.
        """
        lease = self._lent.pop(record, None)
        if lease is not None:
            self._meter.uses.append(time.monotonic() - lease[0])
        elif record not in self._inherited:
            self._adopt(record)

    @guarded
    def _detached(self, connection: Any, record: Record) -> None:
        lease = self._leases.pop(record, None)
        if record.in_use:
            # The record was returned before this event, and another caller has it already.
            self._leases.setdefault(record, (time.monotonic(), record.fairy_ref))
        if lease is None:
            lease = self._lent.pop(record, None)
        if lease is not None:
            self._meter.uses.append(time.monotonic() - lease[0])
        if record not in self._inherited:
            self._records.detach(connection, lease and lease[1])

    @guarded
    def _detached_closed(self, connection: Any) -> None:
        self._records.close_detached(connection)

    @guarded
    def _invalidated(self, connection: Any, record: Record, error: BaseException | None) -> None:
        self._meter.invalidated.add()

    def _adopt(self, record: Record) -> None:
        """Include a record whose connect was not seen, unless it is known already, or empty."""
        if record.dbapi_connection is not None and record not in self._records:
            self._meter.adopted.add()
            self._records.add(record)
            self._name = self._place

    def _be_reported(self) -> None:
        if not self._is_reported:
            self._is_reported = True
            self._stream.add(self)


#: When a record was checked out, in monotonic seconds, and a reference to the proxy that the application got.
Lease = tuple[float, Any]


def _tell(mark: HighWater, value: int) -> None:
    if value > mark.level:
        mark.reach(value)


def _counter(tally: Tally) -> Callable[..., None]:
    """A listener that counts, with any arguments. SQLAlchemy inspects its signature, and accepts no builtin."""
    count = tally.add

    def listener(*details: Any) -> None:
        count()

    return listener
