"""What a client failed with keeps nothing of the client alive once the client has dealt with it."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from sqlalchemy import create_engine

from poolhouse.errors import PoolError, PoolTimeout
from poolhouse.pool import AsyncNullConnectionPool, ConnectionPool, NullConnectionPool
from poolhouse.pool.bare_error import bare
from poolhouse.pool.sqlalchemy import FairQueuePool


class Down:
    """A driver that cannot connect."""

    error_base = None
    marks_connections = False
    is_thread_bound = False

    def connect(self, *_: object) -> None:
        raise OSError("down")

    def status(self, conn: object) -> int:
        raise NotImplementedError

    commit = rollback = probe = close = abort = fileno = status


class ThreadBound(Down):
    is_thread_bound = True


class AsyncDown(Down):
    async def connect(self, *_: object) -> None:
        raise OSError("down")


class Request:
    """Something large in a client's frame."""


def _is_kept(take: Callable[[], object]) -> bool:
    """Whether the frame of a client that caught the error is still there."""
    requests: list[weakref.ref[Request]] = []

    def client() -> None:
        request = Request()
        requests.append(weakref.ref(request))
        take()

    with pytest.raises((OSError, PoolTimeout)):
        client()
    gc.collect()
    return requests[0]() is not None


@pytest.fixture(params=["threads", "thread-bound", "asyncio", "SQLAlchemy"])
def take(request: pytest.FixtureRequest) -> Iterator[Callable[[], object]]:
    """How a client asks a pool that makes its connection in its call, and keeps it open."""
    if request.param == "asyncio":
        with asyncio.Runner() as runner:
            pool: Any = AsyncNullConnectionPool(driver=AsyncDown(), open=False)
            runner.run(pool.open())
            yield lambda: runner.run(pool.getconn(timeout=1.0))
            runner.run(pool.close())
    elif request.param == "SQLAlchemy":

        def creator() -> None:
            raise OSError("down")

        yield create_engine("sqlite://", creator=creator, poolclass=FairQueuePool).connect
    else:
        driver = Down() if request.param == "threads" else ThreadBound()
        with NullConnectionPool(driver=driver) as pool:
            yield lambda: pool.getconn(timeout=1.0)


def test_a_client_that_could_not_connect_is_forgotten(take: Callable[[], object]) -> None:
    assert not _is_kept(take)


def test_so_is_one_that_raises_what_its_timeout_tells_as_the_cause() -> None:
    with ConnectionPool(driver=Down(), min_size=1) as pool:

        def take() -> None:
            with pytest.raises(PoolTimeout) as caught:
                pool.getconn(timeout=0.1)
            assert caught.value.connect_error is not None
            assert caught.value.__cause__ is caught.value.connect_error
            raise caught.value.connect_error

        assert not _is_kept(take)


class Unusual(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")
        self.both = first, second


class Impossible(Exception):
    def __new__(cls, *, word: str) -> Self:
        return super().__new__(cls, word)

    def __init__(self, *, word: str) -> None:
        super().__init__(word)


def _raised(error: BaseException) -> BaseException:
    try:
        try:
            raise ValueError("before")
        except ValueError as cause:
            raise error from cause
    except BaseException as raised:
        return raised


def test_a_bare_error_is_the_same_but_for_its_frames() -> None:
    noted = Unusual("one", "other")
    noted.add_note("note")
    for error in (noted, OSError(111, "refused"), PoolTimeout("late", waited=1.0), KeyError("k")):
        copy = bare(_raised(error))
        assert type(copy) is type(error)
        assert (str(copy), copy.args, vars(copy)) == (str(error), error.args, vars(error))
        assert (copy.__traceback__, copy.__cause__, copy.__context__) == (None, None, None)
        assert copy is not error
    group = bare(_raised(ExceptionGroup("both", [_raised(OSError("one")), _raised(OSError("other"))])))
    assert isinstance(group, ExceptionGroup)
    assert [each.__traceback__ for each in group.exceptions] == [None, None]
    assert isinstance(bare(Impossible(word="w")), PoolError)
    assert str(bare(Impossible(word="w"))) == "Impossible: ('w',)"
