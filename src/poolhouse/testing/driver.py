"""A driver without a database, in which each call does what the test says."""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from poolhouse.pool.core import ACTIVE, BROKEN, IDLE, IN_TRANSACTION


class Does(Enum):
    """The behaviour of a call."""

    OK = "ok"
    #: It raises `FakeError`.
    ERR = "err"
    #: It takes `FakeDriver.slow_s` seconds.
    SLOW = "slow"
    #: It answers only when it is aborted.
    NEVER = "never"


class FakeError(Exception):
    """The error raised by a `FakeDriver`'s calls."""


class FakeConnection:
    """One of a `FakeDriver`'s connections.

    Attributes:
        number: 1 for the driver's first connection.
        status: The status that the driver reports for it.
        calls: The calls on it, in order.
        is_dead: Whether the server is gone, so that every request fails.
        is_busy: Whether a call on it has not ended.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.status = IDLE
        self.calls: list[str] = []
        self.is_dead = False
        self.is_busy = False
        self.abort: Callable[[], object] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it has been closed."""
        return self.status == BROKEN

    def begin(self) -> None:
        """Open a transaction."""
        self.status = IN_TRANSACTION

    def __repr__(self) -> str:
        """For logs and failures."""
        return f"<FakeConnection {self.number}>"


class _Fake:
    """The part shared by both kinds of fake drivers: gates, and the connections made.

    Attributes:
        connections: Every connection ever made.
        slow_s: How long a slow call takes, in seconds.
        is_down: Whether the server refuses connections.
        overlaps: Calls that began on a connection before another had ended, which no driver allows.
    """

    marks_connections = False
    error_base: type[Exception] | None = None

    def __init__(self, slow_s: float = 0.05) -> None:
        self.connections: list[FakeConnection] = []
        self.slow_s = slow_s
        self.is_down = False
        self.overlaps: list[str] = []
        self._numbers = itertools.count(1)
        self._gates: dict[str, deque[Does]] = {}
        self._always: dict[str, Does] = {}

    def gate(self, call: str, *does: Does) -> None:
        """Set what the next calls of ``connect``, ``commit``, ``rollback``, ``probe`` or ``close`` do."""
        self._gates.setdefault(call, deque()).extend(does)

    def always(self, call: str, does: Does) -> None:
        """Set what every call does that has no `gate`."""
        self._always[call] = does

    @property
    def open_connections(self) -> list[FakeConnection]:
        """The connections that are not closed."""
        return [conn for conn in self.connections if not conn.is_closed]

    def status(self, conn: FakeConnection) -> int:
        """See `Driver.status`."""
        return conn.status

    def fileno(self, conn: FakeConnection) -> int | None:
        """``None``: there is no socket."""
        return None

    def abort(self, conn: FakeConnection) -> None:
        """See `Driver.abort`."""
        conn.calls.append("abort")
        conn.status = BROKEN
        conn.is_dead = True
        if conn.abort is not None:
            conn.abort()

    def _next(self, call: str) -> Does:
        gates = self._gates.get(call)
        return gates.popleft() if gates else self._always.get(call, Does.OK)

    def _new(self) -> FakeConnection:
        if self.is_down:
            raise FakeError("the server is down")
        conn = FakeConnection(next(self._numbers))
        self.connections.append(conn)
        return conn

    def _begin(self, call: str, conn: FakeConnection) -> None:
        if conn.is_busy:
            self.overlaps.append(f"{call} on {conn} after {conn.calls}")
        conn.calls.append(call)
        conn.is_busy = True

    def _done(self, call: str, conn: FakeConnection) -> None:
        if conn.is_dead and call != "close":
            conn.status = BROKEN
            raise FakeError(f"{call}: the connection is dead")
        conn.status = BROKEN if call == "close" else IDLE


class FakeDriver(_Fake):
    """A `poolhouse.pool.drivers.protocol.Driver` for threads.

    Args:
        sleep: How a slow call waits: `time.sleep`, or `VirtualThreads.sleep`.
        parker: Makes the place where a call that never answers waits to be aborted.
    """

    def __init__(self, sleep: Callable[[float], object], parker: Callable[[], Any], slow_s: float = 0.05) -> None:
        super().__init__(slow_s)
        self._sleep = sleep
        self._parker = parker

    def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> FakeConnection:
        """See `Driver.connect`."""
        self._pass("connect", None)
        return self._new()

    def commit(self, conn: FakeConnection) -> None:
        """See `Driver.commit`."""
        self._call("commit", conn)

    def rollback(self, conn: FakeConnection) -> None:
        """See `Driver.rollback`."""
        self._call("rollback", conn)

    def probe(self, conn: FakeConnection) -> None:
        """See `Driver.probe`."""
        self._call("probe", conn)

    def close(self, conn: FakeConnection) -> None:
        """See `Driver.close`."""
        self._call("close", conn)

    def _call(self, call: str, conn: FakeConnection) -> None:
        self._begin(call, conn)
        try:
            self._pass(call, conn)
        finally:
            conn.is_busy = False
        self._done(call, conn)

    def _pass(self, call: str, conn: FakeConnection | None) -> None:
        does = self._next(call)
        if does is Does.ERR:
            raise FakeError(f"{call} failed")
        if does is Does.SLOW:
            self._sleep(self.slow_s)
        elif does is Does.NEVER:
            parker = self._parker()
            if conn is not None:
                conn.abort = parker.unpark
                conn.status = ACTIVE
            parker.park(None)


class AsyncFakeDriver(_Fake):
    """A `poolhouse.pool.drivers.protocol.AsyncDriver`."""

    async def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> FakeConnection:
        """See `Driver.connect`."""
        await self._pass("connect", None)
        return self._new()

    async def commit(self, conn: FakeConnection) -> None:
        """See `Driver.commit`."""
        await self._call("commit", conn)

    async def rollback(self, conn: FakeConnection) -> None:
        """See `Driver.rollback`."""
        await self._call("rollback", conn)

    async def probe(self, conn: FakeConnection) -> None:
        """See `Driver.probe`."""
        await self._call("probe", conn)

    async def close(self, conn: FakeConnection) -> None:
        """See `Driver.close`."""
        await self._call("close", conn)

    async def _call(self, call: str, conn: FakeConnection) -> None:
        self._begin(call, conn)
        try:
            await self._pass(call, conn)
        finally:
            conn.is_busy = False
        self._done(call, conn)

    async def _pass(self, call: str, conn: FakeConnection | None) -> None:
        does = self._next(call)
        if does is Does.ERR:
            raise FakeError(f"{call} failed")
        if does is Does.SLOW:
            await asyncio.sleep(self.slow_s)
        elif does is Does.NEVER:
            aborted = asyncio.Event()
            if conn is None:
                await aborted.wait()
                return
            conn.abort = aborted.set
            conn.status = ACTIVE
            while not aborted.is_set():
                # Like psycopg's calls on a stopped server, which cancelling does not end.
                with contextlib.suppress(asyncio.CancelledError):
                    await aborted.wait()
