"""Drivers without a server whose calls take a moment and fail by chance, until they are told to be good."""

import asyncio
import contextlib
import random
import time
import weakref
from collections.abc import Mapping
from typing import Any

from poolhouse.pool.core import BROKEN, IDLE, IN_TRANSACTION


class StressError(Exception):
    """What the drivers' calls raise."""


class Conn:
    """A connection.

    Attributes:
        user: Who has it: whoever finds another there has shared it.
        calls: How many calls on it have not ended.
    """

    def __init__(self) -> None:
        self.status = IDLE
        self.is_dead = False
        self.user: object = None
        self.calls = 0

    def begin(self) -> None:
        """Open a transaction."""
        self.status = IN_TRANSACTION


class _Chances:
    marks_connections = False
    error_base: type[Exception] | None = None

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.is_good = False
        #: A connection that was struck out of everybody's hands is closed by its finalizer, as psycopg's are.
        self.open: weakref.WeakSet[Conn] = weakref.WeakSet()
        self.overlaps = 0

    def still_open(self) -> set[Conn]:
        """The connections that nobody has closed."""
        while True:
            with contextlib.suppress(RuntimeError):  # Another thread has opened or closed one meanwhile.
                return set(self.open)

    def status(self, conn: Conn) -> int:
        """See `Driver.status`."""
        return conn.status

    def fileno(self, conn: Conn) -> int | None:
        """There is no socket."""
        return None

    def abort(self, conn: Conn) -> None:
        """See `Driver.abort`."""
        conn.is_dead = True
        conn.status = BROKEN

    def _begin(self, conn: Conn) -> None:
        conn.calls += 1
        if conn.calls > 1:
            self.overlaps += 1

    def _pause(self) -> float:
        """How long this call takes; it may fail instead."""
        if self.is_good:
            return 0.0
        chance = self._random.random()
        if chance < 0.05:
            raise StressError("by chance")
        return 0.003 if chance < 0.3 else 0.0

    def _made(self) -> Conn:
        conn = Conn()
        self.open.add(conn)
        return conn

    def _done(self, conn: Conn, call: str) -> None:
        if call == "close":
            conn.status = BROKEN
            self.open.discard(conn)
        elif conn.is_dead:
            conn.status = BROKEN
            raise StressError("dead")
        else:
            conn.status = IDLE


class Driver(_Chances):
    """For threads."""

    def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """See `Driver.connect`."""
        time.sleep(self._pause())
        return self._made()

    def commit(self, conn: Conn) -> None:
        """See `Driver.commit`."""
        self._call(conn, "commit")

    def rollback(self, conn: Conn) -> None:
        """See `Driver.rollback`."""
        self._call(conn, "rollback")

    def probe(self, conn: Conn) -> None:
        """See `Driver.probe`."""
        self._call(conn, "probe")

    def close(self, conn: Conn) -> None:
        """See `Driver.close`."""
        self._done(conn, "close")

    def _call(self, conn: Conn, call: str) -> None:
        try:
            self._begin(conn)
            time.sleep(self._pause())
        finally:
            conn.calls = 0
        self._done(conn, call)


class AsyncDriver(_Chances):
    """For asyncio."""

    async def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """See `Driver.connect`."""
        await asyncio.sleep(self._pause())
        return self._made()

    async def commit(self, conn: Conn) -> None:
        """See `Driver.commit`."""
        await self._call(conn, "commit")

    async def rollback(self, conn: Conn) -> None:
        """See `Driver.rollback`."""
        await self._call(conn, "rollback")

    async def probe(self, conn: Conn) -> None:
        """See `Driver.probe`."""
        await self._call(conn, "probe")

    async def close(self, conn: Conn) -> None:
        """See `Driver.close`."""
        self._done(conn, "close")

    async def _call(self, conn: Conn, call: str) -> None:
        self._begin(conn)
        try:
            await asyncio.sleep(self._pause())
        finally:
            conn.calls = 0
        self._done(conn, call)
