"""The pool as SQLAlchemy's: ``create_engine(url, poolclass=FairQueuePool)``, and the same for asyncio.

What differs from `QueuePool` is who is served: whoever has waited longest, and one waiter for each return.
Everything else means what it means there. The same class serves `create_async_engine`: it waits as the dialect
does.

The core's slots hold SQLAlchemy's *records*. A record reconnects by itself while it is checked out (`pre_ping`,
`pool_recycle`, `invalidate()`), and may come back without a connection (`detach()`, a checkout that failed); that
is not the core's concern, and neither are lifetimes and checks. There are no threads: connecting is done by the
caller that needs the connection, closing by the one that returns it.

A return may come from the garbage collector, in the middle of anything. So it never waits for the lock: it leaves
the record in `_returned`, and whoever has the lock looks there before and after he lets it go.
"""

import asyncio
import os
import random
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from sqlalchemy import exc
from sqlalchemy.pool import Pool
from sqlalchemy.util import await_only

from poolhouse.errors import PoolTimeout
from poolhouse.meter.meter import Meter
from poolhouse.pool.base import describe, logger
from poolhouse.pool.call_site import CallSite, CallSites, beyond_greenlet
from poolhouse.pool.core import IDLE, PoolCore, Waiter
from poolhouse.pool.holders import Holder, oldest_in_words
from poolhouse.pool.jobs import Close, Lane, Return
from poolhouse.pool.options import PoolOptions, duration
from poolhouse.pool.registry import opened
from poolhouse.pool.slot import Lease, Slot
from poolhouse.pool.threads import LockParker

#: Records that a child inherited through a fork: neither used nor closed, since they are the parent's.
_inherited: list[Any] = []
_pools: "weakref.WeakSet[FairQueuePool]" = weakref.WeakSet()


class FairQueuePool(Pool):
    """SQLAlchemy's `QueuePool`, fair: callers are served in the order in which they came.

    Args:
        creator: What makes a connection; `create_engine` passes it.
        pool_size: How many connections are kept; 0 for no limit.
        max_overflow: How many more there may be at a time; -1 for no limit.
        timeout: How long a caller waits for a connection, in seconds; ``None`` for as long as it takes.
        use_lifo: Take the connection that was returned last, not the one that is idle for longest.
        **parameters: Those of `sqlalchemy.pool.Pool`: `recycle`, `pre_ping`, `reset_on_return`, `echo`, …
    """

    def __init__(
        self,
        creator: Any,
        pool_size: int = 5,
        max_overflow: int = 10,
        timeout: float | None = 30.0,
        use_lifo: bool = False,
        **parameters: Any,
    ) -> None:
        Pool.__init__(self, creator, **parameters)
        self._pool_size = pool_size
        self._max_overflow = -1 if pool_size == 0 else max_overflow
        self._timeout = timeout
        self._use_lifo = use_lifo
        #: What the pool has done, measured: waits, uses and connects as histograms; peaks; timeouts.
        self.meter = Meter()
        self._find_call_site = CallSites().find
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        """An empty core: at the start, and again in the child of a fork."""
        self._core = PoolCore(
            PoolOptions(
                min_size=0,
                max_size=0 if self._max_overflow < 0 else self._pool_size + self._max_overflow,
                max_kept=self._pool_size or None,
                idle_order="lifo" if self._use_lifo else "fifo",
                connect_in_caller=True,
                look_after=None,
                max_lifetime=float("inf"),
                max_idle=float("inf"),
                reconnect_timeout=float("inf"),
            ),
            self.meter,
            random.random,
        )
        self._core.open(monotonic())
        self._is_announced = False
        self._lock = threading.Lock()
        self._returned: deque[tuple[Any, Lease]] = deque()
        self._broken_off: deque[tuple[Any, Lease | None]] = deque()

    # -- What SQLAlchemy calls ------------------------------------------------------------------------------------

    def _do_get(self) -> Any:
        """A record for a caller of `connect`. An exception may strike anywhere: nothing stays with this call."""
        code, instruction = self._find_call_site() or self._call_site_elsewhere()
        core, began = self._core, monotonic()
        waiter: Waiter | None = None
        try:
            lease = core.take(began, code, instruction, False)
            if lease is not None:
                return lease[0].conn
            parker = self._parker()
            waiter = Waiter(parker.unpark, code, instruction, None, began)
            return self._get_slowly(waiter, parker)
        except BaseException:
            if waiter is None:
                self._locked(core.interrupted_take, began, monotonic())
            else:
                self._locked(core.abandon, waiter, monotonic())
            raise

    def _do_return_conn(self, record: Any) -> None:
        """Take back a record, with or without a connection. May be called by the garbage collector."""
        lease: Lease | None = None
        try:
            core = self._core
            lease = core.leases.get(id(record))
            if lease is None:
                # It was checked out before this process was forked: it is the parent's.
                _inherited.append(record)
            elif (
                not core.attention and core.leases.pop(id(record), None) is lease and core.give(lease, monotonic())
            ):
                if self._core.attention:
                    self._settle()
            else:
                self._returned.append((record, lease))
                self._settle()
        except BaseException:
            # How far it came is found out under the lock. If it has not looked yet, what stands is its own lease.
            self._broken_off.append((record, lease or self._core.leases.get(id(record))))
            self._settle()
            raise

    def recreate(self) -> "FairQueuePool":
        """A new pool with the same arguments and listeners: see `sqlalchemy.pool.Pool.recreate`."""
        self.logger.info("Pool recreating")
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
        )

    def dispose(self) -> None:
        """Close what is idle now, the rest as it comes back; callers that wait are served until none is left."""
        self._locked(self._core.retire, monotonic())
        self.logger.info("Pool disposed. %s", self.status())

    # -- What others read -----------------------------------------------------------------------------------------

    def status(self) -> str:
        """The figures in a sentence, in the words of `QueuePool.status`."""
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
        """How many connections are in use, or being made for those who will use them."""
        return self._core.size - self._core.free

    def overflow(self) -> int:
        """How many connections there are beyond `size`; negative as long as there are fewer."""
        return self._core.size - self._pool_size if self._pool_size else 0

    def waiting(self) -> int:
        """How many callers wait for a connection."""
        return len(self._core.waiters)

    def holders(self) -> tuple[Holder, ...]:
        """Which lines of the application have connections now, the oldest checkout first."""
        return self._core.holders(monotonic())

    # -- Waiting and connecting -----------------------------------------------------------------------------------

    def _call_site_elsewhere(self) -> CallSite:
        return (beyond_greenlet() if self._dialect.is_async else None) or _UNKNOWN

    def _parker(self) -> "_Parker":
        # Where no loop runs (SQLAlchemy's `async_fallback` runs one for each call), a caller waits as a thread.
        is_in_loop = self._dialect.is_async and asyncio._get_running_loop() is not None
        return _LoopParker() if is_in_loop else LockParker()

    def _get_slowly(self, waiter: Waiter, parker: "_Parker") -> Any:
        if not self._is_announced:
            # Not in the constructor: an engine's plugins, which may measure the pool too, come after that.
            self._is_announced = True
            opened(self)
        core, deadline = self._core, waiter.since + duration(self._timeout)
        if not self._locked(core.request, waiter, waiter.since, may_wait=deadline > waiter.since):
            parker.park(None if self._timeout is None else deadline - monotonic())
            if waiter.slot is None:
                self._locked(core.time_out, waiter, monotonic())
        slot = waiter.slot
        if slot is None:
            raise self._timed_out(waiter)
        if slot.conn is None:
            self._connect_here(waiter, slot)
        core.accept(waiter, monotonic())
        return slot.conn

    def _connect_here(self, waiter: Waiter, slot: Slot) -> None:
        """Connect in the caller's thread or greenlet; if that fails, whoever waits is asked to try."""
        began = monotonic()
        try:
            record = self._create_connection()
        except Exception as error:
            self._locked(self._core.connect_failed, slot, error, monotonic())
            raise
        now = monotonic()
        unwanted = self._locked(self._core.connected, slot, record, now - began, now, waiter)
        assert unwanted is None, "this core is neither closed, drained nor resized"

    def _timed_out(self, waiter: Waiter) -> "FairQueueTimeout":
        core, now = self._core, monotonic()
        timeout = 0.0 if self._timeout is None else self._timeout
        used, holders, cause = core.used, core.holders(now), core.connect_error
        # The first part is QueuePool's.
        text = [
            f"{type(self).__name__} limit of size {self._pool_size} overflow {self._max_overflow} reached, "
            f"connection timed out, timeout {timeout:0.2f}",
            f"{used} in use, {len(core.connecting)} connecting, {len(core.waiters)} waiting",
        ]
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
        )
        error.__cause__ = cause
        return error

    # -- The lock, and what follows -------------------------------------------------------------------------------

    def _locked(self, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Call the core under the lock, and do what that brings about."""
        with self._lock:
            result = call(*arguments, **keywords)
            closing = self._follow_up_locked()
        self._close(closing)
        self._settle()
        return result

    def _settle(self) -> None:
        """See to what came back meanwhile. If the lock is taken, whoever has it does it when he has let it go."""
        core = self._core
        while self._has_left_over() and self._lock.acquire(False):
            try:
                core.attend(monotonic())
                if core.max_kept == 0 and not core.waiters:
                    core.retire(monotonic())
                closing = self._follow_up_locked()
            finally:
                self._lock.release()
            self._close(closing)

    def _has_left_over(self) -> bool:
        """Whether something came back, or is idle although somebody waits for it or the pool keeps nothing."""
        core = self._core
        is_misplaced = core.attention and core.idle and (core.waiters or core.max_kept == 0)
        return bool(self._returned or self._broken_off or is_misplaced)

    def _follow_up_locked(self) -> list[Any]:
        """Take in what was returned and wake those who were served; returns the records that are to be closed."""
        core, closing = self._core, []
        # Removed when it is done: an exception in between lets it be looked at twice, not never.
        while self._returned:
            record, lease = self._returned[0]
            if core.leases.get(id(record)) is lease:
                job = core.put(record, IDLE, monotonic())
                if isinstance(job, Close):
                    closing.append(job.conn)
            self._returned.popleft()
        while self._broken_off:
            core.interrupted_give(*self._broken_off[0], monotonic())
            self._broken_off.popleft()
        while (left := core.next_job(Lane.RETURN, monotonic())) is not None:
            if isinstance(left, Return):
                # Nobody has used it: its caller went away when he was given it.
                core.returned(left.slot, True, monotonic())
            elif isinstance(left, Close):
                closing.append(left.conn)
        while core.woken:
            core.woken[-1].wake()
            core.woken.pop()
        return closing

    @staticmethod
    def _close(records: list[Any]) -> None:
        for record in records:
            record.close()

    # -- Fork -----------------------------------------------------------------------------------------------------

    def _heal(self) -> None:
        """Begin anew in a child: what was inherited is the parent's."""
        for slot in list(self._core.slots.values()):
            _disown(slot.conn)
        self.meter.reset()
        self._begin()


class FairQueueTimeout(PoolTimeout, exc.TimeoutError):
    """SQLAlchemy's error for a caller that got no connection in time, with the fields of `PoolTimeout`."""

    # QueuePool's, which leads to its page in SQLAlchemy's documentation.
    code = "3o7r"


class _Parker(Protocol):
    """Where a caller waits until it is served."""

    def park(self, timeout: float | None) -> object:
        """Wait for `unpark`, at most for `timeout` seconds."""
        ...

    def unpark(self) -> None:
        """End the wait; may be called from any thread."""
        ...


class _LoopParker:
    """Where a greenlet of SQLAlchemy's asyncio waits.

    A future and a timer, because ``asyncio.wait_for`` may swallow a cancellation that comes together with the end.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()

    def park(self, timeout: float | None) -> None:
        """See `_Parker.park`."""
        timer = None if timeout is None else self._loop.call_later(timeout, self._end)
        try:
            await_only(self._future)
        finally:
            if timer is not None:
                timer.cancel()

    def unpark(self) -> None:
        """See `_Parker.unpark`."""
        if asyncio._get_running_loop() is self._loop:
            self._end()
        else:
            with suppress(RuntimeError):  # The loop has been closed, and with it whoever waited.
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


def _disown(record: Any) -> None:
    """Leave a record to the parent, and take its connection from whoever has it in this process.

    Else the end of its use here, or its collection, would roll back what the parent has begun.
    """
    _inherited.append((record, record.dbapi_connection))
    fairy = None if record.fairy_ref is None else record.fairy_ref()
    record.fairy_ref = record.dbapi_connection = None
    if fairy is not None:
        fairy.dbapi_connection = _Inherited()


class _Inherited:
    """Stands, in a child, for a connection of the parent's: to end its use does nothing, to use it is an error."""

    def __init__(self) -> None:
        self._has_warned = False

    def rollback(self) -> None:
        """What SQLAlchemy does with a connection that is given back; once or twice."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "a connection that was taken before this process was forked is the parent's and left alone"
            )

    def close(self) -> None:
        """There is nothing to close."""

    def __getattr__(self, name: str) -> Any:
        raise exc.InvalidRequestError(
            "this connection was taken before this process was forked, and belongs to the parent: take a new one"
        )


def _heal_all() -> None:
    for pool in list(_pools):
        pool._heal()


os.register_at_fork(after_in_child=_heal_all)

#: The call site of a checkout for which nothing of the application's asked.
_UNKNOWN = FairQueuePool._do_get.__code__, 0
