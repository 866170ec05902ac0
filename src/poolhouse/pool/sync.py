"""The pool for threads."""

import os
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping
from threading import get_ident
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, Generic

from poolhouse.clock import Clock, SystemClock
from poolhouse.pool.backoff import FIRST_PAUSE
from poolhouse.pool.base import BasePool, describe, live_pools, logger
from poolhouse.pool.core import BROKEN, Vet, Waiter
from poolhouse.pool.crew import Crew
from poolhouse.pool.hooks import PoolHooks, tell
from poolhouse.pool.jobs import Close, Reason
from poolhouse.pool.options import SECOND, Order, Shrink, size_limits
from poolhouse.pool.slot import Slot
from poolhouse.pool.sync_work import Work
from poolhouse.pool.threads import SystemThreads, Threads

if TYPE_CHECKING:
    from typing import Self

    import psycopg
    from typing_extensions import TypeVar

    CT = TypeVar("CT", default="psycopg.Connection[tuple[Any, ...]]")
else:
    from typing import TypeVar

    CT = TypeVar("CT")

_getframe = sys._getframe


class Checkout(Generic[CT]):
    """What `ConnectionPool.connection` returns; used once. A class, because a generator would cost 0.6 µs more."""

    __slots__ = ("_conn", "_pool", "_timeout", "_token")
    _token: object

    def __init__(self, pool: "ConnectionPool[CT]", timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._conn: Any = None

    def __enter__(self) -> CT:
        # The same as `getconn`; a call more would cost a tenth of the whole.
        pool, frame = self._pool, _getframe(1)
        now = pool._now
        stamp = self._token = now()
        try:
            conn = self._conn = pool._core.take(stamp, frame.f_code, frame.f_lasti)
            if conn is not None:
                if pool._marks:
                    conn._pool = pool
                return conn  # type: ignore[no-any-return]
        except BaseException:
            self._conn = None
            pool._undo_take(stamp)
            raise
        return pool._getconn_slowly(stamp, frame.f_code, frame.f_lasti, self._timeout, self)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pool, conn = self._pool, self._conn
        if pool.close_returns and not pool._is_held(conn, self._token):
            self._conn = None  # The block has closed, and so returned, the connection.
            return
        status = pool._status
        try:
            if status(conn):
                pool._end_transaction(conn, exc_type)
        finally:
            pool.putconn(conn)
            self._conn = None

    def __del__(self) -> None:
        # Only where an exception struck between the end of the block and the first instruction of `__exit__`, or
        # the block was never left. A finalizer may run anywhere: it leaves word; the next slow call acts on it.
        try:
            if self._conn is not None:
                self._pool._crew.turn.lost.append((self._conn, self._token))
        except AttributeError:
            return  # It struck while the context was made.


class ConnectionPool(BasePool, Generic[CT]):
    """A pool of connections for threads, with the interface of psycopg_pool's class of this name.

    The constructor returns at once; connections are made by background threads. See the reference of the
    pool for each parameter.
    """

    def __init__(
        self,
        conninfo: str | Callable[[], str] = "",
        *,
        connection_class: type[CT] | None = None,
        kwargs: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        min_size: int = 4,
        max_size: int | None = None,
        open: bool | None = None,  # noqa: A002 - psycopg_pool's name
        configure: Callable[[CT], object] | None = None,
        check: Callable[[CT], object] | None = None,
        reset: Callable[[CT], object] | None = None,
        name: str | None = None,
        close_returns: bool = False,
        timeout: float = 30.0,
        max_waiting: int = 0,
        max_lifetime: float = 60 * 60.0,
        max_idle: float = 10 * 60.0,
        reconnect_timeout: float = 5 * 60.0,
        reconnect_failed: Callable[["ConnectionPool[CT]"], object] | None = None,
        num_workers: int = 3,
        driver: Any = None,
        check_idle: float | None = None,
        idle_order: Order = "fifo",
        shrink: Shrink = "one",
        reset_inline: bool = False,
        hold_warning: float | None = None,
        hooks: PoolHooks | None = None,
        clock: Clock | None = None,
        threads: Threads | None = None,
    ) -> None:
        super().__init__(
            conninfo,
            connection_class=connection_class,
            driver=driver,
            kwargs=kwargs,
            min_size=min_size,
            max_size=max_size,
            check=check,
            reset=reset,
            configure=configure,
            name=name,
            close_returns=close_returns,
            timeout=timeout,
            max_waiting=max_waiting,
            max_lifetime=max_lifetime,
            max_idle=max_idle,
            reconnect_timeout=reconnect_timeout,
            reconnect_failed=reconnect_failed,
            num_workers=num_workers,
            check_idle=check_idle,
            idle_order=idle_order,
            shrink=shrink,
            hold_warning=hold_warning,
            hooks=hooks,
            clock=clock or SystemClock(),
        )
        self._reset_inline = reset_inline
        self._threads = threads or SystemThreads()
        self._set_up()
        self._warns_of_implicit_open = open is None
        if open is None:
            self._core.greets = True
        if open is None or open:
            self._open()

    def _set_up(self) -> None:
        """Crew and work for the present core: at the start, and again in the child of a fork."""
        myself = weakref.ref(self)

        def reconnect_failed() -> None:
            pool = myself()
            if pool is not None and pool._reconnect_failed is not None:
                pool._reconnect_failed(pool)

        def log_failed_connect(error: BaseException, *, is_loud: bool) -> None:
            if (pool := myself()) is not None:
                pool._log_failed_connect(error, is_loud=is_loud)

        def say(notice: Any) -> None:
            if (pool := myself()) is not None:
                pool._tell(notice)

        self._work = Work(
            self.name,
            self._driver,
            self._clock,
            self.hooks,
            self.conninfo,
            self.kwargs,
            self._configure,
            self._check,
            self._reset,
            reconnect_failed,
            log_failed_connect,
        )
        self._crew = Crew(
            self.name, self._core, self._clock, self._threads, self._work.perform, self._driver.abort, say
        )
        self._turn = self._work.turn = self._crew.turn
        self._work.core = self._core
        self._work.guard, self._work.unguard = self._crew.guard, self._crew.unguard

    # -- Getting and giving back ----------------------------------------------------------------------------------

    def connection(self, timeout: float | None = None) -> Checkout[CT]:
        """A context in which one has a connection: ``with pool.connection() as conn: …``.

        At its end an open transaction is committed, or rolled back if an exception ends it, and the connection
        goes back to the pool.

        Args:
            timeout: How long to wait for a connection, in seconds; ``None`` for the pool's `timeout`.

        Raises:
            PoolTimeout: On entering it, if there is none in time.
            PoolClosed: If the pool is not open.
            TooManyRequests: If `max_waiting` clients wait already.
        """
        return Checkout(self, timeout)

    def getconn(self, timeout: float | None = None) -> CT:
        """A connection, to be given back by `putconn`. Prefer `connection`.

        Args:
            timeout: How long to wait, in seconds; ``None`` for the pool's `timeout`. With 0, an idle
                connection or nothing.

        Raises:
            PoolTimeout: If there is none in time.
            PoolClosed: If the pool is not open.
            TooManyRequests: If `max_waiting` clients wait already.
        """
        frame, now = _getframe(1), self._now
        stamp = now()
        try:
            conn: CT | None = self._core.take(stamp, frame.f_code, frame.f_lasti)
            if conn is not None:
                if self._marks:
                    conn._pool = self  # type: ignore[attr-defined]  # psycopg's
                return conn
            return self._getconn_slowly(stamp, frame.f_code, frame.f_lasti, timeout)
        except Exception:
            raise
        except BaseException:
            self._undo_take(stamp)
            raise

    def putconn(self, conn: CT) -> None:
        """Give back a connection that `getconn` returned.

        An open transaction is rolled back, a broken connection replaced.

        Raises:
            ValueError: If it does not come from this pool, or was given back before.
        """
        lease = None
        try:
            key = id(conn)
            core, status, now = self._core, self._status, self._now
            lease = core.leases.get(key)
            if lease is not None and not core.attention and not status(conn):
                if self._marks:
                    conn._pool = None  # type: ignore[attr-defined]  # psycopg's
                if core.give(key, lease, now()):
                    if self._core.attention:  # now: rule 1 of the core
                        self._attend()
                    return
            self._putconn_slowly(conn)
        except Exception:
            raise
        except BaseException:
            self._turn(self._core.interrupted_give, conn, lease, self._now())
            raise

    def _attend(self) -> None:
        self._turn(self._core.attend, self._now())
        self._finish_closing()

    def _finish_closing(self) -> None:
        """Close what a closed pool has left: its workers may have gone."""
        for job in self._turn(self._core.leftovers):
            self._work.perform(job)

    def _undo_take(self, stamp: int) -> None:
        self._turn(self._core.interrupted_take, stamp, self._now())

    def _getconn_slowly(
        self,
        now: int,
        code: CodeType,
        instruction: int,
        timeout: float | None,
        checkout: Checkout[CT] | None = None,
    ) -> CT:
        if self._opens_itself:
            self._open()
        self._greet()
        timeout = self.timeout if timeout is None else timeout
        deadline = now + int(timeout * SECOND)
        parker = self._threads.parker()
        waiter = Waiter(parker.unpark, code, instruction, get_ident(), now)
        try:
            conn: CT = self._wait_for(waiter, parker, deadline)
            if self._marks:
                conn._pool = self  # type: ignore[attr-defined]  # psycopg's
            if self.hooks.acquired is not None:
                core = self._core
                tell(self.hooks.acquired, conn, (self._now() - now) / 1e9, core.size, core.free)
            if checkout is not None:
                checkout._conn = conn
            return conn
        except BaseException:
            if checkout is not None:
                checkout._conn = None
            self._turn(self._core.abandon, waiter, self._now())
            raise

    def _wait_for(self, waiter: Waiter, parker: Any, deadline: int) -> Any:
        """A connection for the waiter, vetted."""
        is_first = False
        may_wait = deadline > waiter.since
        while True:
            is_answered = self._turn(self._core.request, waiter, self._now(), may_wait=may_wait, is_first=is_first)
            if not is_answered and not parker.park((deadline - self._now()) / 1e9):
                is_over = self._turn(self._core.time_out, waiter, self._now())
                if is_over:
                    raise self._timed_out(waiter)
            if waiter.refusal is not None:
                raise self._refused(waiter.refusal, waiter)
            slot = waiter.slot
            assert slot is not None, "who is woken has been given something"
            if slot.conn is None:
                conn = self._connect_here(waiter, slot, deadline)
            elif (vet := self._core.vet(slot, self._now())) is Vet.NOTHING:
                conn = slot.conn
            else:
                conn = self._vetted(waiter, slot, vet, deadline)
            if conn is not None:
                self._core.accept(waiter, self._now())
                return conn
            is_first = True
            if self._now() >= deadline:
                self._turn(self._core.time_out, waiter, self._now())
                raise self._timed_out(waiter)

    def _vetted(self, waiter: Waiter, slot: Slot, vet: Vet, deadline: int) -> Any:
        """The slot's connection, if it is alive; ``None`` if it was not, and is gone."""
        conn = slot.conn
        if vet is Vet.LOOK and self._is_quiet(conn):
            return conn
        self._crew.guard(slot, conn, deadline)
        try:
            self._work.examine(conn, with_check=vet is Vet.CHECK)
        except Exception as error:
            logger.warning("discarding broken connection: %s: %s", conn, describe(error))
            self._turn(self._core.found_dead, waiter, error, self._now())
            return None
        finally:
            self._crew.unguard(slot)
        self._turn(self._core.proven, slot, self._now())
        return conn

    def _connect_here(self, waiter: Waiter, slot: Slot, deadline: int) -> Any:
        """A null pool's connection, made by the client itself."""
        began = self._now()
        try:
            conn = self._work.connection(max(0.0, (deadline - began) / 1e9))
        except BaseException as error:
            waiter.slot = None
            self._turn(self._core.connect_failed, slot, error, self._now())
            raise
        now = self._now()
        job = self._turn(self._core.connected, slot, conn, now - began, now, waiter)
        tell(self.hooks.connected, conn, (now - began) / 1e9)
        if job is not None:
            self._work.close(job)
            waiter.slot = None
            raise self._errors.closed(f"the pool {self.name!r} is already closed")
        return conn

    def _end_transaction(self, conn: Any, exc_type: type[BaseException] | None) -> None:
        """What the end of a `connection` block does to an open transaction."""
        if self._status(conn) == BROKEN:
            return
        if exc_type is None:
            self._driver.commit(conn)
            return
        try:
            self._driver.rollback(conn)
        except Exception as error:
            # The exception that ends the block matters more; the connection is looked at on return.
            logger.warning("error ignored in rollback of %s: %s", conn, describe(error))

    def _putconn_slowly(self, conn: Any) -> None:
        if self._is_parents(conn):
            return
        status = self._status(conn)
        if self._marks and id(conn) in self._core.leases:
            conn._pool = None
        now, lease = self._now(), self._core.leases.get(id(conn))
        try:
            job = self._turn(self._core.put, conn, status, now, is_inline=self._reset_inline)
        except KeyError:
            raise self._foreign(conn) from None
        if lease is not None:
            tell(self.hooks.released, conn, (now - lease[1]) / 1e9)
        if isinstance(job, Close):
            if job.reason is Reason.BROKEN:
                logger.warning("discarding closed connection: %s", conn)
            self._work.close(job)
        elif job is not None:
            self._work.restore(job)

    # -- Life cycle -----------------------------------------------------------------------------------------------

    def open(self, wait: bool = False, timeout: float = 30.0) -> None:
        """Begin to connect and to serve; does nothing if the pool is open.

        Args:
            wait: Whether to wait until there are `min_size` connections; see `wait`.
            timeout: How long to wait, in seconds.

        Raises:
            PoolClosed: If the pool has been closed: it cannot be opened again.
            PoolTimeout: As `wait`.
        """
        self._warns_of_implicit_open = False
        self._open()
        if wait:
            self.wait(timeout)

    def _open(self) -> None:
        self._opens_itself = False
        if self._core.was_closed:
            raise self._errors.closed("pool has already been opened/closed and cannot be reused")
        self._turn(self._core.open, self._now())

    def _greet(self) -> None:
        if self._core.greets:
            self._core.greets = False
            if self._warns_of_implicit_open:
                warnings.warn(
                    f"the default of the {type(self).__name__} parameter 'open' will become False, as in "
                    "psycopg_pool: say open=True or open=False, or use the pool as a context manager",
                    DeprecationWarning,
                    stacklevel=4,
                )

    def wait(self, timeout: float = 30.0) -> None:
        """Wait until there are `min_size` connections. May be called from several threads.

        Raises:
            PoolTimeout: If there are not within `timeout` seconds; the pool is then closed. Its ``__cause__`` is
                the last error in connecting, if there was one.
            PoolClosed: If the pool is not open, or is closed meanwhile.
        """
        self._greet()
        if not self._core.is_open:
            raise self._errors.closed(
                f"the pool {self.name!r} is {'already closed' if self._core.was_closed else 'not open yet'}"
            )
        deadline = self._now() + int(timeout * SECOND)
        parker = self._threads.parker()
        self._crew.watchers.append(parker)
        try:
            while not self._core.is_full and not self._core.was_closed:
                if not parker.park((deadline - self._now()) / 1e9) and not self._core.is_full:
                    cause = self._core.connect_error
                    self.close()
                    raise self._incomplete(timeout, cause) from cause
        finally:
            self._crew.watchers.remove(parker)
        if not self._core.is_full:
            raise self._errors.closed(f"the pool {self.name!r} is already closed")

    def close(self, timeout: float = 5.0) -> None:
        """Refuse all clients, close what is idle, and later, when it comes back, what is out.

        Args:
            timeout: How long to wait for the background threads to end, in seconds; 0 for not at all.
        """
        self._warns_of_implicit_open = self._opens_itself = False
        self._turn(self._core.close, self._now())
        self._crew.wake_watchers()
        deadline = self._now() + int(timeout * SECOND)
        parker = self._threads.parker()
        self._crew.watchers.append(parker)
        while self._crew.is_busy() and self._now() < deadline:
            parker.park((deadline - self._now()) / 1e9)
        self._crew.watchers.remove(parker)
        # Whatever is stuck on a connection is ended; a connect cannot be, and its thread ends with the process.
        for slot in self._core.worked_on.copy():
            self._driver.abort(slot.conn)
        self._crew.dismiss()
        self._finish_closing()

    def __enter__(self) -> "Self":
        """Open the pool, if it is not open."""
        self.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the pool."""
        self.close()

    def __del__(self) -> None:
        # A pool that nobody has any more: its threads end. A finalizer waits for nothing.
        if hasattr(self, "_crew"):
            self._crew.dismiss()

    # -- Upkeep ---------------------------------------------------------------------------------------------------

    def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Change the limits of the pool's size."""
        min_size, max_size = size_limits(min_size, max_size, is_null=self._is_null)
        self._turn(self._core.resize, min_size, max_size, self._now())

    def check(self) -> None:
        """Ask the server through each idle connection; replace those that do not answer.

        They are checked one by one, so that the others can be taken meanwhile.
        """
        seen: set[Slot] = set()
        while True:
            slot = self._turn(self._core.claim_for_check, seen, self._now())
            if slot is None:
                return
            seen.add(slot)
            is_alive = False
            try:
                is_alive = self._work.is_alive(slot.conn)
            finally:
                self._turn(self._core.probed, slot, is_alive, self._now())

    def drain(self) -> None:
        """Replace every connection by a new one: those that are out when they come back."""
        self._turn(self._core.drain, self._now())

    @staticmethod
    def check_connection(conn: CT) -> None:
        """One round trip through a psycopg connection: fit to be the pool's `check`. Raises if it is dead."""
        from poolhouse.pool.drivers.psycopg import PsycopgDriver

        PsycopgDriver(type(conn)).probe(conn)

    def _heal(self) -> None:
        super()._heal()
        self._set_up()


class NullConnectionPool(ConnectionPool[CT]):
    """A pool that keeps nothing: each client connects by itself, unless it had to wait for another's connection.

    With `max_size`, no more connections than that are open at a time. `reset` is called only for a connection for
    which somebody waits.
    """

    _is_null = True

    def __init__(self, conninfo: str | Callable[[], str] = "", *, min_size: int = 0, **parameters: Any) -> None:
        super().__init__(conninfo, min_size=min_size, **parameters)

    def wait(self, timeout: float = 30.0) -> None:
        """Make one connection, to see that it can be made, and close it; try again until the time is over."""
        super().wait(timeout)
        deadline = self._now() + int(timeout * SECOND)
        while True:
            began = self._now()
            try:
                conn = self._work.connection(max(0.0, (deadline - began) / 1e9))
            except Exception as error:
                self._core.rehearsed(0, error)
                self._log_failed_connect(error, is_loud=True)
                self._threads.parker().park(min(FIRST_PAUSE, deadline - self._now()) / 1e9)
                if self._now() >= deadline:
                    self.close()
                    raise self._incomplete(timeout, error) from error
            else:
                self._core.rehearsed(self._now() - began, None)
                self._work.close(Close(conn, Reason.NOT_KEPT))
                return


def _heal_all() -> None:
    for pool in list(live_pools):
        pool._heal()


os.register_at_fork(after_in_child=_heal_all)
