"""Where a holder is now: the innermost call, and those next to the line that took the connection."""

import asyncio
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

from poolhouse.pool.slot import Lease, Slot
from poolhouse.pool.whereabouts import DEPTH, where_now


def _lease(holder: object, code: Any) -> Lease:
    return (Slot(0), 0.0, code, 0, SimpleNamespace(holder=holder))


def _names(told: str) -> list[str]:
    return [each.rpartition(" ")[2].rpartition(".")[2] for each in told.split(", called from ")]


def _in_thread(goes: Callable[[Callable[[], object]], object], code: Any) -> str:
    """What is told of a thread that executes `goes` and stands still where `goes` calls its argument."""
    is_there, is_over = threading.Event(), threading.Event()

    def stands_still() -> None:
        is_there.set()
        is_over.wait(30)

    thread = threading.Thread(target=goes, args=(stands_still,), name="worker-7")
    thread.start()
    assert is_there.wait(30)
    told = where_now(_lease(thread.ident, code))
    is_over.set()
    thread.join()
    return told


def _takes(then: Callable[[], object]) -> None:
    _works(then)


def _works(then: Callable[[], object]) -> None:
    then()


def test_of_a_thread_the_calls_since_the_checkout_are_told() -> None:
    told = _in_thread(_takes, _takes.__code__)
    assert told.startswith("worker-7 is now at ")
    # `Event.wait` and `Condition.wait` are the innermost.
    assert _names(told) == ["wait", "wait", "stands_still", "_works", "_takes"]


def _deep(then: Callable[[], object], depth: int = 20) -> None:
    _deep(then, depth - 1) if depth else then()


def _takes_deep(then: Callable[[], object]) -> None:
    _deep(then)


def test_in_a_deep_call_the_innermost_is_told_and_those_next_to_the_checkout() -> None:
    names = _names(_in_thread(_takes_deep, _takes_deep.__code__))
    assert len(names) == DEPTH
    assert names[0].endswith("wait")
    assert names[1:] == ["_deep", "_deep", "_deep", "_takes_deep"]


def test_a_thread_that_has_left_the_function_that_took_it_is_told_from_inside() -> None:
    names = _names(_in_thread(_takes, _deep.__code__))
    assert len(names) == DEPTH
    assert names[0].endswith("wait")


def test_a_thread_that_has_ended_cannot_be_told_of() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert where_now(_lease(thread.ident, _takes.__code__)) == ""
    assert where_now((Slot(0), 0.0, _takes.__code__, 0, None)) == ""


async def _items() -> AsyncIterator[int]:
    await asyncio.sleep(3600)
    yield 1


async def _asks() -> None:
    async for _ in _items():
        return


async def _handler() -> None:
    await _asks()


def test_of_a_task_what_it_awaits_is_told() -> None:
    async def main() -> None:
        task = asyncio.create_task(_handler(), name="request-1")
        await asyncio.sleep(0)
        told = where_now(_lease(task, _handler.__code__))
        assert told.startswith("request-1 is now at ")
        assert told.endswith("in _asks, called from pool/test_pool_whereabouts.py:" + told.rpartition(":")[2])
        assert told.rpartition(" ")[2] == "_handler"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert where_now(_lease(task, _handler.__code__)) == ""

    asyncio.run(main())


def test_a_task_is_told_of_by_what_it_does_itself() -> None:
    """A task that stands still in a call, not at an await: it runs, and warns of itself."""

    async def main() -> None:
        task = asyncio.current_task()
        told = where_now(_lease(task, sys._getframe().f_code))
        assert told.endswith("main")

    asyncio.run(main())


def _fast(conn: object, code: Any) -> Lease:
    """The lease of a checkout that did not wait: it does not say who has it."""
    slot = Slot(0)
    slot.conn = conn
    return (slot, 0.0, code, 0, None, True)


def _serves(conn: object, then: Callable[[], object]) -> None:
    _works(then)


def test_of_several_threads_in_the_same_function_the_one_is_told_that_has_the_connection() -> None:
    conns = [object(), object(), object()]
    are_there, is_over = threading.Barrier(4), threading.Event()

    def stands_still() -> None:
        are_there.wait(30)
        is_over.wait(30)

    workers = [
        threading.Thread(target=_serves, args=(conn, stands_still), name=f"worker-{number}")
        for number, conn in enumerate(conns)
    ]
    for worker in workers:
        worker.start()
    are_there.wait(30)
    told = where_now(_fast(conns[1], _serves.__code__))
    nobody = where_now(_fast(object(), _serves.__code__))
    is_over.set()
    for worker in workers:
        worker.join()
    assert told.startswith("worker-1 is now at ")
    assert _names(told)[-1] == "_serves"
    assert nobody == ""


class _Dropped:
    pass


def test_a_look_at_a_threads_variables_keeps_none_of_them() -> None:
    looked, gone = threading.Event(), []
    is_there = threading.Event()

    def handler(conn: object) -> None:
        dropped = _Dropped()
        weakref.finalize(dropped, gone.append, None)
        is_there.set()
        looked.wait(30)
        del dropped
        gone.append("the variable was dropped")

    conn = object()
    threads = [threading.Thread(target=handler, args=(each,)) for each in (conn, object())]
    for thread in threads:
        thread.start()
    is_there.wait(30)
    assert where_now(_fast(conn, handler.__code__))
    looked.set()
    for thread in threads:
        thread.join()
    assert gone[0] is None


def test_of_a_task_whose_connection_a_generator_has_taken_what_it_does_with_it_is_told() -> None:
    """As with FastAPI's `Depends`: the generator is suspended, and the handler has the connection."""

    async def handler(conn: object) -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        conns = [object(), object()]
        tasks = [asyncio.create_task(handler(conn), name=f"request-{number}") for number, conn in enumerate(conns)]
        await asyncio.sleep(0)
        told = where_now(_fast(conns[1], _items.__code__), is_task=True)
        assert told.startswith("request-1 is now at ")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
