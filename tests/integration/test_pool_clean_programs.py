"""Random programs of clients, on each driver over its real server.

Whatever a client does, the next one meets an idle session, and nothing of a client that failed is committed.

A program is a few steps and an end, drawn by a generator with a fixed seed. It runs in a pool of one connection:
the next client gets the same one, unless the pool has replaced it. A step may fail, since what one step leaves may
make the next impossible; then the program goes on, or the client fails, as the program says.
"""

import asyncio
import itertools
import random
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import aiosqlite
import asyncpg
import psycopg
import psycopg2
import pymysql
import pymysql.cursors
import pytest

from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from poolhouse.pool.drivers import psycopg as psycopg_driver
from support.asyncio_runs import run
from support.mariadb import MariaDB
from support.postgres import Postgres

#: Programs for each driver: a few seconds each.
PROGRAMS = 120

_numbers = itertools.count(1)


class Failed(Exception):
    """What a client fails with."""


class Program(NamedTuple):
    """What one client does."""

    seed: int
    #: Names of methods of the world, each with whether an error of it is swallowed.
    steps: tuple[tuple[str, bool], ...]
    end: str
    #: When the client is cancelled, in turns of the event loop after its start; with the end "cancel" only.
    turns: int


def drawn(seed: int, world: "World") -> Program:
    """The program of a seed."""
    draw = random.Random(seed)
    steps = tuple((draw.choice(world.steps), draw.random() < 0.5) for _ in range(draw.randint(1, 4)))
    return Program(seed, steps, draw.choice(world.ends), draw.choice((0, 1, 2, 3, 4, 5, 6, 8, 12, 20, 40)))


class World:
    """One driver over its server: the steps of clients, and what is left of them.

    Attributes:
        steps: Names of the methods that are steps.
        inserted: What the present client has inserted, and not committed by itself.
        commits_each: Whether the present client has brought its driver to commit each statement.
        kept: What clients leave alive: cursors, generators, contexts, tasks.
    """

    #: Another session.
    observer: Any
    steps: ClassVar[tuple[str, ...]] = ("insert", "select", "fail", "leave_rows", "begin", "commit")
    #: After these the driver would wait for ever in the client's own next step.
    last: ClassVar[tuple[str, ...]] = ()
    ends: ClassVar[tuple[str, ...]] = ("return", "raise", "putconn")

    def __init__(self) -> None:
        self.table = f"programs_{next(_numbers)}"
        self.inserted: list[int] = []
        self.commits_each = False
        self.kept: list[Any] = []

    def pool(self) -> Any:
        """A pool of one connection."""
        raise NotImplementedError

    def observe(self, sql: str) -> Any:
        """The rows that another session gets, in autocommit mode."""
        cursor = self.observer.cursor()
        cursor.execute(sql)
        return [] if cursor.description is None else list(cursor.fetchall())

    def is_idle(self, conn: Any) -> bool:
        """Whether the server has no transaction open for this connection; asks another session where it can."""
        raise NotImplementedError

    def next_insert(self) -> str:
        """A statement that inserts a new number."""
        number = next(_numbers)
        if not self.commits_each:
            self.inserted.append(number)
        return f"insert into {self.table} values ({number})"

    def settle(self) -> None:
        """Let go of all that was kept."""
        self.kept.clear()

    def check(self, program: Program, failure: BaseException | None) -> None:
        """What is committed of a client."""
        committed = {int(row[0]) for row in self.observe(f"select n from {self.table}")}
        if failure is not None or program.end == "putconn":
            assert not committed & set(self.inserted), f"a failed client's work was committed: {program}"
        elif {name for name, _ in program.steps} <= {"insert", "select", "commit"}:
            assert committed >= set(self.inserted), f"work was lost: {program}"


class Threads(World):
    """Drivers for threads, by PEP 249."""

    def execute(self, conn: Any, sql: str) -> Any:
        cursor = conn.cursor()
        cursor.execute(sql)
        return cursor

    def insert(self, conn: Any) -> None:
        self.execute(conn, self.next_insert())

    def select(self, conn: Any) -> None:
        self.execute(conn, f"select count(*) from {self.table}").fetchall()

    def fail(self, conn: Any) -> None:
        self.execute(conn, "select nonsense")

    def leave_rows(self, conn: Any) -> None:
        cursor = self.execute(conn, "select 1 union select 2 union select 3")
        cursor.fetchone()
        self.kept.append(cursor)

    def begin(self, conn: Any) -> None:
        self.execute(conn, "begin")

    def commit(self, conn: Any) -> None:
        conn.commit()
        self.inserted.clear()

    def client(self, pool: Any, program: Program) -> None:
        """Run a program."""
        if program.end == "putconn":
            conn = pool.getconn(timeout=20)
            try:
                self._steps(conn, program)
            finally:
                pool.putconn(conn)
            return
        with pool.connection(timeout=20) as conn:
            self._steps(conn, program)
            if program.end == "raise":
                raise Failed

    def _steps(self, conn: Any, program: Program) -> None:
        for name, is_swallowed in program.steps:
            try:
                getattr(self, name)(conn)
            except Exception:
                if not is_swallowed:
                    raise
            if name in self.last:
                return

    def innocent(self, pool: Any, program: Program) -> None:
        """The next clients: one looks, one fails, one does its work."""
        conn = pool.getconn(timeout=20)
        assert self.is_idle(conn), f"the next client meets a transaction: {program}"
        pool.putconn(conn)
        wrong, right = next(_numbers), next(_numbers)
        with pytest.raises(Failed), pool.connection(timeout=20) as conn:
            self.execute(conn, f"insert into {self.table} values ({wrong})")
            raise Failed
        with pool.connection(timeout=20) as conn:
            self.execute(conn, f"insert into {self.table} values ({right})")
        committed = {int(row[0]) for row in self.observe(f"select n from {self.table}")}
        assert right in committed, f"the next client's work was lost: {program}"
        assert wrong not in committed, f"the next client had no transaction: {program}"

    def trial(self) -> None:
        """All programs, one after the other."""
        self.observe(f"create table {self.table} (n integer)")
        with self.pool() as pool:
            pool.wait(20)
            for program in (drawn(seed, self) for seed in range(PROGRAMS)):
                self.inserted, self.commits_each = [], False
                failure: BaseException | None = None
                try:
                    self.client(pool, program)
                except Exception as error:  # Of any driver.
                    failure = error
                failure = None if failure is None else failure.with_traceback(None)
                self.innocent(pool, program)
                self.check(program, failure)
                self.settle()


class Tasks(World):
    """Drivers for asyncio."""

    steps: ClassVar[tuple[str, ...]] = ("insert", "select", "fail", "leave_rows", "begin", "commit", "gather")
    ends: ClassVar[tuple[str, ...]] = ("return", "raise", "putconn", "cancel", "cancel", "cancel")

    async def execute(self, conn: Any, sql: str) -> Any:
        return await conn.execute(sql)

    async def insert(self, conn: Any) -> None:
        await self.execute(conn, self.next_insert())

    async def select(self, conn: Any) -> None:
        await self.execute(conn, f"select count(*) from {self.table}")

    async def fail(self, conn: Any) -> None:
        await self.execute(conn, "select nonsense")

    async def leave_rows(self, conn: Any) -> None:
        raise NotImplementedError

    async def begin(self, conn: Any) -> None:
        await self.execute(conn, "begin")

    async def commit(self, conn: Any) -> None:
        inserted, self.inserted = self.inserted, []  # If it is cancelled, nobody knows.
        await conn.commit()
        del inserted

    async def gather(self, conn: Any) -> None:
        """One of two fails, and the other goes on."""

        async def fail() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise Failed

        left = asyncio.ensure_future(self.execute(conn, self.next_insert()))
        self.kept.append(left)
        await asyncio.gather(fail(), left)

    async def client(self, pool: Any, program: Program) -> None:
        """Run a program."""
        if program.end == "putconn":
            conn = await pool.getconn(timeout=20)
            try:
                await self._steps(conn, program)
            finally:
                await pool.putconn(conn)
            return
        async with pool.connection(timeout=20) as conn:
            await self._steps(conn, program)
            if program.end == "raise":
                raise Failed
            if program.end == "cancel":
                await asyncio.sleep(3600)

    async def _steps(self, conn: Any, program: Program) -> None:
        for name, is_swallowed in program.steps:
            try:
                await getattr(self, name)(conn)
            except Exception:
                if not is_swallowed:
                    raise
            if name in self.last:
                return

    async def innocent(self, pool: Any, program: Program) -> None:
        """The next clients: one looks, one fails, one does its work."""
        conn = await pool.getconn(timeout=20)
        assert self.is_idle(conn), f"the next client meets a transaction: {program}"
        await pool.putconn(conn)
        wrong, right = next(_numbers), next(_numbers)
        with pytest.raises(Failed):
            async with pool.connection(timeout=20) as conn, self.transaction(conn):
                await self.execute(conn, f"insert into {self.table} values ({wrong})")
                raise Failed
        async with pool.connection(timeout=20) as conn, self.transaction(conn):
            await self.execute(conn, f"insert into {self.table} values ({right})")
        committed = {int(row[0]) for row in self.observe(f"select n from {self.table}")}
        assert right in committed, f"the next client's work was lost: {program}"
        assert wrong not in committed, f"the next client had no transaction: {program}"

    def transaction(self, conn: Any) -> Any:
        """What a client opens a transaction with, if it has to."""

        class Nothing:
            async def __aenter__(self) -> None: ...

            async def __aexit__(self, *_: object) -> None: ...

        return Nothing()

    async def run_all(self) -> None:
        """All programs, one after the other."""
        async with self.pool() as pool:
            await pool.wait(20)
            for program in (drawn(seed, self) for seed in range(PROGRAMS)):
                self.inserted, self.commits_each = [], False
                task = asyncio.ensure_future(self.client(pool, program))
                if program.end == "cancel":
                    for _ in range(program.turns):
                        await asyncio.sleep(0)
                    while not task.done():
                        # Once may not do: gather() prefers an exception that came at the same time.
                        task.cancel()
                        await asyncio.wait({task}, timeout=1)
                await asyncio.wait({task})
                failure = asyncio.CancelledError() if task.cancelled() else task.exception()
                if failure is not None:
                    failure = failure.with_traceback(None)
                await self.innocent(pool, program)
                self.check(program, failure)
                left = {one for one in self.kept if isinstance(one, asyncio.Task)}
                if left:
                    await asyncio.wait(left)
                    for one in left:
                        one.cancelled() or one.exception()
                self.settle()

    def trial(self) -> None:
        """All programs, one after the other."""
        self.observe(f"create table {self.table} (n integer)")
        run(self.run_all())


class _Postgres(World):
    """What is the same for all drivers of PostgreSQL."""

    server: Postgres

    def __init__(self, server: Postgres) -> None:
        super().__init__()
        self.server = server
        self.observer = psycopg.connect(server.conninfo, autocommit=True)

    def is_idle(self, conn: Any) -> bool:
        states = self.observe(f"select state from pg_stat_activity where pid = {self.pid(conn)}")
        return bool(states == [("idle",)])

    def pid(self, conn: Any) -> int:
        return int(conn.info.backend_pid)

    def settle(self) -> None:
        super().settle()
        for (name,) in self.observe("select gid from pg_prepared_xacts"):
            self.observe(f"rollback prepared '{name}'")


class Psycopg(Threads, _Postgres):
    steps = (*Threads.steps, "pipeline", "copy", "stream", "two_phases", "transaction")
    last = ("copy", "stream")
    connection_class: Any = psycopg.Connection

    def pool(self) -> Any:
        return ConnectionPool[Any](self.server.conninfo, min_size=1, max_size=1, open=False)

    def is_idle(self, conn: Any) -> bool:
        assert conn.pgconn.pipeline_status == 0
        assert not conn.autocommit
        return super().is_idle(conn)

    def pipeline(self, conn: Any) -> None:
        pipeline = conn.pipeline()
        pipeline.__enter__()
        self.kept.append(pipeline)

    def copy(self, conn: Any) -> None:
        copying = conn.cursor().copy(f"copy {self.table} from stdin")
        self.kept.append(copying)
        self.inserted.append(next(_numbers))
        copying.__enter__().write(f"{self.inserted[-1]}\n")

    def stream(self, conn: Any) -> None:
        stream = conn.cursor().stream("select generate_series(1, 3)")
        self.kept.append(stream)
        next(stream)

    def two_phases(self, conn: Any) -> None:
        conn.tpc_begin(conn.xid(1, f"program-{next(_numbers)}", ""))
        self.insert(conn)
        conn.tpc_prepare()

    def transaction(self, conn: Any) -> None:
        transaction = conn.transaction()
        transaction.__enter__()
        self.kept.append(transaction)
        self.insert(conn)


class Psycopg2(Psycopg):
    steps = (*Threads.steps, "two_phases", "copy", "commit_by_hand")

    def pool(self) -> Any:
        return ConnectionPool[Any](self.server.conninfo, driver=psycopg2, min_size=1, max_size=1, open=False)

    def is_idle(self, conn: Any) -> bool:
        return _Postgres.is_idle(self, conn)

    def copy(self, conn: Any) -> None:
        class Broken:
            lines: ClassVar[Iterator[str]] = iter([f"{next(_numbers)}\n"])

            def read(self, _size: int = -1) -> str:
                for line in self.lines:
                    return line
                raise Failed

        conn.cursor().copy_expert(f"copy {self.table} from stdin", Broken())

    def commit_by_hand(self, conn: Any) -> None:
        """psycopg2 does not notice, and begins no transaction for what the same client does next."""
        self.execute(conn, "commit")
        self.inserted.clear()
        self.commits_each = True


class Sqlite3(Threads):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.observer = sqlite3.connect(file, isolation_level=None, timeout=0)

    def pool(self) -> Any:
        kwargs = {"check_same_thread": False}
        return ConnectionPool[Any](
            str(self.file), driver=sqlite3, kwargs=kwargs, min_size=1, max_size=1, open=False
        )

    def is_idle(self, conn: Any) -> bool:
        # Another connection could not lock the file while this one has a transaction open that wrote.
        self.observe("begin exclusive")
        self.observe("rollback")
        return not conn.in_transaction

    def leave_rows(self, conn: Any) -> None:
        cursor = self.execute(conn, f"select n from {self.table} union all select 1 union all select 2")
        cursor.fetchone()
        self.kept.append(cursor)


class Pymysql(Threads):
    steps = (*Threads.steps, "unbuffered", "lock")

    def __init__(self, server: MariaDB) -> None:
        super().__init__()
        self.arguments = {
            "host": "127.0.0.1",
            "port": server.port,
            "user": server.user,
            "database": server.database,
        }
        self.observer = pymysql.connect(**self.arguments, autocommit=True)

    def pool(self) -> Any:
        return ConnectionPool[Any](driver=pymysql, kwargs=self.arguments, min_size=1, max_size=1, open=False)

    def is_idle(self, conn: Any) -> bool:
        # MariaDB's own word; a SELECT without a table begins no transaction.
        return bool(self.execute(conn, "select @@in_transaction").fetchall() == ((0,),))

    def unbuffered(self, conn: Any) -> None:
        cursor = conn.cursor(pymysql.cursors.SSCursor)
        self.kept.append(cursor)
        cursor.execute("select 1 union select 2 union select 3")
        cursor.fetchone()

    def begin(self, conn: Any) -> None:
        """MySQL commits what there is."""
        super().begin(conn)
        self.inserted.clear()

    def lock(self, conn: Any) -> None:
        self.execute(conn, f"select * from {self.table} for update").fetchall()

    def settle(self) -> None:
        for cursor in self.kept:
            if isinstance(cursor, pymysql.cursors.SSCursor) and cursor._result is not None:
                cursor._result.unbuffered_active = False  # Its finalizer would read on.
        super().settle()


class AsyncPsycopg(Tasks, _Postgres):
    steps = (*Tasks.steps, "pipeline", "copy", "two_phases")
    last = ("copy", "leave_rows")

    def pool(self) -> Any:
        return AsyncConnectionPool(self.server.conninfo, min_size=1, max_size=1, open=False)

    def is_idle(self, conn: Any) -> bool:
        assert conn.pgconn.pipeline_status == 0
        assert not conn.autocommit
        return super().is_idle(conn)

    async def leave_rows(self, conn: Any) -> None:
        stream = conn.cursor().stream("select generate_series(1, 3)")
        self.kept.append(stream)
        await anext(stream)

    async def pipeline(self, conn: Any) -> None:
        pipeline = conn.pipeline()
        self.kept.append(pipeline)
        await pipeline.__aenter__()

    async def copy(self, conn: Any) -> None:
        copying = conn.cursor().copy(f"copy {self.table} from stdin")
        self.kept.append(copying)
        self.inserted.append(next(_numbers))
        await (await copying.__aenter__()).write(f"{self.inserted[-1]}\n")

    async def two_phases(self, conn: Any) -> None:
        await conn.tpc_begin(conn.xid(1, f"program-{next(_numbers)}", ""))
        await self.insert(conn)
        await conn.tpc_prepare()


class Asyncpg(Tasks, _Postgres):
    """asyncpg commits each statement by itself: what a client inserts, it inserts in a transaction."""

    steps = (*Tasks.steps, "transaction", "copy", "time_limit")

    def pool(self) -> Any:
        return AsyncConnectionPool(self.server.url, driver=asyncpg, min_size=1, max_size=1, open=False)

    def pid(self, conn: Any) -> int:
        return int(conn.get_server_pid())

    def transaction(self, conn: Any) -> Any:
        return conn.transaction()

    async def _in_transaction(self, conn: Any) -> None:
        if not conn.is_in_transaction():
            await conn.transaction().start()

    async def insert(self, conn: Any) -> None:
        await self._in_transaction(conn)
        await super().insert(conn)

    async def gather(self, conn: Any) -> None:
        await self._in_transaction(conn)
        await super().gather(conn)

    async def leave_rows(self, conn: Any) -> None:
        await self._in_transaction(conn)
        cursor = await conn.cursor("select generate_series(1, 3)")
        self.kept.append(cursor)
        await cursor.fetchrow()

    async def commit(self, conn: Any) -> None:
        self.inserted = []
        await conn.execute("commit")

    async def copy(self, conn: Any) -> None:
        await self._in_transaction(conn)

        async def source() -> Any:
            yield b"1\n"
            raise Failed

        await conn.copy_to_table(self.table, source=source(), format="csv")

    async def time_limit(self, conn: Any) -> None:
        await self._in_transaction(conn)
        await conn.execute("select pg_sleep(1)", timeout=0.002)


class Aiosqlite(Tasks):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.observer = sqlite3.connect(file, isolation_level=None, timeout=0)

    def pool(self) -> Any:
        return AsyncConnectionPool(str(self.file), driver=aiosqlite, min_size=1, max_size=1, open=False)

    is_idle = Sqlite3.is_idle

    async def leave_rows(self, conn: Any) -> None:
        cursor = await conn.execute(f"select n from {self.table} union all select 1 union all select 2")
        await cursor.fetchone()
        self.kept.append(cursor)


@pytest.fixture(params=["psycopg", "psycopg2", "sqlite3", "PyMySQL", "psycopg, asyncio", "asyncpg", "aiosqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    # What nobody will end is waited for, in psycopg's case: a stream or copy that the client still has.
    monkeypatch.setattr(psycopg_driver, "RETURN_LIMIT", 0.02)
    name = request.param
    if name in ("sqlite3", "aiosqlite"):
        return {"sqlite3": Sqlite3, "aiosqlite": Aiosqlite}[name](tmp_path / "file.db")
    if name == "PyMySQL":
        return Pymysql(request.getfixturevalue("mariadb"))
    kinds: Any = {"psycopg": Psycopg, "psycopg2": Psycopg2, "psycopg, asyncio": AsyncPsycopg, "asyncpg": Asyncpg}
    return kinds[name](request.getfixturevalue("postgres"))


def test_the_next_client_meets_an_idle_session_and_nothing_of_a_failed_one_is_committed(world: World) -> None:
    with warnings.catch_warnings():
        # PyMySQL's about rows that were left; psycopg's and PostgreSQL's about what the programs do wrong.
        warnings.simplefilter("ignore")
        try:
            world.trial()
        finally:
            world.observer.close()
