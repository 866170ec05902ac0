"""The pool as SQLAlchemy's: ``create_engine(url, poolclass=FairQueuePool)``, and the same for asyncio.

It differs from `QueuePool` in the order of service: each returned connection goes to the caller that has waited
longest. Everything else means the same as there. The same class serves `create_async_engine`: it waits as the
dialect does.

The core's slots hold SQLAlchemy's *records*. A record reconnects by itself while it is checked out (`pre_ping`,
`pool_recycle`, `invalidate()`), and may be returned without a connection (`detach()`, a failed checkout).
These are not the core's concern, and neither are lifetimes and checks. There are no threads: the caller that needs
a connection connects, and the caller that returns one closes it if necessary.

A return may come from the garbage collector, in the middle of anything, so it never waits for the lock. A
finalizer or signal handler may take a connection in the middle of a call of this very pool: it is served at once,
with an idle connection or a new one, or refused with a clear error. `sqlalchemy_lock` has the lock, and what runs
after it.
"""

import asyncio
import os
import random
import sys
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from importlib import import_module
from threading import get_ident
from types import CodeType
from typing import Any

from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import Pool

from poolhouse.clock import monotonic
from poolhouse.errors import PoolTimeout
from poolhouse.meter.meter import Meter
from poolhouse.pool import sqlalchemy_fork
from poolhouse.pool.bare_error import without
from poolhouse.pool.core import PoolCore, Waiter
from poolhouse.pool.core_lock import NOT_LOCKED
from poolhouse.pool.frameless import frameless
from poolhouse.pool.holders import Holder, oldest_in_words
from poolhouse.pool.hooks import PoolHooks, tell
from poolhouse.pool.jobs import Close, HeldLong, ReturnedAfterAll
from poolhouse.pool.options import PoolOptions, duration
from poolhouse.pool.passwords import secrets_of_creator
from poolhouse.pool.registry import opened
from poolhouse.pool.slot import Lease, Slot
from poolhouse.pool.sqlalchemy_keeper import keeper
from poolhouse.pool.sqlalchemy_lock import FairLock
from poolhouse.pool.sqlalchemy_waiting import LoopParker, Loops, Parker
from poolhouse.pool.threads import LockParker
from poolhouse.pool.whereabouts import where_now
from poolhouse.pool.words import describe, logger
from poolhouse.sites.table import SiteTable
from poolhouse.sites.words import site_of
from poolhouse.verdicts.current import main_of
from poolhouse.verdicts.words import reason_of

#: How many frames above `_do_get` the caller of `Engine.raw_connection` is.
_CALLER = 6 if hasattr(Engine, "_wrap_pool_connect") else 5

_getframe = sys._getframe

_pools: "weakref.WeakSet[FairQueuePool]" = weakref.WeakSet()


class FairQueuePool(Pool):
    """SQLAlchemy's `QueuePool` made fair: callers are served in the order in which they came.

    Args:
        creator: Makes a connection; `create_engine` passes it.
        pool_size: How many connections are kept; 0 for no limit.
        max_overflow: How many more there may be at a time; -1 for no limit.
        timeout: How long a caller waits for a connection, in seconds; ``None`` for no limit.
        use_lifo: Take the connection that was returned last instead of the one that has been idle longest.
        hold_warning: Log a WARNING for each connection that is held for longer, in seconds, with the line of the
            application that took it; ``None`` for never.
        hooks: Called for the pool's events. `conn` is SQLAlchemy's record of the connection, and
            ``conn.dbapi_connection`` the driver's. A record reconnects by itself, which SQLAlchemy's own events
            report. `released` may be called by the garbage collector.
        **parameters: Those of `sqlalchemy.pool.Pool`: `recycle`, `pre_ping`, `reset_on_return`, `echo`, …
    """

    #: SQLAlchemy's name for the logger of the class: a level set for ``sqlalchemy.pool`` holds for it.
    _sqla_logger_namespace = "sqlalchemy.pool.FairQueuePool"

    def __init__(
        self,
        creator: Any,
        pool_size: int = 5,
        max_overflow: int = 10,
        timeout: float | None = 30.0,
        use_lifo: bool = False,
        hold_warning: float | None = None,
        hooks: PoolHooks | None = None,
        **parameters: Any,
    ) -> None:
        Pool.__init__(self, creator, **parameters)
        self._pool_size = pool_size
        self._max_overflow = -1 if pool_size == 0 else max_overflow
        self._timeout = timeout
        self._use_lifo = use_lifo
        self._hold_warning = hold_warning
        self._given_hooks = hooks
        self._hooks = hooks or PoolHooks()
        self._acquired, self._released = self._hooks.acquired, self._hooks.released
        #: The pool's measurements: waits, uses and connects as histograms; peaks; timeouts.
        self.meter = Meter()
        #: How many frames above `_do_get` the caller of `Engine.raw_connection` is; one more if
        #: something has wrapped `connect`.
        self.depth_of_caller = _CALLER
        self._sites: SiteTable | None = None
        #: The function that `Engine.connect` calls; in asyncio's greenlets no frame lies behind that.
        self._passed: CodeType | None = None
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        """Create an empty core: at the start, and again in a forked child."""
        self._core = PoolCore(
            PoolOptions(
                min_size=0,
                max_size=0 if self._max_overflow < 0 else self._pool_size + self._max_overflow,
                max_kept=self._pool_size if self._pool_size > 0 else None,
                idle_order="lifo" if self._use_lifo else "fifo",
                connect_in_caller=True,
                look_after=None,
                max_lifetime=float("inf"),
                max_idle=float("inf"),
                reconnect_timeout=float("inf"),
                hold_warning=self._hold_warning,
            ),
            self.meter,
            random.random,
        )
        self._core.open(monotonic())
        self._is_announced = self._is_disposed = self._is_replaced = False
        #: Notices for the keeper to log: a return may come from the garbage collector, and must not wait.
        self._notices: deque[HeldLong | ReturnedAfterAll] = deque()
        notice = partial(_leave, self._notices)
        self._lock = FairLock(self._core, partial(_close, self._hooks.closed), sqlalchemy_fork.keep, notice)
        self._loops = Loops()

    # -- Called by SQLAlchemy -------------------------------------------------------------------------------------

    def _do_get(self) -> Any:
        """A record for a caller of `connect`. An exception may strike anywhere; nothing stays with this call."""
        sites = self._sites or self._make_sites()
        try:
            depth, site_at = sites.first
            frame = _getframe(depth)
            address = id(frame.f_code) + frame.f_lasti
            site = site_at(address) or sites.seek(self.depth_of_caller, self._passed)
        except ValueError:  # The stack is not that deep.
            site = sites.seek(self.depth_of_caller, self._passed)
        code, instruction = site.place or _UNKNOWN
        core, began = self._core, monotonic()
        waiter: Waiter | None = None
        try:
            lease = core.take(began, code, instruction, False)
            if lease is not None:
                record = lease[0].conn
            elif self._lock.is_mine():
                waiter = Waiter(bool, code, instruction, None, began)
                record = self._get_within(waiter)
            else:
                parker = self._parker()
                holder = None if self._dialect.is_async else get_ident()
                waiter = Waiter(parker.unpark, code, instruction, holder, began)
                record = self._get_slowly(waiter, parker)
            if self._acquired is not None:
                tell(self._acquired, record, 0.0 if waiter is None else monotonic() - began, core.size, core.free)
            return record
        except BaseException:
            if waiter is None:
                self._lock.later(core.interrupted_take, began, monotonic())
            elif waiter.refusal is None or waiter.slot is not None:
                self._lock.later(core.abandon, waiter, monotonic())
            raise

    def _do_return_conn(self, record: Any) -> None:
        """Take back a record, with or without a connection. The garbage collector may call this."""
        lease: Lease | None = None
        try:
            core = self._core
            lease = core.leases.get(id(record))
            if (
                lease is not None
                and not core.attention
                and core.leases.pop(id(record), None) is lease
                and core.give(lease, monotonic())
            ):
                if self._core.attention:
                    self._lock.later(self._lock.attend_locked, monotonic())
            else:
                self._lock.take_back(record, lease)
            if self._released is not None and lease is not None:
                tell(self._released, record, monotonic() - lease[1])
        except BaseException:
            # How far it came is found out under the lock. If it had not begun, the present lease is its own.
            self._lock.later(
                self._core.interrupted_give, record, lease or self._core.leases.get(id(record)), monotonic()
            )
            raise

    def recreate(self) -> "FairQueuePool":
        """A new pool with the same arguments and listeners: see `sqlalchemy.pool.Pool.recreate`."""
        self.logger.info("Pool recreating")
        if self._is_disposed:  # By its engine, which uses the new pool from now on.
            self._is_replaced = True
            self._retire()
        # Only those that are set: a subclass may accept QueuePool's parameters and no others.
        ours: dict[str, Any] = {"hold_warning": self._hold_warning, "hooks": self._given_hooks}
        return self.__class__(
            self._creator,
            pool_size=self._pool_size,
            max_overflow=self._max_overflow,
            timeout=self._timeout,
            use_lifo=self._use_lifo,
            pre_ping=self._pre_ping,
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            _dispatch=self.dispatch,
            dialect=self._dialect,
            **{name: value for name, value in ours.items() if value is not None},
        )

    def dispose(self) -> None:
        """Close idle connections now, others on their return; waiting callers are served until none is left.

        A pool that is not replaced (`recreate`) keeps connections again as soon as somebody asks for one.
        """
        self._is_disposed = True
        self._retire()
        self.logger.info("Pool disposed. %s", self.status())

    def _retire(self) -> None:
        if self._lock.is_mine():
            self._lock.later(self._core.retire, monotonic())
        else:
            self._lock(self._core.retire, monotonic())

    # -- Figures --------------------------------------------------------------------------------------------------

    def status(self) -> str:
        """The figures in a sentence, worded like `QueuePool.status`."""
        return (
            f"Pool size: {self.size()}  Connections in pool: {self.checkedin()} "
            f"Current Overflow: {self.overflow()} Current Checked out connections: {self.checkedout()}"
        )

    def size(self) -> int:
        """How many connections are kept at most; 0 for no limit."""
        return self._pool_size

    def timeout(self) -> float | None:
        """How long a caller waits for a connection, in seconds."""
        return self._timeout

    def checkedin(self) -> int:
        """How many connections are idle in the pool."""
        return self._core.free

    def checkedout(self) -> int:
        """How many connections are in use, or are being made for a caller."""
        return self._core.size - self._core.free

    def overflow(self) -> int:
        """How many connections there are beyond `size`; negative while there are fewer."""
        return self._core.size - self._pool_size if self._pool_size else 0

    def waiting(self) -> int:
        """How many callers are waiting for a connection."""
        return len(self._core.waiters)

    def holders(self) -> tuple[Holder, ...]:
        """The lines of the application that hold connections now, the oldest checkout first."""
        return self._core.holders(monotonic())

    # -- Waiting and connecting -----------------------------------------------------------------------------------

    def _make_sites(self) -> SiteTable:
        # Not in the constructor: an engine sets its pool's dialect afterwards.
        is_async = self._dialect.is_async
        getcurrent = import_module("greenlet").getcurrent if is_async else None
        self._passed = None if is_async else vars(Connection)["__init__"].__code__
        self._sites = table = SiteTable(getcurrent=getcurrent)
        return table

    def _parker(self) -> Parker:
        # If no loop runs (SQLAlchemy's `async_fallback` runs one for each call), a caller waits as a thread.
        is_in_loop = self._dialect.is_async and asyncio._get_running_loop() is not None
        return LoopParker() if is_in_loop else LockParker()

    def _get_slowly(self, waiter: Waiter, parker: Parker) -> Any:
        if not self._is_announced:
            # Not in the constructor: an engine's plugins, which may measure the pool too, run after it.
            self._is_announced = True
            opened(self)
            if self._hold_warning is not None:
                keeper.watch(self)
        core, lock, deadline = self._core, self._lock, waiter.since + duration(self._timeout)
        may_wait = deadline > waiter.since
        if core.max_kept == 0 and not self._is_replaced:
            lock(core.resume)
        if (may_wait and lock.enqueue_fast(waiter, waiter.since)) or not lock(
            core.request, waiter, waiter.since, may_wait=may_wait
        ):
            self._wait(waiter, parker, None if self._timeout is None else deadline)
        slot = waiter.slot
        if slot is None:
            raise self._timed_out(waiter)
        if slot.conn is None:
            return self._connect_here(waiter, slot)
        core.accept(waiter, monotonic())
        return slot.conn

    def _wait(self, waiter: Waiter, parker: Parker, deadline: float | None) -> None:
        """Wait until the waiter is served or reaches its deadline; without a slot it has timed out."""
        loops = self._loops
        if isinstance(parker, LoopParker):
            parker.lost = self._look_for_closed_loops
            loops.enter(parker.loop, waiter)
        try:
            while waiter.slot is None:
                self._look_for_closed_loops()
                if deadline is not None and monotonic() >= deadline:
                    self._lock(self._core.time_out, waiter, monotonic())
                    return
                parker.park(loops.pause(deadline))
        finally:
            if isinstance(parker, LoopParker):
                loops.leave(parker.loop, waiter)

    def _look_for_closed_loops(self) -> None:
        """Take back what was given to clients of closed event loops, and their places in the queue."""
        if lost := self._loops.look():
            self._lock.later(self._lock.abandon_locked, lost)

    def _get_within(self, waiter: Waiter) -> Any:
        """A record for a finalizer or signal handler that interrupts this thread's own call of the core."""
        core = self._core
        if not core.serve_within(waiter, waiter.since):
            self._lock.later(core.time_out, waiter, waiter.since)
            raise self._timed_out(waiter, is_within=True)
        slot = waiter.slot
        assert slot is not None, "serve_within has just set it"
        if slot.conn is None:
            return self._connect_here(waiter, slot)
        core.accept(waiter, monotonic())
        return slot.conn

    def _connect_here(self, waiter: Waiter, slot: Slot) -> Any:
        """Connect in the caller's thread or greenlet; if that fails, a waiting caller is woken to try."""
        core, lock, began = self._core, self._lock, monotonic()
        try:
            record = self._create_connection()
            now = monotonic()
            if lock.is_mine():
                unwanted = self._join_locked(core.join, slot, record, now - began, now, waiter)
                lock.later(lock.attend_locked, now)
            else:
                unwanted = lock(self._join_locked, core.connected, slot, record, now - began, now, waiter)
        except Exception as error:
            core.connecting.discard(slot)
            lock.later(core.connect_failed, slot, frameless(error), monotonic())
            raise
        assert unwanted is None, "this core is neither closed, drained nor resized"
        core.accept(waiter, now)
        tell(self._hooks.connected, record, now - began)
        return record

    def _join_locked(self, join: Callable[..., Close | None], slot: Slot, record: Any, *told: Any) -> Close | None:
        """Call `join`, a method of the core; refuse a connection that another record already has.

        QueuePool would let two threads share it. Each record is new, so the core does not notice.
        """
        assert self._lock.is_mine(), NOT_LOCKED
        conn = record.driver_connection
        for other in list(self._core.slots.values()):
            if conn is not None and other.conn.driver_connection is conn:
                record.dbapi_connection = None  # It is the other record's, and must not be closed with this one.
                raise exc.InvalidRequestError(
                    f"the creator returned a connection that the pool already has: {conn!r}; "
                    "for one connection that all share, use StaticPool"
                )
        return join(slot, record, *told)

    def _timed_out(self, waiter: Waiter, *, is_within: bool = False) -> "FairQueueTimeout":
        core, now = self._core, monotonic()
        tell(self._hooks.timed_out, now - waiter.since)
        timeout = 0.0 if self._timeout is None or is_within else self._timeout
        used, holders = core.used, core.holders(now)
        cause = None
        if core.connect_error is not None:
            cause = without(frameless(core.connect_error), secrets_of_creator(self._creator))
        # The first part is QueuePool's wording.
        text = [
            f"{type(self).__name__} limit of size {self._pool_size} overflow {self._max_overflow} reached, "
            f"connection timed out, timeout {timeout:0.2f}",
            f"{used} in use, {len(core.connecting)} connecting, {len(core.waiters)} waiting",
        ]
        if is_within:
            text.append("a finalizer or signal handler in the middle of a call of the pool cannot wait")
        if (verdict := main_of(self)) is not None:
            text.append(reason_of(verdict))
        if holders:
            text.append(oldest_in_words(holders))
        if cause is not None:
            text.append(f"last connect error: {describe(cause)}")
        error = FairQueueTimeout(
            "; ".join(text),
            waited=now - waiter.since,
            size=core.size,
            max_size=core.max_size,
            in_use=used,
            waiting=len(core.waiters),
            holders=holders,
            connect_error=cause,
            verdict=verdict,
        )
        error.__cause__ = cause
        return error

    # -- Held too long --------------------------------------------------------------------------------------------

    def look(self, now: float) -> float:
        """For `sqlalchemy_keeper`: find connections that are held too long. Returns when to look again."""
        # A connection taken from now on cannot be held too long before this.
        latest = now + duration(self._hold_warning)
        due = self._lock(self._lock.tick_locked, now)
        self.tell()
        return latest if due is None else min(due, latest)

    def tell(self) -> None:
        """For `sqlalchemy_keeper`: log connections that are, or were, held too long."""
        name = type(self).__name__ if self._orig_logging_name is None else f"pool {self._orig_logging_name!r}"
        while self._notices:
            lease, held = notice = self._notices.popleft()
            site = "an unknown caller" if lease[2] is None else site_of(lease[2], lease[3])
            if isinstance(notice, HeldLong):
                where = "" if self._dialect.is_async else where_now(lease)
                text = f"a connection has been held for {held:.1f} s by {site}{where and '; '}{where}"
            else:
                text = f"the connection held by {site} was returned after all, after {held:.1f} s"
            logger.warning("%s: %s", name, text)

    # -- Fork -----------------------------------------------------------------------------------------------------

    def _heal(self) -> None:
        """Start afresh in a forked child: everything inherited is the parent's."""
        for slot in list(self._core.slots.values()):
            sqlalchemy_fork.disown(slot.conn)
        sqlalchemy_fork.keep(self._lock)  # It refers to what it was about to take back or to close.
        self.meter.reset()
        self._begin()


class FairQueueTimeout(PoolTimeout, exc.TimeoutError):
    """SQLAlchemy's error for a caller that got no connection in time, with the fields of `PoolTimeout`."""

    # QueuePool's code, which links to its page in SQLAlchemy's documentation.
    code = "3o7r"


def _heal_all() -> None:
    for pool in list(_pools):
        pool._heal()


os.register_at_fork(after_in_child=_heal_all)


def _close(closed: Callable[..., object] | None, job: Close) -> None:
    job.conn.close()
    tell(closed, job.conn, job.reason)


def _leave(notices: "deque[HeldLong | ReturnedAfterAll]", notice: HeldLong | ReturnedAfterAll) -> None:
    notices.append(notice)
    keeper.wake()


#: The call site of a checkout that no line of the application asked for.
_UNKNOWN = FairQueuePool._do_get.__code__, 0
