"""Measuring the pool of a SQLAlchemy engine.

Where each figure comes from:

- Gauges: each report examines the connection records (`records`).
- Waits, checkouts, timeouts, errors, waiting callers: a wrapper of ``pool.connect``, which every checkout calls,
  in threads and in greenlets (`checkout`). ``dispose()`` makes a new pool, which a wrapper of ``pool.recreate``
  wraps too. (At the event ``engine_disposed`` other threads may have used the new pool already.)
- The line of the application that takes a connection, and its thread or task: the same wrapper
  (`poolhouse.sites`).
- Uses: from the end of that wrapper to a wrapper of ``pool._return_conn``, or to the event ``detach``. (The event
  ``checkin`` fires at the same moment, but its dispatch costs three times as much as all our work there.)
- Connects: the event ``connect``. Their durations and failures: a wrapper of the pool's creator, since the event
    for
  these does not fire if the application connects for itself (``creator=``).
- Transactions: wrappers of the dialect's methods (`transactions`).

Nothing here raises into the application, waits, or keeps an engine, a pool or an idle connection alive.
"""

import sys
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from poolhouse.clock import monotonic
from poolhouse.copies import copy_of
from poolhouse.instrumentation.automatic import pending_of
from poolhouse.instrumentation.checkout import CREATE, Checkouts
from poolhouse.instrumentation.engines import held_records, pool_limits, pool_name
from poolhouse.instrumentation.events import listen
from poolhouse.instrumentation.guard import guarded, report
from poolhouse.instrumentation.long_holds import LongHolds
from poolhouse.instrumentation.pools import hand_over
from poolhouse.instrumentation.records import LiveSet, Record
from poolhouse.instrumentation.transactions import count_transactions, uncounted
from poolhouse.meter.meter import Tally
from poolhouse.meter.reading import Gauges, PoolReading
from poolhouse.meter.signs import PoolSigns
from poolhouse.report.source import AnyStream
from poolhouse.report.unsent import moved
from poolhouse.sites.modules import modules_of
from poolhouse.sites.stack import line_in_words
from poolhouse.sites.table import SiteTable
from poolhouse.verdicts import current
from poolhouse.verdicts.readiness import Condition
from poolhouse.verdicts.verdict import Verdict

#: The attributes that are set on a pool's instance.
_ATTRIBUTES = ("_return_conn", "_invoke_creator", "recreate", "connect", "depth_of_caller")

#: The watch of each pool; several engines may share a pool.
_watches: "weakref.WeakKeyDictionary[Pool, PoolWatch]" = weakref.WeakKeyDictionary()


def watch(
    engine: Engine,
    stream: AnyStream,
    skip: tuple[str, ...] = (),
    hold_warning: float | None = None,
    made_at: str | None = None,
) -> None:
    """Measure an engine and its pool, and report them in `stream` from their first use on.

    An engine whose pool is watched already reports where the pool does. Several threads may call this at once, and
    the engine may be in use.

    Args:
        engine: The engine that owns the pool.
        stream: The stream that reports it.
        skip: Packages between the application and the pool, besides those that are always skipped.
        hold_warning: Log each connection that is held for longer, in seconds; ``None`` for never.
        made_at: The line of the application that made the engine, in words; ``None`` for the present line.
    """
    pool = engine.pool
    found = _watches.get(pool)
    if found is not None:
        found.move_to(stream)
        found.listen_to_engine(engine)
        return
    made = PoolWatch(
        str(engine.url.get_backend_name()),
        type(pool).__name__,
        stream,
        place=pool_name(engine.url),
        is_async=bool(getattr(engine.dialect, "is_async", False)),
        skip=skip,
        hold_warning=hold_warning,
    )
    made.made_at = line_in_words(sys._getframe(1), modules_of(skip)) if made_at is None else made_at
    found = _watches.setdefault(pool, made)  # Atomic: of several threads, one is the first.
    found.listen_to_engine(engine)
    if found is made:
        found.listen_to_pool(pool)


def is_watched(pool: Any) -> bool:
    """Whether an engine's instrumentation measures this pool."""
    return pool in _watches


def watch_of(pool: Any) -> "PoolWatch | None":
    """The watch of an engine's pool; ``None`` if it has none."""
    return _watches.get(pool)


class PoolWatch(Checkouts):
    """One pool of one or more engines, and the pools that replace it; a `Source` of reports.

    Attributes:
        made_at: The line of the application that made the engine or had it measured, in words; empty if not known.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        stream: AnyStream,
        place: str = "",
        *,
        is_async: bool = False,
        skip: tuple[str, ...] = (),
        hold_warning: float | None = None,
    ) -> None:
        """Start without a pool.

        Args:
            name: The pool's name until it has made a connection.
            kind: The pool's class.
            stream: The stream that reports it.
            place: Its name after that, when the URL is known to be right; the same as `name` if empty.
            is_async: Whether SQLAlchemy runs in greenlets started by asyncio tasks.
            skip: Packages between the application and the pool, besides those that are always skipped.
            hold_warning: Log each connection that is held for longer, in seconds; ``None`` for never.
        """
        getcurrent = import_module("greenlet").getcurrent if is_async else None
        super().__init__(SiteTable(modules_of(skip), getcurrent), is_async=is_async)
        self.made_at = ""
        self._name = self._backend = name
        self._place = place or name
        self._kind = kind
        self._stream = stream
        self._engines = LiveSet()
        self._pools = LiveSet()
        #: Connections that were found dead while in use.
        self._dead = Tally()
        self._long_holds = LongHolds(hold_warning)
        self._is_reported = False
        stream.expect(self)

    # The reporter's side.

    def move_to(self, stream: AnyStream) -> None:
        """Set the stream of a pool that is reported nowhere; any other pool keeps its own."""
        before, self._stream = self._stream, moved(self, self._stream, stream)
        if self._stream is not before:
            stream.expect(self)
            if self._is_reported:
                stream.add(self)

    def is_gone(self) -> bool:
        """Whether the engines have been collected, and also the pool, which an application may have kept alone."""
        return not self._engines and not self._pools

    def read(self, number: int) -> PoolReading:
        """The pool's present figures."""
        self._end_lost_leases()
        self._warn_of_long_holds()
        for engine in self._engines:
            count_transactions(engine.dialect, self.meter)  # The application may have replaced the dialect.
        limits = pool_limits(self._pools_in_use())
        reading = self.meter.read(number, self._look, limits, name=self._name, kind=self._kind)
        return reading._replace(signs=self._told())

    def _warn_of_long_holds(self) -> None:
        leases = copy_of(self._leases).items()
        held = [(id(record), since, site) for record, (since, _, site, _) in leases]
        self._long_holds.look(f"{self._kind} {self._name!r}", held, monotonic())

    def _told(self) -> PoolSigns:
        # The use time of a connection that comes back at this moment is folded only in the next reading.
        self._end_lost_unknown(self._pools)
        now, holds = monotonic(), self.holds()
        target = self._name if self._name != self._backend else ""
        return self._signs(holds, now, target=target, made_at=self.made_at, dead=self._dead.read())

    def condition(self) -> Condition:
        """The pool's condition, for `poolhouse.ready`; any thread may call this."""
        taken = [lease[0] for lease in list(self._leases.values())]
        gauges = self._look()
        known = self._condition(gauges.idle, gauges.used, gauges.waiting, taken)
        return known._replace(most=pool_limits(self._pools_in_use()).max_open)

    def judged(self, verdicts: tuple[Verdict, ...]) -> None:
        """Store what is wrong with the pool now, for the errors of its callers."""
        self.verdict = verdicts[0] if verdicts else None
        for pool in self._pools_in_use():
            current.tell(pool, verdicts)

    def after_fork(self) -> None:
        """Start from zero: the counts and the open connections belong to the parent."""
        held = [record for pool in self._pools_in_use() for record in held_records(pool)]
        for record in (*self._records, *held):
            if record.dbapi_connection is not None:
                self._inherited.add(record)
        self.judged(())
        self._long_holds.forget()
        self._records.clear()
        self._dead.reset()
        self._forget_leases()
        self._is_reported = False

    def __repr__(self) -> str:
        """For the log, for example ``<PoolWatch QueuePool 'db.example:5432/shop'>``."""
        return f"<PoolWatch {self._kind} {self._name!r}>"

    def _pools_in_use(self) -> set[Pool]:
        """The engines' pools; if no engine is left, the pools that were theirs."""
        return {engine.pool for engine in self._engines} or set(self._pools)

    def _look(self) -> Gauges:
        if self.is_gone():
            return Gauges()
        return Gauges(*self._records.look(), len(self._waiting))

    # The pool's side.

    def listen_to_engine(self, engine: Engine) -> None:
        """Count the engine's transactions. Idempotent."""
        if self._engines.add(engine):
            count_transactions(engine.dialect, self.meter)
            engine.pool._dialect = uncounted(engine.pool._dialect)  # `create_engine(pool=…)` has given it its own.

    def listen_to_pool(self, pool: Pool) -> None:
        """Measure this pool, at once if it already holds connections.

        The pools that replace it inherit the listeners and need only `_wrap`.
        """
        # Our listeners come first, so that they see connections that a listener of the application refuses.
        for kind, listener in (
            ("connect", self._connected),
            ("detach", self._detached),
            ("close_detached", self._detached_closed),
            ("invalidate", self._invalidated),
            ("soft_invalidate", self._invalidated),
        ):
            listen(pool, kind, listener, first=True)
        self._expect_unknown([pool])
        for record in held_records(pool):
            self._adopt(record)
        self._wrap(pool)
        if self._records:
            self._be_reported()

    def _wrap(self, pool: Pool) -> None:
        _watches[pool] = self
        self._pools.add(pool)
        if (pending := pending_of(pool)) is not None:
            pending.give_way(pool)
        hand_over(pool)
        pool._dialect = uncounted(pool._dialect)
        # Instance attributes, because nothing else changes an existing pool. The return is wrapped first: a
        # connection that another thread checks out in between is then adopted when it is returned.
        attributes: Any = vars(pool)
        before = {name: attributes[name] for name in _ATTRIBUTES if name in attributes}
        attributes["_return_conn"] = self._measuring_return(pool._return_conn)
        attributes["_invoke_creator"] = self._measuring_creator(pool._invoke_creator)
        attributes["recreate"] = self._measuring_successor(pool, before)
        attributes["connect"] = self._measuring_connect(pool)
        if (depth := getattr(pool, "depth_of_caller", None)) is not None:  # A FairQueuePool looks for sites, too.
            attributes["depth_of_caller"] = depth + 1

    def _measuring_successor(self, pool: Pool, before: dict[str, Any]) -> Callable[[], Pool]:
        """The pool's `recreate`: the engine gets a pool that is measured from its first use on.

        Args:
            pool: The pool.
            before: The pool's `_ATTRIBUTES` before it was measured.
        """
        recreate = pool.recreate

        def measured_successor() -> Pool:
            successor = recreate()
            try:
                if is_watched(successor):
                    return successor  # A pool may replace itself.
                attributes: Any = vars(successor)
                if attributes.get("recreate") is measured_successor:
                    # The successor is a copy: its attributes of ours lead to the connections of its predecessor.
                    for name in _ATTRIBUTES:
                        attributes.pop(name, None)
                    attributes.update(before)
                self._wrap(successor)
            except Exception:
                report("dispose")
            return successor

        return measured_successor

    @guarded
    def _connected(self, connection: Any, record: Record) -> None:
        # Count first, then make it visible: a connection that a report sees has then been counted.
        self.meter.creates.append(record.record_info.pop(CREATE, 0.0))
        self._inherited.discard(record)
        self._records.add(record)
        self._name = self._place
        self.meter.connections.tell(sum(self._records.look()))

    @guarded
    def _detached(self, connection: Any, record: Record) -> None:
        lease = self._leases.pop(record, None)
        if record.in_use:
            # The record was returned before this event, and another caller already has it.
            self._leases.setdefault(record, (monotonic(), record.fairy_ref, self._table.unknown, None))
        if lease is None:
            lease = self._lent.pop(record, None)
        if lease is not None:
            lease[2].ended(monotonic() - lease[0])
        elif record not in self._inherited:
            self._end_unknown(record)
        if record not in self._inherited:
            self._records.detach(connection, lease and lease[1])

    @guarded
    def _detached_closed(self, connection: Any) -> None:
        self._records.close_detached(connection)

    @guarded
    def _invalidated(self, connection: Any, record: Record, error: BaseException | None) -> None:
        self.meter.invalidated.add()
        # A connection that fails its check before it is handed out has no lease, and harms no caller.
        if isinstance(error, Exception) and (record in self._leases or record in self._lent):
            self._dead.add()

    def _adopt(self, record: Record) -> None:
        """Include a record whose connect was not seen, unless it is already known, or empty."""
        if record.dbapi_connection is not None and record not in self._records:
            self.meter.adopted.add()
            self._records.add(record)
            self._name = self._place

    def _be_reported(self) -> None:
        if not self._is_reported:
            self._is_reported = True
            self._stream.add(self)
