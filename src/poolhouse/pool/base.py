"""What the pools for threads and for asyncio share: settings, figures, errors, messages."""

import os
import random
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import count
from types import FrameType
from typing import TYPE_CHECKING, Any

from poolhouse.clock import Clock
from poolhouse.errors import PoolClosed, PoolTimeout
from poolhouse.meter.meter import Meter
from poolhouse.pool.bare_error import bare, without
from poolhouse.pool.core import BROKEN, HeldLong, PoolCore, Refusal, ReturnedAfterAll, Waiter
from poolhouse.pool.drivers import driver_for
from poolhouse.pool.drivers.protocol import Traits
from poolhouse.pool.drivers.sockets import is_quiet
from poolhouse.pool.error_classes import errors_for
from poolhouse.pool.gil import is_gil_enabled
from poolhouse.pool.holders import Holder, in_words, oldest_in_words
from poolhouse.pool.hooks import PoolHooks, tell
from poolhouse.pool.lines import Lines
from poolhouse.pool.options import PoolOptions
from poolhouse.pool.parameters import checked
from poolhouse.pool.passwords import secrets_in
from poolhouse.pool.slot import Lease, State
from poolhouse.pool.stats import Reader
from poolhouse.pool.target import Target, TargetSetting
from poolhouse.pool.whereabouts import where_now
from poolhouse.pool.words import Shown, describe, log_dead, logger
from poolhouse.safely import DEBUG, WARNING
from poolhouse.sites.words import CallSite
from poolhouse.verdicts.current import main_of
from poolhouse.verdicts.verdict import Verdict
from poolhouse.verdicts.words import reason_of

#: Methods that `connection` calls if a subclass, or a pool instance, overrides them.
_OVERRIDABLE = {"getconn", "putconn"}

_numbers = count(1)
#: Every live pool, for the child after a fork.
live_pools: "weakref.WeakSet[BasePool]" = weakref.WeakSet()
#: Connections that a child inherited. They are neither used nor closed, which would end the parent's session, but
#: kept from the garbage collector, which would close them too. A driver's `inherit` may handle them differently.
_inherited: list[Any] = []


#: Why a client is refused at once instead of waiting: see `PoolState.is_stranded`.
_STRANDED = "the interpreter ends: no thread can be started that would connect"


class BasePool:
    """The common base of all pools. Not to be used directly."""

    # Read at every checkout: slots are faster than the far end of a long dictionary.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_acquired",
        "_checkout",
        "_checks_always",
        "_core",
        "_has_pgconn",
        "_marks",
        "_now",
        "_released",
        "_returns_at_once",
        "_status",
    )

    #: True in null pools: they keep no idle connection, and their clients connect for themselves.
    _is_null = False
    #: True in the asyncio pools.
    _is_async = False
    #: What the pool connects with; a new value is used for the next connections.
    conninfo, kwargs = TargetSetting(), TargetSetting()

    def __init__(self, parameters: Mapping[str, Any], clock: Clock) -> None:
        """A pool that is not open yet.

        Args:
            parameters: The constructor's, all of `poolhouse.pool.parameters.PARAMETERS`, by name.
            clock: Real or virtual.
        """
        told = checked(parameters, is_null=self._is_null)
        self._target = Target(told["conninfo"], told["kwargs"])
        self.name: str = told["name"] or f"pool-{next(_numbers)}"
        self.timeout: float = told["timeout"]
        #: Read by psycopg (from 3.3 on): whether ``conn.close()`` gives the connection back to its pool.
        self.close_returns: bool = told["close_returns"]
        self.hooks: PoolHooks = told["hooks"] or PoolHooks()
        self._acquired, self._released = self.hooks.acquired, self.hooks.released
        #: Whether a return has no function of the application to call.
        self._returns_at_once = self._released is None and told["reset"] is None
        self._configure = told["configure"]
        self._check = told["check"]
        self._reset = told["reset"]
        self._reset_inline: bool = told["reset_inline"]
        self._reconnect_failed = told["reconnect_failed"]
        connection_class = told["connection_class"]
        self._driver: Any = driver_for(told["driver"], connection_class, is_async=self._is_async)
        traits = Traits.of(self._driver)
        self._marks: bool = traits.marks_connections
        #: Whether the status can be read without a call, which would cost more than all the rest of the look.
        self._has_pgconn: bool = traits.has_pgconn
        self._is_thread_bound: bool = traits.is_thread_bound
        self._inherit = traits.inherit
        if self.close_returns:
            if not self._marks:
                raise ValueError(
                    "close_returns needs a driver that asks the pool when a connection is closed: psycopg"
                )
            if traits.let_close_return is not None:
                traits.let_close_return()
                traits = Traits.of(self._driver)
        self._connection_class: type[Any] | None = traits.connection_class or connection_class
        error_base: Any = traits.error_base  # mypy believes that a class has no hash.
        self._errors = errors_for(error_base)
        self._clock = clock
        self._now: Callable[[], float] = clock.monotonic
        self._status: Callable[[Any], int] = self._driver.status
        self.meter = Meter()
        self._options = PoolOptions(
            **{field.name: told[field.name] for field in fields(PoolOptions) if field.name in told},
            has_check=self._check is not None,
            has_reset=self._reset is not None,
            is_watched=self.hooks.acquired is not None or self.hooks.released is not None,
            max_kept=0 if self._is_null else None,
            connect_in_caller=self._is_null,
        )
        self._checks_always = self._options.checks_always
        self._lines = Lines()
        self._core = self._new_core()
        if not is_gil_enabled():
            logger.info("pool %r: without the GIL every checkout and return takes the pool's lock", self.name)
        self._reader = Reader()
        #: Keys of the connections that this process, a forked child, inherited in the pool.
        self._parents: set[int] = set()
        self._opens_itself = False
        #: True if the constructor opened the pool by default and it has not been used as a context manager.
        self._warns_of_implicit_open = False
        self._choose_checkout()
        live_pools.add(self)

    def _new_core(self) -> PoolCore:
        core = PoolCore(self._options, self.meter, random.random)
        core.helpers = self._lines.helpers
        core.be_called(True)  # The first checkout shows which kind of code calls.
        return core

    # -- Overridden methods -------------------------------------------------------------------------------------

    #: The functions that blocks need not call, the class of their contexts, and the class that calls overrides.
    _plain: tuple[Any, Any]
    _plain_checkout: type[Any]
    _routed_checkout: type[Any]

    def _choose_checkout(self) -> None:
        """Find out whether `connection` must call an override of `getconn` or `putconn`."""
        is_plain = (type(self).getconn, type(self).putconn) == self._plain and not (  # type: ignore[attr-defined]
            _OVERRIDABLE & self.__dict__.keys()
        )
        self._checkout = self._plain_checkout if is_plain else self._routed_checkout

    if not TYPE_CHECKING:  # With this method, a type checker would allow any attribute on the class.

        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, name, value)
            if name in _OVERRIDABLE:
                self._choose_checkout()

        def __delattr__(self, name: str) -> None:
            object.__delattr__(self, name)
            if name in _OVERRIDABLE:
                self._choose_checkout()

    # -- Lines --------------------------------------------------------------------------------------------------

    def _line_of(self, frame: FrameType) -> CallSite:
        """The line of the application that holds what `frame`, a method of the pool, is taking.

        Called for the first checkout, and for those on the slow path. If libraries or helpers ask on behalf of the
        application, the fast path calls it as well.
        """
        lines = self._lines
        try:
            line = lines.of(frame)
            if lines.is_sought is not self._core.is_called:
                self._seek_lines(lines.is_sought)
        except Exception:  # A module's name may be any object: an odd one must not break a checkout.
            return frame.f_code, frame.f_lasti
        return line

    def _seek_lines(self, is_sought: bool) -> None:
        """Make each checkout call `_line_of`, or stop that."""
        raise NotImplementedError("a subclass switches its fast path")

    # -- Properties and figures ---------------------------------------------------------------------------------

    @property
    def connection_class(self) -> type[Any] | None:
        """The class whose connections are served; ``None`` if only the driver knows."""
        return self._connection_class

    @property
    def min_size(self) -> int:
        """The smallest size of the pool; `resize` changes it."""
        return self._core.min_size

    @property
    def max_size(self) -> int:
        """The largest size of the pool; `resize` changes it. 0, in a null pool, means no limit."""
        return self._core.max_size

    @property
    def max_waiting(self) -> int:
        """How many clients may wait; 0 for no limit."""
        return self._options.max_waiting

    @property
    def max_lifetime(self) -> float:
        """How long a connection lives, in seconds; each lives up to 10 % less, at random."""
        return self._options.max_lifetime

    @property
    def max_idle(self) -> float:
        """How often the pool checks whether it can shrink, in seconds."""
        return self._options.max_idle

    @property
    def reconnect_timeout(self) -> float:
        """Seconds without a successful connect after which `reconnect_failed` is called."""
        return self._options.reconnect_timeout

    @property
    def num_workers(self) -> int:
        """How many connections may be made at the same time."""
        return self._options.num_workers

    @property
    def closed(self) -> bool:
        """Whether the pool is closed, or not open yet."""
        return not self._core.is_open and not self._opens_itself

    def holders(self) -> tuple[Holder, ...]:
        """The lines of code that hold connections now, the oldest checkout first."""
        return self._core.holders(self._now())

    def get_stats(self) -> dict[str, int]:
        """The pool's figures since it was made or since `pop_stats`; counters that are 0 are left out."""
        return self._reader.since_pop(self._counters()) | self._figures()

    def pop_stats(self) -> dict[str, int]:
        """`get_stats`, and reset the counters to 0; fractions of a millisecond carry over to the next call."""
        return self._reader.pop(self._counters()) | self._figures()

    def _counters(self) -> dict[str, int]:
        counts, totals = self._core.counts, self.meter.totals()
        return {
            "requests_num": totals.checkouts + counts.requests_unserved,
            "requests_queued": counts.requests_queued,
            "requests_wait_ns": counts.requests_wait_ns,
            "requests_errors": counts.requests_errors,
            "usage_ns": totals.use.sum_ns,
            "returns_bad": counts.returns_bad,
            "connections_num": counts.connections_num,
            "connections_ns": totals.create.sum_ns,
            "connections_errors": counts.connections_errors,
            "connections_lost": counts.connections_lost,
        }

    def _figures(self) -> dict[str, int]:
        core = self._core
        return {
            "pool_min": core.min_size,
            "pool_max": core.max_size,
            "pool_size": core.size,
            "pool_available": core.free,
            "requests_waiting": len(core.waiters),
        }

    def __repr__(self) -> str:
        """The pool's state, for example ``<ConnectionPool 'pool-1': 2 used, 1 idle, 0 waiting, max 4>``."""
        core = self._core
        state = "" if core.is_open else " (closed)" if core.was_closed else " (not open)"
        connecting = f", {len(core.connecting)} connecting" if core.connecting else ""
        return (
            f"<{type(self).__name__} {self.name!r}{state}: {core.used} used, {core.free} idle{connecting}, "
            f"{len(core.waiters)} waiting, max {core.max_size or 'unlimited'}>"
        )

    # -- Errors and messages ------------------------------------------------------------------------------------

    def _refused(self, refusal: Refusal, waiter: Waiter) -> Exception:
        """The exception for a request that was refused."""
        if refusal is Refusal.NOT_OPEN:
            return self._errors.closed(f"the pool {self.name!r} is not open yet")
        if refusal is Refusal.CLOSED:
            if waiter.queued_at:  # The pool was open when this client came.
                return self._errors.closed(f"the pool {self.name!r} is closed")
            return self._closed()
        if refusal is Refusal.FULL:
            waiting = self._options.max_waiting
            return self._errors.too_many(f"the pool {self.name!r} has already {waiting} requests waiting")
        return self._timed_out(waiter)

    def _warn_at_first_request(self, stacklevel: int = 4) -> None:
        """Warn, once, that the constructor opened the pool by default; `stacklevel` leads to the user's line."""
        self._core.warns_at_first_request = False
        if self._warns_of_implicit_open:
            self._warns_of_implicit_open = False
            warnings.warn(self._implicit_open[1], self._implicit_open[0], stacklevel=stacklevel)

    @property
    def _implicit_open(self) -> tuple[type[Warning], str]:
        """The warning to give when the constructor opens the pool: its class and text."""
        raise NotImplementedError("a subclass has a warning of its own")

    def _closed(self) -> PoolClosed:
        """The exception for a pool that is closed for good."""
        return self._errors.closed(f"the pool {self.name!r} is already closed")

    def _timed_out(self, waiter: Waiter) -> PoolTimeout:
        """The exception for a client that has reached its deadline, with what is known about the cause."""
        core, now = self._core, self._now()
        waited = max(0.0, now - waiter.since)
        tell(self.hooks.timed_out, waited)
        size, used, holders, cause = core.size, core.used, core.holders(now), self._copied(core.connect_error)
        # The words up to the colon are psycopg_pool's: programs match them.
        text = [f"couldn't get a connection after {waited:.2f} sec: {used} of {core.max_size or size} in use"]
        if core.connecting:
            text[0] += f", {len(core.connecting)} connecting"
        text[0] += f", {len(core.waiters)} waiting"
        verdict = main_of(self)
        text += self._reasons(verdict, holders, cause)
        error = self._errors.timeout(
            "; ".join(text),
            waited=waited,
            size=size,
            max_size=core.max_size,
            in_use=used,
            waiting=len(core.waiters),
            holders=holders,
            connect_error=cause,
            verdict=verdict,
        )
        error.__cause__ = cause
        return error

    def _incomplete(self, timeout: float, cause: BaseException | None) -> PoolTimeout:
        """The exception for a pool that did not fill in time."""
        core, holders = self._core, self._core.holders(self._now())
        # The words up to the colon are psycopg_pool's.
        text = [f"pool initialization incomplete after {timeout} sec"]
        if core.min_size:
            text[0] += f": {core.free} of {core.min_size} idle, {core.used} in use"
        text += self._reasons(main_of(self), holders, cause)
        return self._errors.timeout(
            "; ".join(text),
            size=core.size,
            max_size=core.max_size,
            in_use=core.used,
            holders=holders,
            connect_error=cause,
        )

    def _reasons(
        self, verdict: Verdict | None, holders: Sequence[Holder], cause: BaseException | None
    ) -> Iterator[str]:
        """What is known about why clients get no connection, in words; `cause` is a copy without passwords."""
        if verdict is not None:
            yield reason_of(verdict)
        if holders:
            yield oldest_in_words(holders)
        if cause is not None:
            yield f"last connect error: {describe(cause)}"
        if self._core.is_stranded:
            yield _STRANDED

    def _is_quiet(self, conn: Any) -> bool:
        """Whether the socket gives no reason to ask the server."""
        try:
            # A closed connection has no socket to look at: asyncio may have told the driver in the meantime.
            if self._status(conn) == BROKEN:
                return False
            descriptor = self._driver.fileno(conn)
            return descriptor is None or is_quiet(descriptor)
        except Exception:  # From any driver; it may not even have a socket any more.
            return False

    def _dead_because(self, conn: Any, error: Exception, is_cut: bool) -> Exception:
        """Log why the check of a connection failed, and return the error without its traceback.

        The frames of the traceback would keep the block of the client that had the connection alive.

        Args:
            conn: The connection.
            error: What the check raised.
            is_cut: Whether the check was aborted at the client's deadline, so that `error` shows only that.
        """
        reason = TimeoutError("the check did not end in time") if is_cut else error
        log_dead(conn, reason, has_check=self._options.has_check)
        return reason.with_traceback(None)

    def _foreign(self, conn: Any) -> ValueError:
        """The exception for a connection that cannot be returned to this pool."""
        owner = getattr(conn, "_pool", None)
        whence = f"it comes from pool {owner.name!r}" if owner is not None else "it doesn't come from any pool"
        return ValueError(f"can't return connection to pool {self.name!r}, {whence}: {Shown(conn)}")

    def _is_parents(self, conn: Any) -> bool:
        """Whether the connection was inherited through a fork; if so, logs that for each return."""
        if id(conn) not in self._parents:
            return False
        logger.warning(
            "pool %r: %s was taken before this process was forked; it belongs to the parent and is left alone",
            self.name,
            Shown(conn),
        )
        return True

    def _left_without(self, conn: Any) -> None:
        """Handle the end of a block that no longer has its connection; its present owner keeps it.

        Raises:
            ValueError: If the block has already returned the connection by `putconn`. With `close_returns` it may
                do so by `close`; and a connection of the parent process is left alone.
        """
        if not self._is_parents(conn) and not self.close_returns:
            raise self._foreign(conn)

    def _tell(self, notice: HeldLong | ReturnedAfterAll) -> None:
        """Log that a connection is held for long, or was returned after that."""
        lease, held = notice
        if isinstance(notice, HeldLong):
            logger.warning(
                "pool %r: a connection has been held for %.1f s by %s%s",
                self.name,
                held,
                self._site_of(lease),
                f"; {now}" if (now := where_now(lease, is_task=self._is_async)) else "",
            )
        else:
            logger.warning(
                "pool %r: the connection held by %s was returned after all, after %.1f s",
                self.name,
                self._site_of(lease),
                held,
            )

    def _site_of(self, lease: Lease) -> str:
        code = lease[2]
        return "the pool" if code is None else in_words((code, lease[3]), self._core.helpers)

    def _log_failed_connect(self, error: BaseException, *, is_loud: bool) -> None:
        words = describe(error, self._secrets())
        logger.log(WARNING if is_loud else DEBUG, "error connecting in %r: %s", self.name, words)

    def _secrets(self) -> list[str]:
        return secrets_in(self.conninfo, self.kwargs)

    def _copied(self, error: BaseException | None) -> BaseException | None:
        """A copy of a driver's error for the application, without traceback and passwords."""
        return None if error is None else without(bare(error), self._secrets())

    # -- Fork ---------------------------------------------------------------------------------------------------

    def _heal(self) -> None:
        """Start afresh in a forked child: what it inherited is the parent's. The pool reopens at its first use."""
        old = self._core
        self._opens_itself = self._opens_itself or old.is_open
        conns = [slot.conn for slot in list(old.slots.values())]
        _inherited.extend(conns)
        self._parents.update(map(id, conns))
        if self._inherit is not None:
            self._inherit([slot.conn for slot in list(old.slots.values()) if old.state_of(slot) is State.IDLE])
        self.meter.reset()
        self._core = self._new_core()
        self._core.min_size, self._core.max_size = old.min_size, old.max_size
        self._core.was_closed = old.was_closed
        self._reader = Reader()


def _heal_all() -> None:
    for pool in list(live_pools):
        pool._heal()


os.register_at_fork(after_in_child=_heal_all)
