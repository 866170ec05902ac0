"""The work of a pool's threads: connect, check, roll back and reset, close. The core makes the decisions."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from poolhouse.clock import Clock
from poolhouse.errors import PoolError
from poolhouse.pool.core import BROKEN, IDLE, PoolCore
from poolhouse.pool.core_lock import CoreLock
from poolhouse.pool.drivers.protocol import Driver, Traits
from poolhouse.pool.hooks import PoolHooks, tell
from poolhouse.pool.jobs import Close, Connect, Job, Probe, Return
from poolhouse.pool.options import PROBE_LIMIT, RETURN_LIMIT
from poolhouse.pool.slot import Slot
from poolhouse.pool.status import CLEAN, HIDING, STATUS, UNFIT
from poolhouse.pool.target import Target
from poolhouse.pool.words import Shown, describe, log_closed, log_dead, log_returned, logger
from poolhouse.safely import WARNING
from poolhouse.signals import as_application


class Work:
    """Does the jobs of one pool. It does not refer to the pool: see `Workers`."""

    def __init__(
        self,
        name: str,
        driver: Driver,
        clock: Clock,
        hooks: PoolHooks,
        target: Target,
        configure: Callable[[Any], object] | None,
        check: Callable[[Any], object] | None,
        reset: Callable[[Any], object] | None,
        reconnect_failed: Callable[[], object],
        log_failed_connect: Callable[..., None],
    ) -> None:
        """See the pool's parameters; `reconnect_failed` calls the user's with the pool, if that still exists."""
        self.core: PoolCore
        self.core_lock: CoreLock
        self.guard: Callable[[Slot, float], None]
        self.unguard: Callable[[Slot], bool]
        self._name = name
        self._driver = driver
        self._marks = Traits.of(driver).marks_connections
        self._clock = clock
        self._hooks = hooks
        self._target = target
        self._configure = configure
        self._check = check
        self._reset = reset
        self._reconnect_failed = reconnect_failed
        self._log_failed_connect = log_failed_connect
        self._process = os.getpid()

    def perform(self, job: Job) -> bool:
        """Do a job and answer it to the core. Raises nothing; False if the core may not have been answered."""
        try:
            return self._perform(job)
        except BaseException as error:
            self._survive(error)
        return False

    def restored(self, job: Return) -> bool:
        """Prepare a returned connection for the next client. Raises nothing; returns whether that succeeded.

        Called under a guard; `PoolCore.returned` must follow.
        """
        try:
            return self._is_restored(job.slot.conn, job)
        except BaseException as error:
            self._survive(error)
        return False

    def _survive(self, error: BaseException) -> None:
        if isinstance(error, SystemExit):
            # Whatever `reconnect_failed` raises to end the program would end only this thread.
            logger.last_word("pool %r: sys.exit() in a worker does not end the program", self._name, level=WARNING)
        else:
            logger.last_word("pool %r: unexpected error; the pool continues", self._name, error=error)

    def _perform(self, job: Job) -> bool:
        if isinstance(job, Connect):
            self._connect(job.slot)
        elif isinstance(job, Return):
            self.restore(job)
        elif isinstance(job, Probe):
            self._probe(job.slot)
        elif isinstance(job, Close):
            self.close(job)
        else:
            logger.warning("reconnection attempt in pool %r failed after %s sec", self._name, job.after)
            as_application(self._reconnect_failed)
        return True

    def connection(self, timeout: float | None) -> Any:
        """A new connection, configured and idle."""
        conninfo: str | Callable[[], str] = self._target.conninfo
        kwargs: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = self._target.kwargs
        conninfo = as_application(conninfo) if callable(conninfo) else conninfo
        kwargs = as_application(kwargs) if callable(kwargs) else kwargs
        conn = self._driver.connect(conninfo, kwargs or {}, timeout)
        self.core.must_be_new(conn)
        if self._configure is not None:
            try:
                self._configure(conn)
                if (status := self._settled(conn)) not in CLEAN:
                    raise PoolError(
                        f"{Shown(conn)} left in status {STATUS[status]} by configure function "
                        f"{Shown(self._configure)}: discarded"
                    )
            except BaseException:
                # After a fork the child cancels the copied calls: the connection belongs to the parent.
                if os.getpid() == self._process:
                    self._driver.close(conn)
                raise
        return conn

    def _settled(self, conn: Any) -> int:
        """The status after a callback; a transaction that it may have left open is rolled back first."""
        status = self._driver.status(conn)
        if status in HIDING:
            self._driver.rollback(conn)
            status = self._driver.status(conn)
        return status

    def _connect(self, slot: Slot) -> None:
        began = self._clock.monotonic()
        try:
            conn = self.connection(None)
            now = self._clock.monotonic()
            job = self.core_lock(self.core.connected, slot, conn, now - began, now)
        except BaseException as error:
            is_loud = self.core_lock(self.core.connect_failed, slot, error, self._clock.monotonic())
            self._log_failed_connect(error, is_loud=is_loud)
            return
        logger.info("adding new connection to the pool %r: %s", self._name, Shown(conn))
        tell(self._hooks.connected, conn, now - began)
        if job is not None:
            self.close(job)

    def restore(self, job: Return) -> None:
        """Prepare a returned connection for the next client, and answer the core."""
        is_good = False
        try:
            is_good = self._is_restored_in_time(job)
        finally:
            self.core_lock(self.core.returned, job.slot, is_good, self._clock.monotonic())

    def _is_restored_in_time(self, job: Return) -> bool:
        is_good = is_in_time = False
        try:
            self.guard(job.slot, self._clock.monotonic() + RETURN_LIMIT)
            is_good = self._is_restored(job.slot.conn, job)
        finally:
            is_in_time = self.unguard(job.slot)
        return is_good and is_in_time

    def _is_restored(self, conn: Any, job: Return) -> bool:
        try:
            if self._marks:
                conn._pool = None
            # A connection that needs no rollback was idle when it was returned.
            status = self._driver.status(conn) if job.roll_back else IDLE
            if status in UNFIT:
                log_returned(conn, status)
                return False
            if status != IDLE:
                if not job.is_expected:
                    logger.warning("rolling back returned connection: %s", Shown(conn))
                try:
                    self._driver.rollback(conn)
                except Exception as error:
                    logger.warning("rollback failed: %s. Discarding connection %s", describe(error), Shown(conn))
                    return False
            if self._reset is None:
                status = self._driver.status(conn)
            else:
                self._reset(conn)
                status = self._driver.status(conn)
                if status == IDLE:
                    return True
                status = self._settled(conn)
            if status not in CLEAN:
                logger.warning(
                    "error resetting connection: %s left in status %s by reset function %s: discarded",
                    Shown(conn),
                    STATUS[status],
                    Shown(self._reset),
                )
                return False
        except Exception as error:
            logger.warning("error resetting connection: %s: %s", Shown(conn), describe(error))
            return False
        return True

    def _probe(self, slot: Slot) -> None:
        is_alive = False
        try:
            self.guard(slot, self._clock.monotonic() + PROBE_LIMIT)
            is_alive = self.is_alive(slot.conn, is_asked=False)
        finally:
            is_alive = self.unguard(slot) and is_alive
            self.core_lock(self.core.probed, slot, is_alive, self._clock.monotonic())

    def examine(self, conn: Any, *, with_check: bool) -> None:
        """Raise if the connection is dead; otherwise leave it idle."""
        if with_check and self._check is not None:
            self._check(conn)
        else:
            self._driver.probe(conn)
        self.settle(conn)

    def settle(self, conn: Any) -> None:
        """Raise if the connection is dead after a check; otherwise leave it idle."""
        status = self._driver.status(conn)
        if status not in UNFIT and status != IDLE:
            self._driver.rollback(conn)
            status = self._driver.status(conn)
        if status == BROKEN:
            raise ConnectionError("the connection is closed")
        if status not in CLEAN:
            raise ConnectionError(f"the check left the connection in status {STATUS[status]}")

    def is_alive(self, conn: Any, *, is_asked: bool) -> bool:
        """Whether the server answers through an idle connection; a dead one is logged.

        Args:
            conn: The connection.
            is_asked: Whether the application called `check()`.
        """
        try:
            self._driver.probe(conn)
        except Exception as error:
            log_dead(conn, error, has_check=self._check is not None and not is_asked)
            return False
        return True

    def close(self, job: Close) -> None:
        """Close a connection that has left the pool."""
        try:
            if self._marks:
                job.conn._pool = None
            self._driver.close(job.conn)
        except Exception as error:
            logger.warning("error closing connection: %s: %s", Shown(job.conn), describe(error))
        log_closed(self._name, job.conn, job.reason)
        tell(self._hooks.closed, job.conn, job.reason)
