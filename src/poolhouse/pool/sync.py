"""The pool for threads: settings, life cycle and upkeep."""

import weakref
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from poolhouse.clock import Clock, SystemClock
from poolhouse.pool import registry
from poolhouse.pool.background_call import BackgroundCall
from poolhouse.pool.hooks import PoolHooks
from poolhouse.pool.jobs import Close, Reason
from poolhouse.pool.options import PROBE_LIMIT, Order, Shrink, time_limit
from poolhouse.pool.parameters import given, sized
from poolhouse.pool.reused_threads import ReusedThreads
from poolhouse.pool.slot import Slot
from poolhouse.pool.sync_clients import Clients
from poolhouse.pool.sync_waiting import CT
from poolhouse.pool.sync_work import Work
from poolhouse.pool.threads import Parker, SystemThreads, Threads
from poolhouse.pool.words import logger
from poolhouse.pool.workers import Workers

if TYPE_CHECKING:
    from typing import Self


class ConnectionPool(Clients[CT]):
    """A pool of connections for threads, with the interface of psycopg_pool's class of this name.

    The constructor returns at once; background threads make the connections. ``docs/reference/pool.md`` describes
    each parameter.
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
        super().__init__(given(locals()), clock or SystemClock())
        self._threads = threads or SystemThreads()
        self._set_up()
        if open is None:
            self._warns_of_implicit_open = self._core.warns_at_first_request = True
        if open is None or open:
            self._open()

    def _set_up(self) -> None:
        """Create the workers for the current core; called again in a forked child."""
        myself = weakref.ref(self)

        def reconnect_failed() -> None:
            pool = myself()
            if pool is not None:
                pool.reconnect_failed()

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
            self._target,
            self._configure,
            self._check,
            self._reset,
            reconnect_failed,
            log_failed_connect,
        )
        self._workers = Workers(
            self.name,
            self._core,
            self._clock,
            self._threads,
            self._work.perform,
            self._work.restored,
            self._driver.abort,
            say,
        )
        self._beside = ReusedThreads(self._threads)
        self._core_lock = self._work.core_lock = self._workers.core_lock
        self._work.core = self._core
        self._work.guard, self._work.unguard = self._workers.guard, self._workers.unguard

    def open(self, wait: bool = False, timeout: float = 30.0) -> None:
        """Start connecting and serving. Does nothing if the pool is open.

        Args:
            wait: Also wait until `min_size` connections are ready, as `wait` does.
            timeout: How long to wait, in seconds.

        Raises:
            PoolClosed: If the pool has been closed: a closed pool cannot be opened again.
            PoolTimeout: If `wait` is true and the connections are not ready in time.
        """
        self._open()
        if wait:
            self._warn_at_first_request(stacklevel=3)
            self.wait(timeout=timeout)

    def _open(self) -> None:
        self._opens_itself = False
        if self._core.was_closed:
            raise self._errors.closed("pool has already been opened/closed and cannot be reused")
        self._core_lock(self._core.open, self._now())
        registry.opened(self)

    def wait(self, timeout: float = 30.0) -> None:
        """Wait until the pool has `min_size` idle connections. Any thread may call this at any time.

        Args:
            timeout: How long to wait, in seconds.

        Raises:
            PoolTimeout: If the connections are not ready in time. Its ``__cause__`` is the last error of a
                connect, if there was one. A pool that never had `min_size` connections is then closed.
            PoolClosed: If the pool is not open, or is closed during the wait.
        """
        self._warn_at_first_request(stacklevel=3)
        if not self._core.is_open:
            raise self._errors.closed(
                f"the pool {self.name!r} is {'already closed' if self._core.was_closed else 'not open yet'}"
            )
        deadline = self._now() + time_limit(timeout)
        logger.info("waiting for pool %r initialization", self.name)
        self._wait_until(deadline, timeout)
        logger.info("pool %r is ready to use", self.name)

    def _wait_until(self, deadline: float, timeout: float) -> None:
        core, parker = self._core, self._threads.parker()
        self._workers.watchers.append(parker)
        try:
            before = self._core_lock(core.watch_full, self._now())
            while core.times_full == before and not core.was_closed:
                is_over = core.is_stranded or not parker.park(deadline - self._now())
                if is_over and core.times_full == before:
                    self._fail_to_fill(timeout, self._copied(core.connect_error))
        finally:
            self._workers.watchers.remove(parker)
            self._core_lock(core.unwatch_full)
        if core.times_full == before:
            raise self._closed() from self._copied(core.connect_error)

    def _fail_to_fill(self, timeout: float, cause: BaseException | None) -> NoReturn:
        """Raise `wait`'s PoolTimeout, and close the pool if it never was full."""
        error = self._incomplete(timeout, cause)
        if not self._core.was_full:
            self.close(timeout=0)
        raise error from cause

    def close(self, timeout: float = 5.0) -> None:
        """Close the pool: clients are refused, and idle connections are closed.

        A connection that a client still holds is closed when the client returns it.

        Args:
            timeout: How long to wait for the background threads to end, in seconds; 0: do not wait. A callback of
                the pool that calls this does not wait for its own thread.
        """
        if not (self._core.is_open or self._core.was_closed or self._opens_itself):
            return  # The pool has not been opened, and still may be.
        self._opens_itself = self._warns_of_implicit_open = False
        if self._core.was_closed:
            # Close connections that were returned meanwhile, and those of blocks that were dropped without
            # `__exit__`.
            self._core_lock(self._core.reclaim, self._now())
            self._finish_closing()
            return
        self._core_lock(self._core.close, self._now())
        self._workers.wake_watchers()
        logger.debug("pool %r closed", self.name)
        deadline = self._now() + time_limit(timeout)
        parker = self._threads.parker()
        self._workers.watchers.append(parker)
        while self._workers.is_busy() and self._now() < deadline:
            parker.park(deadline - self._now())
        self._workers.watchers.remove(parker)
        # Abort work that is stuck on a connection. A connect cannot be aborted: its thread ends with the process.
        for slot in self._core.worked_on.copy():
            self._driver.abort(slot.conn)
        self._workers.dismiss()
        self._beside.dismiss()
        self._finish_closing()
        self._workers.join(deadline)
        self._beside.join(deadline, self._now)

    @property
    def _implicit_open(self) -> tuple[type[Warning], str]:
        name = type(self).__name__
        return (
            DeprecationWarning,
            f"the default of the {name} parameter 'open' will become False, as in psycopg_pool: say open=True or "
            f"open=False, or use the pool as a context manager: `with {name}(...) as pool: ...`",
        )

    def reconnect_failed(self) -> None:
        """Call the `reconnect_failed` callback; the pool does so once `reconnect_timeout` has passed."""
        if self._reconnect_failed is not None:
            self._reconnect_failed(self)

    def __enter__(self) -> "Self":
        """Open the pool unless it is open."""
        self._warns_of_implicit_open = False
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
        # Nothing refers to the pool any more: end its threads, and do not wait for them in a finalizer.
        if hasattr(self, "_beside"):
            self._workers.dismiss()
            self._beside.dismiss()

    def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Change `min_size` and `max_size`. Surplus connections are closed as soon as they are idle.

        Args:
            min_size: The new minimum.
            max_size: The new maximum; ``None`` for `min_size`.

        Raises:
            ValueError: If the sizes contradict each other or the kind of pool.
            TypeError: If they are not numbers.
        """
        min_size, max_size = sized(min_size, max_size, is_null=self._is_null)
        logger.info("resizing %r to min_size=%s max_size=%s", self.name, min_size, max_size)
        self._core_lock(self._core.resize, min_size, max_size, self._now())

    def check(self) -> None:
        """Check every idle connection with a round trip to the server, and replace those that do not answer.

        Connections are checked one at a time, so that clients can take the others.
        """
        seen: set[Slot] = set()
        while self._check_next(seen):
            pass

    def _check_next(self, seen: set[Slot]) -> bool:
        """Check one idle connection that is not in `seen`. False if there is none."""
        now = self._now()
        try:
            slot = self._core_lock(self._core.claim_for_check, seen, now)
            if slot is None:
                return False
            seen.add(slot)
            self._workers.guard(slot, now + PROBE_LIMIT)
            is_alive = self._work.is_alive(slot.conn, is_asked=True)
            is_alive = self._workers.unguard(slot) and is_alive
            self._core_lock(self._core.probed, slot, is_alive, self._now())
        except BaseException:
            # A worker continues with this connection, under a guard of its own.
            self._core_lock.finish(self._core.interrupted_work, now, self._now())
            raise
        return True

    def drain(self) -> None:
        """Replace every connection with a new one. A connection that is in use is replaced when it is returned."""
        self._core_lock(self._core.drain, self._now())

    @staticmethod
    def check_connection(conn: CT) -> None:
        """Make one round trip through a psycopg connection; pass this as `check`.

        Raises:
            psycopg.Error: If the connection is dead.
        """
        from poolhouse.pool.drivers.psycopg import PsycopgDriver

        PsycopgDriver(type(conn)).probe(conn)

    @staticmethod
    def check_writable(conn: CT) -> None:
        """Raise if a psycopg connection is dead or its server accepts no writes; pass this as `check`.

        After a failover, connections to the former primary still answer, but each write fails (SQLSTATE 25006).

        Raises:
            psycopg.errors.ReadOnlySqlTransaction: If the server, or the session, is read-only.
        """
        from poolhouse.pool.drivers.writable import check_writable

        check_writable(conn)

    def _heal(self) -> None:
        super()._heal()
        self._set_up()


class NullConnectionPool(ConnectionPool[CT]):
    """A pool that keeps no idle connections: each client makes its own or waits for a returned one.

    At most `max_size` connections are open at a time; 0 for no limit. `reset` is called only for connections that
    go to a waiting client.
    """

    _is_null = True

    def __init__(
        self,
        conninfo: str | Callable[[], str] = "",
        *,
        connection_class: type[CT] | None = None,
        kwargs: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        min_size: int = 0,
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
        super().__init__(**given(locals(), "clock", "threads"))

    def wait(self, timeout: float = 30.0) -> None:
        """Make one connection and close it, to show that the server is reachable; retry until the timeout.

        Args:
            timeout: How long to retry, in seconds.

        Raises:
            PoolTimeout: If no connect succeeded in time; the pool is then closed.
            PoolClosed: If the pool is not open, or is closed during the wait.
        """
        self._warn_at_first_request(stacklevel=3)
        super().wait(timeout)

    def _wait_until(self, deadline: float, timeout: float) -> None:
        parker = self._threads.parker()
        self._workers.watchers.append(parker)
        try:
            while (error := self._rehearsed(parker, deadline)) is not None:
                due = min(deadline, self._core.next_rehearsal_at(self._now()))
                while not self._core.was_closed and (pause := due - self._now()) > 0:
                    parker.park(pause)  # A worker that becomes idle wakes it too.
                if self._core.was_closed:
                    raise self._closed() from error
                if self._now() >= deadline:
                    self.close(timeout=0)
                    raise self._incomplete(timeout, error) from error
        finally:
            self._workers.watchers.remove(parker)

    def _rehearsed(self, parker: Parker, deadline: float) -> BaseException | None:
        """Call `_rehearse` in a thread of its own; return at the deadline or when the pool is closed."""
        rehearsal = BackgroundCall(partial(self._rehearse, deadline), self._beside, parker, f"{self.name}-connect")
        while not rehearsal.is_over and not self._core.was_closed and self._now() < deadline:
            parker.park(deadline - self._now())
        return rehearsal.result() if rehearsal.is_over else TimeoutError("no answer in time")

    def _rehearse(self, deadline: float) -> BaseException | None:
        """Make a connection and close it; return the error, or ``None``."""
        began = self._now()
        try:
            conn = self._work.connection(max(0.0, deadline - began))
        except Exception as error:
            is_loud = self._core_lock(self._core.rehearsed, 0, error, self._now())
            self._log_failed_connect(error, is_loud=is_loud)
            return self._copied(error)
        now = self._now()
        self._core_lock(self._core.rehearsed, now - began, None, now)
        self._work.close(Close(conn, Reason.NOT_KEPT))
        return None
