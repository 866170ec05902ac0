"""Threads that make one call after another: none is lost, none is made twice, and none stays for ever."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from poolhouse.pool import ConnectionPool
from poolhouse.pool.reused_threads import LINGER, ReusedThreads
from poolhouse.pool.threads import SystemThreads
from poolhouse.testing import FakeConnection, FakeDriver, VirtualClock, VirtualThreads
from support.waiting import wait_until

#: What a client waits: less than a server may be silent, so that its check is made beside it.
BRIEF = 0.3


class Counted(VirtualThreads):
    """Counts what it starts, by the end of the name; where there is `room`."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.started: list[str] = []
        self.room = True

    def start(self, target: Callable[[], None], name: str, *, is_daemon: bool = True) -> None:
        if not self.room:
            raise RuntimeError("can't start new thread")
        self.started.append(name.rpartition("-")[2])
        super().start(target, name, is_daemon=is_daemon)


def _call(threads: VirtualThreads, reused: ReusedThreads, call: Callable[[], object]) -> None:
    """Make a call and wait for its end."""
    parker = threads.parker()
    reused.start(call, parker.unpark, "call")
    assert parker.park(60.0)


def _run(body: Callable[[Counted, ReusedThreads], None]) -> None:
    threads = Counted(VirtualClock())
    threads.run(lambda: body(threads, ReusedThreads(threads)))


def test_calls_one_after_another_take_one_thread() -> None:
    def body(threads: Counted, reused: ReusedThreads) -> None:
        made: list[int] = []
        for number in range(20):
            _call(threads, reused, lambda number=number: made.append(number))  # type: ignore[misc]
            threads.sleep(LINGER / 2)
        assert made == list(range(20))
        assert threads.started.count("call") == 1

    _run(body)


def test_calls_at_one_time_take_a_thread_each() -> None:
    def body(threads: Counted, reused: ReusedThreads) -> None:
        ended: list[float] = []
        for _ in range(3):
            reused.start(lambda: threads.sleep(1.0), lambda: ended.append(threads.clock.monotonic()), "call")
        began = threads.clock.monotonic()
        threads.sleep(1.5)
        assert ended == [pytest.approx(began + 1.0)] * 3
        assert threads.started.count("call") == 3

    _run(body)


def test_a_thread_without_calls_ends() -> None:
    def body(threads: Counted, reused: ReusedThreads) -> None:
        _call(threads, reused, lambda: None)
        threads.sleep(LINGER + 0.1)
        assert not reused._free
        _call(threads, reused, lambda: None)
        assert threads.started.count("call") == 2

    _run(body)


@pytest.mark.parametrize("late", [0.0, LINGER - 0.1, LINGER + 0.1, 2 * LINGER + 0.1])
def test_a_call_that_is_brought_late_is_made_once(late: float) -> None:
    """Whoever has taken a thread gets no processor before it has said what for."""

    def body(threads: Counted, reused: ReusedThreads) -> None:
        _call(threads, reused, lambda: None)
        threads.sleep(LINGER - 0.05)
        (free,) = reused._free

        class Slow(type(free.tasks)):  # type: ignore[misc]
            def append(self, task: Any) -> None:
                threads.sleep(late)
                super().append(task)

        free.tasks = Slow()
        made: list[int] = []
        _call(threads, reused, lambda: made.append(1))
        threads.sleep(10 * LINGER)
        assert made == [1]
        assert not reused._free

    _run(body)


def test_a_thread_that_was_taken_for_nothing_ends_and_takes_no_call_with_it() -> None:
    """An exception (KeyboardInterrupt) may strike whoever has taken a thread."""

    def body(threads: Counted, reused: ReusedThreads) -> None:
        _call(threads, reused, lambda: None)
        reused._free.pop()
        threads.sleep(3 * LINGER)
        _call(threads, reused, lambda: None)
        assert threads.started.count("call") == 2

    _run(body)


def test_where_no_thread_can_be_started_a_free_one_is_enough() -> None:
    def body(threads: Counted, reused: ReusedThreads) -> None:
        _call(threads, reused, lambda: None)
        threads.room = False
        _call(threads, reused, lambda: None)
        threads.sleep(LINGER + 0.1)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            reused.start(lambda: None, lambda: None, "call")

    _run(body)


def test_dismissed_threads_end_at_once_and_those_with_a_call_after_it() -> None:
    threads, reused = SystemThreads(), ReusedThreads(SystemThreads())
    before = set(threading.enumerate())
    parker, held, ended = threads.parker(), threads.parker(), threads.parker()
    reused.start(lambda: held.park(None), ended.unpark, "held")
    reused.start(lambda: None, parker.unpark, "free")
    assert parker.park(60.0)
    reused.dismiss()
    reused.join(60.0, lambda: 0.0)
    assert [thread.name for thread in set(threading.enumerate()) - before] == ["held"]
    held.unpark()
    assert ended.park(60.0)
    wait_until(lambda: set(threading.enumerate()) <= before)
    reused.start(lambda: None, parker.unpark, "late")
    assert parker.park(60.0)
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_checks_of_clients_with_little_time_share_a_thread() -> None:
    threads = Counted(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        checked: list[FakeConnection] = []
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=2, check=checked.append, open=True
        )
        pool.wait()
        for _ in range(10):
            with pool.connection(timeout=BRIEF):
                threads.sleep(0.1)
        assert len(checked) == 10
        assert threads.started.count("check") == 1
        pool.close()

    threads.run(main)


def test_a_closed_pool_has_no_thread_of_a_check_left() -> None:
    before = set(threading.enumerate())
    for _ in range(5):
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=FakeDriver(lambda seconds: None, SystemThreads().parker),
            min_size=1,
            open=True,
            check=lambda conn: None,
        )
        pool.wait()
        with pool.connection(timeout=BRIEF):
            pass
        pool.close()
        assert set(threading.enumerate()) <= before
