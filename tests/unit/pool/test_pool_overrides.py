"""Subclasses and pools whose methods are overridden: a pool calls of itself what psycopg_pool's calls."""

import asyncio
import time
from typing import Any

import psycopg_pool
import pytest

import poolhouse
from support.pool_shells import async_connection_class, sync_connection_class

THREADS = ("ConnectionPool", "NullConnectionPool")
TASKS = ("AsyncConnectionPool", "AsyncNullConnectionPool")
PACKAGES = (poolhouse, psycopg_pool)

METHODS = (
    *("connection", "getconn", "putconn", "open", "close", "wait", "resize", "check", "drain", "get_stats"),
    *("pop_stats", "reconnect_failed", "__enter__", "__exit__", "__aenter__", "__aexit__"),
)


def _told(kind: type[Any], calls: list[str]) -> type[Any]:
    """A subclass that writes down which of its methods is called, by whomever."""

    def override(name: str) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return getattr(super(Told, self), name)(*args, **kwargs)

        return method

    methods = {name: override(name) for name in METHODS if hasattr(kind, name)}
    Told = type("Told", (kind,), methods)
    return Told


def _fails() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("name", THREADS)
def test_a_pool_for_threads_calls_of_itself_what_psycopg_pools_does(name: str) -> None:
    def walk(package: Any) -> list[list[str]]:
        calls: list[str] = []
        walked: list[list[str]] = []
        connection_class = sync_connection_class(time.sleep)

        def step() -> None:
            walked.append(calls.copy())
            calls.clear()

        kind = _told(getattr(package, name), calls)
        sizes = {} if name.startswith("Null") else {"min_size": 1}
        pool = kind(connection_class=connection_class, open=True, **sizes)
        step()
        with pool.connection() as conn:
            conn.begin()
        step()
        with pytest.raises(ZeroDivisionError), pool.connection(timeout=5.0) as conn:
            conn.begin()
            _fails()
        step()
        for use in (pool.wait, pool.check, pool.drain, pool.get_stats, pool.close):
            use()
            step()
        with kind(connection_class=connection_class, **sizes) as pool:
            step()
        step()
        pool = kind(connection_class=connection_class, open=False, **sizes)
        pool.open(wait=True)
        step()
        pool.close()
        connection_class.is_down = True
        pool = kind(connection_class=connection_class, open=False, **sizes)
        pool.open()
        calls.clear()
        with pytest.raises(package.PoolTimeout):
            pool.wait(0.1)
        step()
        return walked

    assert walk(poolhouse) == walk(psycopg_pool)


@pytest.mark.parametrize("name", TASKS)
def test_a_pool_for_asyncio_calls_of_itself_what_psycopg_pools_does(name: str) -> None:
    async def walk(package: Any) -> list[list[str]]:
        calls: list[str] = []
        walked: list[list[str]] = []
        connection_class = async_connection_class()

        def step() -> None:
            walked.append(calls.copy())
            calls.clear()

        kind = _told(getattr(package, name), calls)
        sizes = {} if "Null" in name else {"min_size": 1}
        pool = kind(connection_class=connection_class, open=False, **sizes)
        await pool.open(wait=True)
        step()
        async with pool.connection() as conn:
            conn.begin()
        step()
        with pytest.raises(ZeroDivisionError):
            async with pool.connection(timeout=5.0) as conn:
                conn.begin()
                _fails()
        step()
        for use in (pool.wait, pool.check, pool.drain, pool.close):
            await use()
            step()
        async with kind(connection_class=connection_class, open=False, **sizes) as pool:
            step()
        step()
        connection_class.is_down = True
        pool = kind(connection_class=connection_class, open=False, **sizes)
        await pool.open()
        calls.clear()
        with pytest.raises(package.PoolTimeout):
            await pool.wait(0.1)
        step()
        return walked

    assert asyncio.run(walk(poolhouse)) == asyncio.run(walk(psycopg_pool))


def _overrides(plain: Any) -> tuple[list[Any], list[Any], Any, Any]:
    """What was taken, what was given back and after which last call, and the methods that write it down."""
    taken: list[Any] = []
    given: list[Any] = []
    plain_getconn, plain_putconn = plain.getconn, plain.putconn

    def getconn(self: Any, timeout: float | None = None) -> Any:
        conn = plain_getconn(self, timeout)
        taken.append(conn)
        return conn

    def putconn(self: Any, conn: Any) -> None:
        given.append((conn, conn.calls[-1:]))
        plain_putconn(self, conn)

    return taken, given, getconn, putconn


@pytest.mark.parametrize("where", ["subclass", "class", "pool"])
@pytest.mark.parametrize("name", THREADS)
def test_a_block_of_threads_uses_overrides_and_returns_what_they_give(name: str, where: str) -> None:
    for package in PACKAGES:
        plain = getattr(package, name)
        taken, given, getconn, putconn = _overrides(plain)
        with pytest.MonkeyPatch.context() as patch:
            kind = plain
            if where == "subclass":
                kind = type("Mine", (plain,), {"getconn": getconn, "putconn": putconn})
            if where == "class":
                patch.setattr(plain, "getconn", getconn)
                patch.setattr(plain, "putconn", putconn)
            with kind(connection_class=sync_connection_class(time.sleep), max_size=4, open=False) as pool:
                if where == "pool":
                    pool.getconn, pool.putconn = getconn.__get__(pool), putconn.__get__(pool)
                with pool.connection() as conn:
                    conn.begin()
                with pytest.raises(ZeroDivisionError), pool.connection() as again:
                    again.begin()
                    _fails()
                if where == "pool":
                    del pool.getconn, pool.putconn
                    with pool.connection():
                        pass
                assert pool.get_stats()["requests_num"] == (3 if where == "pool" else 2)
        assert taken == [conn, again]
        assert given == [(conn, ["commit"]), (again, ["rollback"])]


@pytest.mark.parametrize("where", ["subclass", "pool"])
@pytest.mark.parametrize("name", TASKS)
def test_a_block_of_a_task_uses_overrides_and_returns_what_they_give(name: str, where: str) -> None:
    async def main(package: Any) -> None:
        plain = getattr(package, name)
        taken: list[Any] = []
        given: list[Any] = []

        async def getconn(self: Any, timeout: float | None = None) -> Any:
            conn = await plain.getconn(self, timeout)
            taken.append(conn)
            return conn

        async def putconn(self: Any, conn: Any) -> None:
            given.append((conn, conn.calls[-1:]))
            await plain.putconn(self, conn)

        overrides = {"getconn": getconn, "putconn": putconn} if where == "subclass" else {}
        kind = type("Mine", (plain,), overrides)
        async with kind(connection_class=async_connection_class(), max_size=4, open=False) as pool:
            if where == "pool":
                pool.getconn, pool.putconn = getconn.__get__(pool), putconn.__get__(pool)
            async with pool.connection() as conn:
                conn.begin()
            with pytest.raises(ZeroDivisionError):
                async with pool.connection() as again:
                    again.begin()
                    _fails()

            async def hold() -> None:
                async with pool.connection() as held:
                    held.begin()
                    await asyncio.sleep(60.0)

            task = asyncio.ensure_future(hold())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        ends = [calls for _, calls in given]
        assert [conn for conn, _ in given] == taken
        assert ends == [["commit"], ["rollback"], ["rollback"]]

    for package in PACKAGES:
        asyncio.run(main(package))


def test_an_override_that_fails_leaves_the_block_unentered() -> None:
    class Mine(poolhouse.ConnectionPool[Any]):
        def getconn(self, timeout: float | None = None) -> Any:
            raise LookupError("no tenant")

    with Mine(connection_class=sync_connection_class(time.sleep), min_size=1) as pool:
        with pytest.raises(LookupError, match="no tenant"), pool.connection():
            pass
        assert pool.get_stats()["pool_available"] <= 1
        assert not pool.holders()


def test_the_holder_is_the_block_and_not_the_override() -> None:
    class Mine(poolhouse.ConnectionPool[Any]):
        def getconn(self, timeout: float | None = None) -> Any:
            return super().getconn(timeout)

    with Mine(connection_class=sync_connection_class(time.sleep), min_size=1) as pool:
        with pool.connection():
            (holder,) = pool.holders()
            assert "test_the_holder_is_the_block_and_not_the_override" in holder.site
        assert not pool.holders()


def test_a_block_of_an_overridden_pool_that_is_never_left_gives_its_connection_back() -> None:
    class Mine(poolhouse.ConnectionPool[Any]):
        def putconn(self, conn: Any) -> None:
            super().putconn(conn)

    with Mine(connection_class=sync_connection_class(time.sleep), min_size=1) as pool:
        block = pool.connection()
        block.__enter__()
        del block
        with pool.connection(timeout=5.0):
            pass


def test_a_plain_pool_keeps_its_short_way() -> None:
    class Mine(poolhouse.ConnectionPool[Any]):
        def wait(self, timeout: float = 30.0) -> None:
            super().wait(timeout)

    for kind in (poolhouse.ConnectionPool, Mine):
        pool = kind(connection_class=sync_connection_class(time.sleep), open=False)
        assert type(pool.connection()) is kind._plain_checkout
