"""One look at holders of every kind: threads, tasks, greenlets, and those that must be searched."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

import gevent
import pytest

from poolhouse.meter.signs import Looks
from poolhouse.sites.look import Hold
from poolhouse.sites.looker import MOST_HOLDERS, Holding, Looker
from poolhouse.sites.stalls import remember
from poolhouse.sites.tally import PoolLooks, SiteLooks

BUSY, IDLE, ASKS, ENDED = Looks(busy=1), Looks(idle=1), Looks(asks=1), Looks(ended=1)


@contextmanager
def standing(goes: Callable[[Callable[[], object]], object]) -> Iterator[int]:
    """The identifier of a thread that executes `goes`, and stands still where that calls its argument."""
    is_there, is_over = threading.Event(), threading.Event()

    def stands_still() -> None:
        is_there.set()
        is_over.wait(30)

    thread = threading.Thread(target=goes, args=(stands_still,))
    thread.start()
    try:
        assert is_there.wait(30)
        assert thread.ident is not None
        yield thread.ident
    finally:
        is_over.set()
        thread.join()


def look_at(*holds: Hold, looker: Looker | None = None) -> list[Looks]:
    before = [hold.looks.looks for hold in holds]
    assert (looker or Looker()).look([(PoolLooks(), Holding(holds))], 0.1) is bool(holds)
    return [
        Looks(*(now - then for now, then in zip(hold.looks.looks, known, strict=True)))
        for hold, known in zip(holds, before, strict=True)
    ]


def hold_of(function: Any, holder: Any = None, since: float = 1.0, **more: Any) -> Hold:
    code: CodeType = function.__code__
    return Hold(SiteLooks(), code, 0, since, holder, **more)


def view(then: Callable[[], object]) -> None:
    then()


def other(then: Callable[[], object]) -> None:
    then()


def driving(then: Callable[[], object]) -> None:
    """A view that is within a driver."""
    names: dict[str, Any] = {"__name__": "psycopg.waiting"}
    exec("def wait(then): then()", names)
    names["wait"](then)


def test_a_thread_is_looked_at() -> None:
    with standing(view) as idle, standing(driving) as busy:
        held = hold_of(view, idle), hold_of(driving, busy), hold_of(view, busy)
        assert look_at(*held) == [IDLE, BUSY, ENDED]
        assert held[0].looks.idle_line is not None
        assert held[0].looks.idle_line[0].co_name == "stands_still"
    assert look_at(hold_of(view, idle)) == [ENDED]


def test_the_holder_of_what_was_taken_without_waiting_is_searched() -> None:
    with standing(view), standing(other):
        assert look_at(hold_of(view), hold_of(other)) == [IDLE, IDLE]
        assert look_at(hold_of(view, since=1.0), hold_of(view, since=2.0)) == [ENDED, IDLE]
        assert look_at(hold_of(driving)) == [ENDED]
    assert look_at(hold_of(view)) == [ENDED]


def test_a_thread_that_is_known_to_hold_a_connection_is_not_found_to_hold_another_one() -> None:
    with standing(view) as thread:
        assert look_at(hold_of(view, thread), hold_of(view)) == [IDLE, ENDED]


class Driver:
    """An awaitable with a frame in a driver."""

    def __init__(self) -> None:
        names: dict[str, Any] = {"__name__": "asyncpg.connection"}
        exec("async def fetch(wait): await wait", names)
        self.fetch = names["fetch"]


async def waits() -> None:
    await asyncio.sleep(3600)


async def fetches() -> None:
    await Driver().fetch(asyncio.sleep(3600))


def test_a_task_is_looked_at_wherever_it_stands() -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(each()) for each in (waits, fetches, waits)]
        await asyncio.sleep(0)
        idle, busy, over = map(weakref.ref, tasks)
        held = [hold_of(waits, idle), hold_of(fetches, busy), hold_of(view, idle)]
        assert look_at(*held) == [IDLE, BUSY, ENDED]
        assert held[0].looks.idle_line is not None
        assert held[0].looks.idle_line[0] is waits.__code__
        tasks[2].cancel()
        await asyncio.gather(tasks[2], return_exceptions=True)
        assert look_at(hold_of(waits, over)) == [ENDED]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def test_a_task_that_runs_is_looked_at_on_its_thread() -> None:
    async def main() -> Any:
        remember(asyncio.get_running_loop(), threading.get_ident())
        return weakref.ref(asyncio.current_task())  # type: ignore[arg-type]

    async def looks_at_itself() -> list[Looks]:
        return look_at(hold_of(looks_at_itself, await main()))

    assert asyncio.run(looks_at_itself()) == [IDLE]


def test_a_pool_of_threads_in_a_coroutine_is_searched_among_the_tasks() -> None:
    async def main() -> None:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        loop = remember(asyncio.get_running_loop(), threading.get_ident())
        held = hold_of(waits, threading.get_ident(), loop=loop), hold_of(fetches, threading.get_ident(), loop=loop)
        assert look_at(*held) == [IDLE, ENDED]
        # One of ours for asyncio does not know its task.
        assert look_at(hold_of(waits, loop=loop), hold_of(waits, since=0.5, loop=loop)) == [IDLE, ENDED]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_a_greenlet_is_looked_at() -> None:
    def sleeper() -> None:
        gevent.sleep(3600)

    greenlet = gevent.spawn(sleeper)
    gevent.sleep(0)
    reference = weakref.ref(greenlet)
    hub = remember(gevent.get_hub(), threading.get_ident())
    assert look_at(hold_of(sleeper, reference, loop=hub)) == [IDLE]
    running: Any = weakref.ref(gevent.getcurrent())
    assert look_at(hold_of(test_a_greenlet_is_looked_at, running, loop=hub)) == [IDLE]
    greenlet.kill()
    assert look_at(hold_of(sleeper, reference, loop=hub)) == [ENDED]


def test_where_greenlets_are_called_threads_nothing_is_said_to_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look_at(hold_of(view, holder=12_345)) == [ENDED]
    monkeypatch.setattr("gevent.monkey.is_module_patched", lambda name: name == "threading")
    assert look_at(hold_of(view, holder=12_345), hold_of(view)) == [Looks(), Looks()]


def test_of_many_holders_some_take_turns_and_all_are_looked_at() -> None:
    looker, number = Looker(), MOST_HOLDERS * 2 + 10
    with standing(view) as thread:
        held = [hold_of(view, -number) for number in range(number - 1)] + [hold_of(view, thread)]
        seen = [look_at(*held, looker=looker) for _ in range(3)]
    assert [sum(map(any, one)) for one in seen] == [MOST_HOLDERS] * 3
    assert all(any(any(one[index]) for one in seen) for index in range(number))


def test_a_pool_is_counted_while_something_is_out_or_somebody_waits() -> None:
    looks, looker = PoolLooks(), Looker()
    found = [
        looker.look([(looks, Holding([hold_of(view)] * used, waiting))], 0.1)
        for used, waiting in ((0, 0), (2, 0), (2, 3), (0, 1))
    ]
    assert found == [False, True, True, True]
    assert (looks.looks, looks.looks_waiting, looks.used_sum, looks.waiting_sum) == (3, 2, 4, 4)


@pytest.mark.parametrize("kept", ["task", "greenlet"])
def test_a_look_keeps_no_holder_alive(kept: str) -> None:
    looker = Looker()
    if kept == "greenlet":

        def sleeper() -> None:
            gevent.sleep(3600)

        greenlet: Any = gevent.spawn(sleeper)
        gevent.sleep(0)
        reference: Any = weakref.ref(greenlet)
        look_at(hold_of(sleeper, reference), looker=looker)
        greenlet.kill()
        del greenlet
        gevent.sleep(0)
    else:

        async def main() -> Any:
            task = asyncio.create_task(waits())
            await asyncio.sleep(0)
            reference = weakref.ref(task)
            look_at(hold_of(waits, reference), looker=looker)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return reference

        reference = asyncio.run(main())
    gc.collect()
    assert reference() is None


def test_a_loop_is_at_the_line_that_it_runs_and_at_none_while_it_runs_none() -> None:
    loop, began, is_there, is_over = asyncio.new_event_loop(), *(threading.Event() for _ in range(3))

    def stands_still() -> None:
        is_there.set()
        is_over.wait(30)

    thread = threading.Thread(target=lambda: loop.run_forever())
    thread.start()
    try:
        loop.call_soon_threadsafe(began.set)
        assert began.wait(30)
        assert thread.ident is not None
        assert Looker().line_of_loop(thread.ident) is None, "the line that runs the loop is not one that it runs"
        loop.call_soon_threadsafe(stands_still)
        assert is_there.wait(30)
        line = Looker().line_of_loop(thread.ident)
        assert line is not None
        assert line[0] is stands_still.__code__
    finally:
        is_over.set()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
