"""The checkouts of a watched pool of psycopg_pool, measured at its ``getconn`` and ``putconn``.

Both are replaced on the pool itself, whatever its class does in them; ``connection()`` calls them. So waits, uses,
timeouts, and the lines of the application that hold connections are exact once the pool is watched. Connections
that were already out count as unknown until they come back.
"""

import sys
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, TypeAlias

from poolhouse.clock import monotonic
from poolhouse.instrumentation.driver_pools import function_of
from poolhouse.instrumentation.guard import guarded, report
from poolhouse.instrumentation.holders import Holder, holder_finder
from poolhouse.instrumentation.measured import Measured
from poolhouse.instrumentation.timeouts import explain
from poolhouse.meter.meter import BATCH, NO_WAIT
from poolhouse.meter.reading import Gauges
from poolhouse.meter.signs import PoolSigns
from poolhouse.sites.look import Hold
from poolhouse.sites.looker import Holding
from poolhouse.sites.site import Site
from poolhouse.sites.table import SiteTable
from poolhouse.verdicts.readiness import Condition

#: When a connection was taken, in monotonic seconds; the line that took it; and its holder.
Lease: TypeAlias = "tuple[float, Site, Holder]"

#: A weak reference to the pool.
Pool: TypeAlias = "weakref.ref[Any]"

#: How many frames above ``getconn`` the caller of a block is: beyond ``connection()`` and contextlib.
_CALLER_OF_BLOCK = 3

_getframe = sys._getframe


class WatchedCheckouts(Measured):
    """The leases of one pool, which it does not keep alive. A caller that finds an idle connection never waits."""

    def __init__(self, is_used: Callable[[], None]) -> None:
        """Start without a pool to measure.

        Args:
            is_used: Called at the pool's first use in this process.
        """
        super().__init__(SiteTable())
        self._is_used = is_used
        #: Not empty once checkouts may take the short path: the pool is reported, and nothing is inherited.
        self._settled: list[None] = []
        #: The pool's own queue: callers that found an idle connection and were too late wait there.
        self._queue: deque[Any] = deque()
        #: By the identity of the connection. If its caller loses a connection, the pool never gets it back.
        self._leases: dict[int, Lease] = {}
        #: One item for each connection that was already out when the pool began to be watched.
        self._unknown: list[None] = []
        self._began = monotonic()
        #: In a forked child, the connections that belong to the parent.
        self._inherited: set[int] = set()

    # The reporter's side.

    def gauges(self, stats: Mapping[str, int]) -> Gauges:
        """The present gauges, exact except for connections that were already out.

        Args:
            stats: The pool's own statistics; its size includes the connections being made.
        """
        idle, size = stats.get("pool_available", 0), stats.get("pool_size", 0)
        used = len(self._leases)
        del self._unknown[max(0, size - idle - used) :]
        return Gauges(idle, used + len(self._unknown), waiting=self._number_waiting(monotonic()))

    def condition(self, stats: Mapping[str, int]) -> Condition:
        """The pool's condition, for `poolhouse.ready`, without its limit and whether it is open."""
        taken = [since for since, _, _ in list(self._leases.values())]
        gauges = self.gauges(stats)
        return self._condition(gauges.idle, gauges.used, gauges.waiting, taken)

    @property
    def is_bound(self) -> bool:
        """Whether the gauges are upper bounds, because unknown connections may have come back unnoticed."""
        return bool(self._unknown)

    def expect_unknown(self, stats: Mapping[str, int]) -> None:
        """Note how many connections are already out."""
        self._unknown[:] = [None] * max(0, stats.get("pool_size", 0) - stats.get("pool_available", 0))

    def holding(self) -> Holding:
        """The present holds and the number of waiting callers, for the looks."""
        holds = [_hold(lease) for lease in list(self._leases.values())]
        return Holding(holds, self._number_waiting(monotonic()))

    def signs(self, target: str, made_at: str, dead: int) -> PoolSigns:
        """The pool's signs beyond its counters; the arguments are the fields of the same names."""
        return self._signs(self._holds(), monotonic(), target=target, made_at=made_at, dead=dead)

    def _holds(self) -> list[tuple[Site, float]]:
        """The site of each connection that is out, and since when it has been."""
        holds = [(site, since) for since, site, _ in list(self._leases.values())]
        return [*holds, *[(self._table.unknown, self._began)] * len(self._unknown)]

    def after_fork(self, pool: Any) -> None:
        """Start from zero in a forked child: what is open belongs to the parent."""
        self._inherited = {*self._leases, *map(id, list(getattr(pool, "_pool", None) or ()))}
        for mutable in (self._leases, self._unknown, self._settled):
            mutable.clear()
        self._begin_afresh()

    def _number_waiting(self, now: float) -> int:
        known = super()._number_waiting(now)
        # A caller that has given up stays in the pool's queue until a connection comes that it does not take.
        return max(known, sum(map(_still_waits, self._queue.copy())))

    # The pool's side.

    def wrap(self, pool: Any) -> bool:
        """Measure a pool from now on. False if that is impossible; the pool is then unchanged."""
        try:
            attributes = vars(pool)
            names = [name for name in ("getconn", "putconn", "_connect") if callable(getattr(pool, name, None))]
            if names[:2] != ["getconn", "putconn"]:
                return False
            reference = weakref.ref(pool)
            self._queue = _deque_of(pool, "_waiting")
            plain = {name: function_of(pool, name) for name in names}
            is_async = _is_async(pool.getconn)
            getting, connecting = (
                (self._measuring_getconn_async, self._measuring_connect_async)
                if is_async
                else (self._measuring_getconn, self._measuring_connect)
            )
            measured = getting(_of_one_argument(plain["getconn"]), reference, holder_finder(is_async=is_async))
            if _parameters(pool.getconn) != ("timeout",):
                measured = _with_any_arguments(measured)
            # Wrap the return first: a connection that is taken in between is then unknown until it comes back.
            attributes["putconn"] = self._measuring_putconn(plain["putconn"], reference)
            attributes["getconn"] = measured
            if "_connect" in plain:
                attributes["_connect"] = connecting(plain["_connect"], reference)
        except Exception:
            report("watch")
            return False
        return True

    def _measuring_getconn(
        self, getconn: Callable[..., Any], pool: Pool, holder: Callable[[], Holder]
    ) -> Callable[..., Any]:
        """The hot path of a checkout: every name is bound, and nothing is called twice."""
        meter, leases, table, idle = self.meter, self._leases, self._table, _deque_of(pool(), "_pool")
        used, waits, in_block, getframe = meter.used, meter.waits, _code_of_block(pool), _getframe
        now, waited, settled, no_wait = monotonic, waits.append, self._settled, NO_WAIT
        site_at, find, waiting = table.get, table.find, self._waiting

        def measured_getconn(timeout: Any = None) -> Any:
            began = now()
            try:
                if idle:
                    conn = getconn(pool(), timeout)
                else:
                    me = holder()
                    try:
                        waiting[me] = began
                        conn = getconn(pool(), timeout)
                    finally:
                        waiting.pop(me, None)
                ended = now()
            except BaseException as error:
                self._not_acquired(error, began)
                raise
            try:
                took = ended - began
                waited(took)
                frame = getframe(1)
                code = frame.f_code
                if code is in_block:
                    frame = getframe(_CALLER_OF_BLOCK)
                    site = site_at(id(frame.f_code) + frame.f_lasti) or find(_CALLER_OF_BLOCK)
                else:
                    site = site_at(id(code) + frame.f_lasti) or find(1)
                leases[id(conn)] = ended, site, holder()
                if took > no_wait or len(leases) > used.level or not settled:
                    self._is_out(conn, site, took)
            except Exception:
                report("getconn")
            return conn

        return measured_getconn

    def _measuring_getconn_async(
        self, getconn: Callable[..., Any], pool: Pool, holder: Callable[[], Holder]
    ) -> Callable[..., Any]:
        """The same for asyncio."""
        meter, waiting, leases, table = self.meter, self._waiting, self._leases, self._table
        used, waits, in_block, idle = meter.used, meter.waits, _code_of_block(pool), _deque_of(pool(), "_pool")
        settled, site_at, find = self._settled, table.get, table.find

        async def measured_getconn_async(timeout: Any = None) -> Any:
            began = monotonic()
            try:
                if idle:
                    conn = await getconn(pool(), timeout)
                else:
                    me = holder()
                    try:
                        waiting[me] = began
                        conn = await getconn(pool(), timeout)
                    finally:
                        waiting.pop(me, None)
                ended = monotonic()
            except BaseException as error:
                self._not_acquired(error, began)
                raise
            try:
                took = ended - began
                waits.append(took)
                start, frame = 1, _getframe(1)
                if frame.f_code is in_block:
                    start, frame = _CALLER_OF_BLOCK, _getframe(_CALLER_OF_BLOCK)
                site = site_at(id(frame.f_code) + frame.f_lasti) or find(start)
                leases[id(conn)] = ended, site, holder()
                if took > NO_WAIT or len(leases) > used.level or not settled:
                    self._is_out(conn, site, took)
            except Exception:
                report("getconn")
            return conn

        return measured_getconn_async

    def _measuring_putconn(self, putconn: Callable[..., Any], pool: Pool) -> Callable[..., Any]:
        """The measured `putconn` of both kinds: an asyncio application awaits what the pool's function returns."""
        if _parameters(putconn)[1:] == ("conn",):
            return self._counting_return(putconn, pool)
        count = self._counting_return(_nothing, pool)

        def measured_putconn_of_any_kind(*arguments: Any, **options: Any) -> Any:
            count(arguments[0] if arguments else options.get("conn"))
            return putconn(pool(), *arguments, **options)

        return measured_putconn_of_any_kind

    def _counting_return(self, putconn: Callable[[Any, Any], Any], pool: Pool) -> Callable[[Any], Any]:
        """The hot path of a return."""
        end_lease, now, waits, fold = self._leases.pop, monotonic, self.meter.waits, self.meter.fold
        batch = BATCH

        def measured_putconn(conn: Any) -> Any:
            try:
                lease = end_lease(id(conn), None)
                if lease is not None:
                    lease[1].ended(now() - lease[0])
                    if len(waits) >= batch:
                        fold()
                else:
                    self._returned_without_lease()
            except Exception:
                report("putconn")
            return putconn(pool(), conn)

        return measured_putconn

    def _measuring_connect(self, connect: Callable[..., Any], pool: Pool) -> Callable[..., Any]:
        def measured_connect(*arguments: Any, **options: Any) -> Any:
            began = monotonic()
            try:
                conn = connect(pool(), *arguments, **options)
            except Exception as error:
                self._connect_failures.add(error, monotonic(), self.meter.connects)
                raise
            self.meter.creates.append(monotonic() - began)
            return conn

        return measured_connect

    def _measuring_connect_async(self, connect: Callable[..., Any], pool: Pool) -> Callable[..., Any]:
        async def measured_connect_async(*arguments: Any, **options: Any) -> Any:
            began = monotonic()
            try:
                conn = await connect(pool(), *arguments, **options)
            except Exception as error:
                self._connect_failures.add(error, monotonic(), self.meter.connects)
                raise
            self.meter.creates.append(monotonic() - began)
            return conn

        return measured_connect_async

    def _is_out(self, conn: Any, site: Site, waited: float) -> None:
        """The long path: more connections are out than ever, the caller has waited, or the pool is not settled."""
        self._tell_marks(len(self._leases), site, waited)
        if not self._settled:
            if id(conn) in self._inherited:
                self._lendings.add()
            self._is_used()
            if not self._inherited:
                self._settled.append(None)

    @guarded
    def _not_acquired(self, error: BaseException, began: float) -> None:
        waited = monotonic() - began
        if waited > NO_WAIT:
            self.meter.waiting.tell(len(self._waiting) + 1)  # This caller has already left.
            self._table.walked().waits.append(waited)
        # psycopg_pool is not imported here, so its exception is recognised by name.
        if any(base.__name__ == "PoolTimeout" for base in type(error).__mro__):
            now = monotonic()
            self.meter.timed_out(waited, now)
            explain(error, self._holds(), now, self._number_waiting(now), self.verdict)
        else:
            self.meter.acquire_errors.add()
        self._is_used()

    def _returned_without_lease(self) -> None:
        """Handle a connection that was taken before the pool was watched, or that is not the pool's."""
        if self._unknown:
            self._unknown.pop()


def _nothing(pool: Any, conn: Any) -> None:
    """Replaces a pool's `putconn` that takes other arguments."""


def _still_waits(client: Any) -> bool:
    """Whether a client in the pool's queue has received neither a connection nor an error."""
    return getattr(client, "conn", None) is None and getattr(client, "error", None) is None


def _deque_of(pool: Any, name: str) -> deque[Any]:
    """The pool's deque of idle connections, or its queue; an empty one if psycopg_pool has moved it.

    A caller that finds an idle connection need not count as waiting, which would take a tenth of this wrapper's
    time.
    """
    found = getattr(pool, name, None)
    return found if isinstance(found, deque) else deque()


def _code_of_block(pool: Pool) -> CodeType | None:
    """The code of ``connection()``, a generator that contextlib runs and that calls ``getconn``."""
    function = getattr(type(pool()), "connection", None)
    return getattr(getattr(function, "__wrapped__", None), "__code__", None)


def _of_one_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which also takes the arguments that `_with_any_arguments` has bundled."""
    if _parameters(function)[1:] == ("timeout",):
        return function

    def called(pool: Any, bundle: Any) -> Any:
        arguments, options = bundle
        return function(pool, *arguments, **options)

    return called


def _with_any_arguments(measured: Callable[[Any], Any]) -> Callable[..., Any]:
    """A measured `getconn` for a pool in which the application has overridden it with other arguments."""

    def measured_getconn(*arguments: Any, **options: Any) -> Any:
        return measured((arguments, options))

    return measured_getconn


def _hold(lease: Lease) -> Hold:
    since, site, holder = lease
    code, instruction = site.place or (None, 0)
    return Hold(site.looks, code, instruction, since, holder, site.loop)


def _is_async(function: Callable[..., object]) -> bool:
    from inspect import iscoroutinefunction  # Here and below: psycopg_pool has imported it, others need not.

    return iscoroutinefunction(function)


def _parameters(function: Callable[..., object]) -> tuple[str, ...]:
    from inspect import signature

    return tuple(signature(function).parameters)
