"""Names are looked up by one thread at a time, which nobody has to wait for."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from poolhouse.daemon.lookup import Lookup
from support.asyncio_runs import run

FOUND = [
    *[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.5", 0))] * 2,
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", 0, 0, 0)),
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 2)),
]
ADDRESSES = ["10.0.0.5", "fd00::1", "fe80::1%2"]


def in_a_loop(test: Callable[[], Awaitable[None]]) -> None:
    run(test())


def answering(*answers: Any) -> Callable[..., Any]:
    """A `socket.getaddrinfo` with these answers, one after the other; errors are raised."""
    left = iter(answers)

    def look_up(*_: object, **__: object) -> Any:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look_up


def test_an_address_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread"))

    async def scenario() -> None:
        for address in ("127.0.0.1", "::1", "fe80::1%eth0"):
            assert await Lookup(address).addresses(1.0) == [address]

    in_a_loop(scenario)


def test_each_address_of_a_name_is_found_once_and_looked_up_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = socket.gaierror(socket.EAI_NONAME, "no such name")

    async def scenario() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", answering(FOUND, failure, FOUND))
        lookup = Lookup("db.example")
        assert await lookup.addresses(30.0) == ADDRESSES
        with pytest.raises(socket.gaierror, match="no such name"):
            await lookup.addresses(30.0)
        assert await lookup.addresses(30.0) == ADDRESSES

    in_a_loop(scenario)


@pytest.mark.parametrize(("failure", "error"), [(MemoryError(), MemoryError), (UnicodeError(), socket.gaierror)])
def test_whatever_a_lookup_ends_with_the_next_one_looks_up_anew(
    failure: Exception, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", answering(failure, FOUND))
        lookup = Lookup("db.example")
        with pytest.raises(error):
            await lookup.addresses(30.0)
        assert await lookup.addresses(30.0) == ADDRESSES

    in_a_loop(scenario)


def test_a_name_server_that_does_not_answer_has_one_thread_which_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer, asked = threading.Event(), []

    def look_up(*_: object, **__: object) -> Any:
        asked.append(threading.current_thread())
        answer.wait(30)
        return FOUND

    async def scenario() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        lookup = Lookup("db.example")
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await lookup.addresses(0.01)
        assert [thread.daemon for thread in asked] == [True]
        answer.set()
        assert await lookup.addresses(30.0) == ADDRESSES
        assert len(asked) == 1

    in_a_loop(scenario)


def test_an_answer_after_the_end_of_the_loop_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, asked = threading.Event(), []

    def look_up(*_: object, **__: object) -> Any:
        asked.append(threading.current_thread())
        answer.wait(30)
        return FOUND

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await Lookup("db.example").addresses(0.01)

    asyncio.run(scenario())
    answer.set()
    for thread in asked:
        thread.join(30)
        assert not thread.is_alive()


def test_where_no_thread_can_be_started_that_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scenario() -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(OSError, match="can't start new thread"):
            await Lookup("db.example").addresses(1.0)

    in_a_loop(scenario)
