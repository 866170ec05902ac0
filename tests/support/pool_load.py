"""Clients that ask a pool of psycopg connections all the time, and what became of each request.

The clients are threads or tasks; the tasks' event loop runs in a thread of its own, so that a test stands outside
of both and looks the same for both.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

import psycopg

from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from support.waiting import wait_until


class Request(NamedTuple):
    """One request; times are of `time.monotonic`.

    Attributes:
        asked_at: When it asked for a connection.
        acquired_at: When it got one; ``None`` if it got none.
        ended_at: When it was over.
        error: What it failed with; ``None`` if it got its answer.
    """

    asked_at: float
    acquired_at: float | None
    ended_at: float
    error: BaseException | None


class Load:
    """Requests of `clients` threads or tasks, from entering to leaving.

    Attributes:
        requests: Those that are over.
        pool: The pool, open while the load lasts.
    """

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self.requests: list[Request] = []
        self.pool: Any
        self._is_over = False

    def answered_since(self, moment: float) -> list[Request]:
        """The requests that were asked after this moment and got their answer."""
        return [request for request in self.requests.copy() if request.asked_at > moment and not request.error]

    def failed(self) -> list[Request]:
        """The requests that failed."""
        return [request for request in self.requests.copy() if request.error]

    def wait_for_answers(self, since: float | None = None, count: int | None = None) -> float:
        """Until `count` requests (ten a client) asked since then are answered; returns when the first was."""
        since = time.monotonic() if since is None else since
        count = 10 * self.clients if count is None else count
        wait_until(lambda: len(self.answered_since(since)) >= count, what=f"{count} answers")
        return min(request.ended_at for request in self.answered_since(since))


class ThreadLoad(Load):
    """The clients are threads.

    Args:
        pool: Open; anything with `connection()` and `close()` will do.
        clients: How many.
        failures: What a request may fail with.
    """

    def __init__(self, pool: Any, clients: int, failures: type[Exception] = psycopg.Error) -> None:
        super().__init__(clients)
        self.pool = pool
        self._failures = failures

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._client) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"
        self.pool.close()

    def _client(self) -> None:
        while not self._is_over:
            asked_at, acquired_at, failure = time.monotonic(), None, None
            try:
                with self.pool.connection() as conn:
                    acquired_at = time.monotonic()
                    cursor = conn.cursor()
                    cursor.execute("select 1")
                    cursor.fetchone()
            except self._failures as error:
                failure = error
            self.requests.append(Request(asked_at, acquired_at, time.monotonic(), failure))
            # A moment without a connection, so that they go round.
            time.sleep(0.001)


class TaskLoad(Load):
    """The clients are tasks."""

    def __init__(self, conninfo: str, clients: int, **options: Any) -> None:
        super().__init__(clients)
        self._conninfo = conninfo
        self._options = options
        self._is_ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),))
        self._thread.start()
        assert self._is_ready.wait(timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._is_over = True
        self._thread.join(timeout=60)
        assert not self._thread.is_alive(), "a client hangs"

    async def _run(self) -> None:
        self.pool = AsyncConnectionPool(self._conninfo, open=False, **self._options)
        await self.pool.open(wait=True)
        async with self.pool:
            self._is_ready.set()
            await asyncio.gather(*(self._client() for _ in range(self.clients)))

    async def _client(self) -> None:
        while not self._is_over:
            asked_at, acquired_at, failure = time.monotonic(), None, None
            try:
                async with self.pool.connection() as conn:
                    acquired_at = time.monotonic()
                    await (await conn.execute("select 1")).fetchone()
            except psycopg.Error as error:
                failure = error
            self.requests.append(Request(asked_at, acquired_at, time.monotonic(), failure))
            await asyncio.sleep(0.001)


@contextmanager
def load(kind: str, conninfo: str, *, clients: int = 8, is_checked: bool = True, **options: Any) -> Iterator[Load]:
    """The load of ``threads`` or of ``tasks`` on a pool that checks at each checkout, unless told otherwise."""
    pool_class: Any = {"threads": ConnectionPool, "tasks": AsyncConnectionPool}[kind]
    if is_checked:
        options["check"] = pool_class.check_connection
    options.setdefault("min_size", 4)
    if kind == "tasks":
        with TaskLoad(conninfo, clients, **options) as running:
            yield running
    else:
        pool = ConnectionPool(conninfo, open=False, **options)
        pool.open(wait=True)
        with ThreadLoad(pool, clients) as running:
            yield running
