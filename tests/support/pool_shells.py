"""One way to write a case that runs over our pools for threads and for asyncio, and over psycopg_pool's.

A case is a coroutine function that is given a `Shell`. Over asyncio its awaits are awaits; over threads each
client is a thread, and what it awaits blocks that thread: `_drive` runs a coroutine to its end in one go.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from inspect import isawaitable
from typing import Any, ClassVar, Self

import psycopg_pool

from poolhouse.clock import SystemClock
from poolhouse.pool.aio import AsyncConnectionPool
from poolhouse.pool.aio_null import AsyncNullConnectionPool
from poolhouse.pool.sync import ConnectionPool, NullConnectionPool
from poolhouse.testing import VirtualClock, VirtualThreads, run

#: The descriptor of a server that says nothing by itself.
_QUIET, _ = os.pipe()

Case = Callable[["Shell"], Coroutine[Any, Any, None]]


def _drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("over threads nothing may be left to wait for")


class PgConn:
    """The `pgconn` of a fake psycopg connection."""

    transaction_status = 0


class FakePsycopg:
    """A psycopg connection without a server. Subclasses know how to sleep."""

    made: ClassVar[list["FakePsycopg"]]
    connect_s = 0.0
    is_down = False
    is_silent = False

    def __init__(self, conninfo: str, kwargs: dict[str, Any]) -> None:
        self.conninfo, self.kwargs = conninfo, kwargs
        self.pgconn = PgConn()
        self.calls: list[str] = []
        self.closed = False
        self.is_dead = False
        self.autocommit = True
        self._pool: Any = None
        self.made.append(self)
        self.number = len(self.made)

    def begin(self) -> None:
        self.pgconn.transaction_status = 2

    def _end(self, call: str) -> None:
        self.calls.append(call)
        if self.is_dead:
            self._closed()
            raise OSError("server closed the connection unexpectedly")
        self.pgconn.transaction_status = 0

    def _closed(self) -> None:
        self.closed = True
        self.pgconn.transaction_status = 4

    def fileno(self) -> int:
        return _QUIET

    def __repr__(self) -> str:
        return f"<FakePsycopg {self.number}>"


def sync_connection_class(sleep: Callable[[float], object]) -> type[Any]:
    """A class of connections for threads that waits with `sleep`."""

    class Connection(FakePsycopg):
        made: ClassVar[list[FakePsycopg]] = []

        @classmethod
        def connect(cls, conninfo: str = "", **kwargs: Any) -> "Connection":
            if cls.connect_s:
                sleep(cls.connect_s)
            if cls.is_down:
                raise OSError("connection refused")
            return cls(conninfo, kwargs)

        def commit(self) -> None:
            self._end("commit")

        def rollback(self) -> None:
            self._end("rollback")

        def execute(self, query: str) -> None:
            self._end("execute")

        def close(self) -> None:
            if self._pool is not None and self._pool.close_returns and not self.closed:
                self._pool.putconn(self)
                return
            self.calls.append("close")
            self._closed()

        def __enter__(self) -> Self:
            return self

        def __exit__(self, exc_type: object, *_: object) -> None:
            if not self.closed:
                self.rollback() if exc_type else self.commit()

    return Connection


def async_connection_class() -> type[Any]:
    """A class of connections for asyncio."""

    class AsyncConnection(FakePsycopg):
        made: ClassVar[list[FakePsycopg]] = []

        @classmethod
        async def connect(cls, conninfo: str = "", **kwargs: Any) -> "AsyncConnection":
            if cls.connect_s:
                await asyncio.sleep(cls.connect_s)
            if cls.is_down:
                raise OSError("connection refused")
            return cls(conninfo, kwargs)

        async def commit(self) -> None:
            self._end("commit")

        async def rollback(self) -> None:
            self._end("rollback")

        async def execute(self, query: str) -> None:
            self._end("execute")

        async def close(self) -> None:
            if self._pool is not None and self._pool.close_returns and not self.closed:
                await self._pool.putconn(self)
                return
            self.calls.append("close")
            self._closed()

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, exc_type: object, *_: object) -> None:
            if not self.closed:
                await (self.rollback() if exc_type else self.commit())

    return AsyncConnection


class Shell:
    """One kind of pool, and the world in which it lives."""

    is_ours = True
    is_virtual = True

    def __init__(self) -> None:
        self.connection_class: type[Any]
        self.pools: list[Any] = []

    def pool(self, kind: str = "", **parameters: Any) -> Any:
        """A pool, not open yet; ``kind="null"`` for one that keeps nothing."""
        parameters.setdefault("connection_class", self.connection_class)
        parameters.setdefault("open", False)
        pool = self._class(kind)(**(self._parameters() | parameters))
        self.pools.append(pool)
        return pool

    async def opened(self, kind: str = "", **parameters: Any) -> Any:
        """A pool that is open and full."""
        pool = self.pool(kind, **parameters)
        await self.call(pool.open, wait=not kind)
        return pool

    @property
    def made(self) -> list[Any]:
        """Every connection that was made."""
        return self.connection_class.made

    async def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of a pool, and await it where it is a coroutine function."""
        result = method(*args, **kwargs)
        return await result if isawaitable(result) else result

    async def use(
        self,
        pool: Any,
        body: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        hold: float = 0.0,
    ) -> Any:
        """Run `body` with a connection in a ``connection()`` block that lasts for `hold` seconds."""
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Let the background finish what it can finish at once."""
        await self.sleep(0.001 if self.is_virtual else 0.15)

    def spawn(self, client: Coroutine[Any, Any, Any]) -> "Client":
        """Start another client."""
        raise NotImplementedError

    def callback(self, function: Callable[[Any], Any]) -> Any:
        """A callback for connections, as this kind of pool takes it."""
        return function

    def supplier(self, value: Any) -> Any:
        """A callable for `conninfo` or `kwargs`, as only this kind of pool takes it."""
        return lambda: value

    def slow_callback(self, seconds: float) -> Any:
        """A callback for connections that lasts."""
        raise NotImplementedError

    async def within(self, pool: Any, body: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        """Run `body` in a block of the pool, with what entering it gives."""
        raise NotImplementedError

    async def close_all(self) -> None:
        for pool in self.pools:
            await self.call(pool.close)

    def _class(self, kind: str) -> Any:
        raise NotImplementedError

    def _parameters(self) -> dict[str, Any]:
        return {}


class Client:
    """Another client of a pool."""

    def __init__(self, result: Callable[[], Any]) -> None:
        self._result = result

    async def result(self) -> Any:
        """What it returned, or raised, when it has ended."""
        result = self._result()
        return await result if isawaitable(result) else result


class _SyncUse(Shell):
    async def use(
        self,
        pool: Any,
        body: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        hold: float = 0.0,
    ) -> Any:
        with pool.connection(timeout) as conn:
            if body is not None:
                body(conn)
            if hold:
                await self.sleep(hold)
        return conn

    async def within(self, pool: Any, body: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        with pool as entered:
            await body(entered)


class _AsyncUse(Shell):
    def supplier(self, value: Any) -> Any:
        async def supply() -> Any:
            await asyncio.sleep(0)
            return value

        return supply

    def slow_callback(self, seconds: float) -> Any:
        async def callback(conn: Any) -> None:
            await asyncio.sleep(seconds)

        return callback

    async def within(self, pool: Any, body: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        async with pool as entered:
            await body(entered)

    def callback(self, function: Callable[[Any], Any]) -> Any:
        async def callback(conn: Any) -> Any:
            return function(conn)

        return callback

    async def use(
        self,
        pool: Any,
        body: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        hold: float = 0.0,
    ) -> Any:
        async with pool.connection(timeout) as conn:
            if body is not None:
                body(conn)
            if hold:
                await self.sleep(hold)
        return conn

    def spawn(self, client: Coroutine[Any, Any, Any]) -> Client:
        task = asyncio.ensure_future(client)
        return Client(lambda: task)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ThreadShell(_SyncUse):
    """Our pools for threads, in virtual time."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.threads = VirtualThreads(self.clock, seed)
        self.connection_class = sync_connection_class(self.threads.sleep)

    def run(self, case: Case) -> None:
        async def whole() -> None:
            try:
                await case(self)
            finally:
                await self.close_all()

        self.threads.run(lambda: _drive(whole()))

    async def sleep(self, seconds: float) -> None:
        self.threads.sleep(seconds)

    def slow_callback(self, seconds: float) -> Any:
        return lambda conn: self.threads.sleep(seconds)

    def spawn(self, client: Coroutine[Any, Any, Any]) -> Client:
        done = self.threads.parker()
        outcome: list[Any] = []

        def body() -> None:
            try:
                outcome.extend([_drive(client), None])
            except Exception as error:
                outcome.extend([None, error])
            done.unpark()

        self.threads.start(body, "client", is_daemon=False)

        def result() -> Any:
            if not outcome:
                done.park(None)
            value, error = outcome
            if error is not None:
                raise error
            return value

        return Client(result)

    def _class(self, kind: str) -> Any:
        return NullConnectionPool if kind else ConnectionPool

    def _parameters(self) -> dict[str, Any]:
        return {"clock": self.clock, "threads": self.threads}


class AsyncShell(_AsyncUse):
    """Our pools for asyncio, in virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.connection_class = async_connection_class()

    def run(self, case: Case) -> None:
        async def whole() -> None:
            try:
                await case(self)
            finally:
                await self.close_all()

        run(whole(), self.clock)

    def _class(self, kind: str) -> Any:
        return AsyncNullConnectionPool if kind else AsyncConnectionPool

    def _parameters(self) -> dict[str, Any]:
        return {"clock": self.clock}


class OracleThreads(_SyncUse):
    """psycopg_pool's pools for threads, in real time."""

    is_ours = is_virtual = False

    def __init__(self) -> None:
        super().__init__()
        self.clock = SystemClock()
        self.connection_class = sync_connection_class(time.sleep)

    def run(self, case: Case) -> None:
        async def whole() -> None:
            try:
                await case(self)
            finally:
                await self.close_all()

        _drive(whole())

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - a thread of its own

    def slow_callback(self, seconds: float) -> Any:
        return lambda conn: time.sleep(seconds)

    def spawn(self, client: Coroutine[Any, Any, Any]) -> Client:
        outcome: list[Any] = []

        def body() -> None:
            try:
                outcome.extend([_drive(client), None])
            except Exception as error:
                outcome.extend([None, error])

        thread = threading.Thread(target=body)
        thread.start()

        def result() -> Any:
            thread.join()
            value, error = outcome
            if error is not None:
                raise error
            return value

        return Client(result)

    def _class(self, kind: str) -> Any:
        return psycopg_pool.NullConnectionPool if kind else psycopg_pool.ConnectionPool


class OracleAsync(_AsyncUse):
    """psycopg_pool's pools for asyncio, in real time."""

    is_ours = is_virtual = False

    def __init__(self) -> None:
        super().__init__()
        self.clock = SystemClock()
        self.connection_class = async_connection_class()

    def run(self, case: Case) -> None:
        async def whole() -> None:
            try:
                await case(self)
            finally:
                await self.close_all()

        asyncio.run(whole())

    def _class(self, kind: str) -> Any:
        return psycopg_pool.AsyncNullConnectionPool if kind else psycopg_pool.AsyncConnectionPool


OURS = (ThreadShell, AsyncShell)
ORACLES = (OracleThreads, OracleAsync)
ALL = OURS + ORACLES
