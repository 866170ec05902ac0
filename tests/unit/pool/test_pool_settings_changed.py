"""Attributes of a pool that a program changes while the pool is open."""

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


def _noting(base: type[Any], seen: list[tuple[str, dict[str, Any]]]) -> type[Any]:
    class Noting(base):  # type: ignore[misc]
        @classmethod
        def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:
            kwargs.pop("connect_timeout", None)  # A null pool's client has one.
            seen.append((conninfo, kwargs))
            return super().connect()

    return Noting


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
@pytest.mark.parametrize("name", THREADS)
def test_a_new_conninfo_and_new_kwargs_are_used_from_then_on(name: str, package: Any) -> None:
    """A password that was changed, say."""
    seen: list[tuple[str, dict[str, Any]]] = []
    kind = _noting(sync_connection_class(time.sleep), seen)
    sizes = {} if "Null" in name else {"min_size": 1}
    with getattr(package, name)("old", connection_class=kind, kwargs={"a": 1}, open=False, **sizes) as pool:
        pool.wait()
        pool.conninfo, pool.kwargs = "new", {"a": 2}
        assert (pool.conninfo, pool.kwargs) == ("new", {"a": 2})
        pool.drain()
        pool.wait()
        with pool.connection():
            pass
    assert seen[0] == ("old", {"a": 1})
    assert set(map(repr, seen[1:])) == {repr(("new", {"a": 2}))}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
@pytest.mark.parametrize("name", TASKS)
def test_a_new_conninfo_and_new_kwargs_are_used_in_asyncio_too(name: str, package: Any) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []
    kind = _noting(async_connection_class(), seen)
    sizes = {} if "Null" in name else {"min_size": 1}

    async def main() -> None:
        async with getattr(package, name)("old", connection_class=kind, open=False, **sizes) as pool:
            await pool.wait()
            pool.conninfo, pool.kwargs = (lambda: "new"), (lambda: {"a": 2})
            await pool.drain()
            await pool.wait()
            async with pool.connection():
                pass

    asyncio.run(main())
    assert seen[0] == ("old", {})
    assert set(map(repr, seen[1:])) == {repr(("new", {"a": 2}))}


def test_the_new_password_is_hidden_as_the_old_one_was() -> None:
    pool = poolhouse.ConnectionPool("host=db password=first", open=False)
    pool.conninfo = "host=db password=second"
    assert pool._secrets() == ["second"]


def test_what_the_constructor_would_refuse_is_refused() -> None:
    pool = poolhouse.ConnectionPool(open=False)
    with pytest.raises(ValueError, match="kwargs must be a mapping"):
        pool.kwargs = 5
    assert pool.kwargs is None


@pytest.mark.parametrize(
    "setting", ["connection_class", "max_lifetime", "max_idle", "max_waiting", "num_workers", "reconnect_timeout"]
)
def test_what_cannot_be_changed_is_refused_and_not_ignored(setting: str) -> None:
    pool = poolhouse.ConnectionPool(connection_class=sync_connection_class(time.sleep), open=False)
    before = getattr(pool, setting)
    with pytest.raises(AttributeError, match=setting):
        setattr(pool, setting, before)
    assert getattr(pool, setting) == before
