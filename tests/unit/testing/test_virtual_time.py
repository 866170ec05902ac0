"""Virtual time: for threads, for asyncio."""

import asyncio
import os

import pytest

from poolhouse.testing import Deadlock, VirtualClock, VirtualThreads, run


def test_two_readings_of_a_virtual_clock_are_two_objects() -> None:
    clock = VirtualClock()
    assert clock.monotonic() == clock.monotonic()
    assert clock.monotonic() is not clock.monotonic()


def test_threads_sleep_in_virtual_time_and_wake_in_the_order_of_their_deadlines() -> None:
    threads = VirtualThreads(VirtualClock())
    woken: list[int] = []

    def sleeper(hours: int) -> None:
        threads.sleep(hours * 3600.0)
        woken.append(hours)

    def main() -> float:
        began = threads.clock.monotonic()
        for hours in (3, 1, 2):
            threads.start(lambda hours=hours: sleeper(hours), f"{hours}", is_daemon=False)
        threads.sleep(10 * 3600.0)
        return threads.clock.monotonic() - began

    assert threads.run(main) == 10 * 3600.0
    assert woken == [1, 2, 3]


def test_the_same_seed_gives_the_same_schedule_and_another_seed_another() -> None:
    def schedule(seed: int) -> list[int]:
        threads = VirtualThreads(VirtualClock(), seed)
        steps: list[int] = []

        def body(number: int) -> None:
            for _ in range(10):
                steps.append(number)
                threads.sleep(0.0)

        def main() -> None:
            for number in range(3):
                threads.start(lambda number=number: body(number), f"{number}", is_daemon=False)

        threads.run(main)
        return steps

    assert schedule(1) == schedule(1)
    assert len({tuple(schedule(seed)) for seed in range(5)}) > 1


def test_threads_share_a_processor_while_their_world_lasts() -> None:
    threads = VirtualThreads(VirtualClock())
    allowed = os.sched_getaffinity(0)
    seen: list[set[int]] = []

    def look() -> None:
        seen.append(os.sched_getaffinity(0))

    def main() -> None:
        look()
        threads.start(look, "another", is_daemon=False)
        threads.sleep(1.0)
        raise ValueError("the world ends badly")

    with pytest.raises(ValueError, match="the world ends badly"):
        threads.run(main)
    ours, others = seen
    assert ours == others
    assert len(ours) == 1
    assert os.sched_getaffinity(0) == allowed


def test_an_unpark_before_the_park_is_not_lost() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> tuple[bool, bool]:
        parker = threads.parker()
        parker.unpark()
        return parker.park(None), parker.park(1.0)

    assert threads.run(main) == (True, False)


def test_threads_that_can_never_go_on_are_a_deadlock() -> None:
    threads = VirtualThreads(VirtualClock())
    with pytest.raises(Deadlock, match="main"):
        threads.run(lambda: threads.parker().park(None))


def test_what_ends_a_thread_is_raised() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        threads.start(lambda: {}["x"], "child", is_daemon=False)

    with pytest.raises(KeyError):
        threads.run(main)


def test_a_loop_in_virtual_time_jumps_from_deadline_to_deadline() -> None:
    clock = VirtualClock()

    async def main() -> float:
        began = clock.monotonic()
        await asyncio.gather(*(asyncio.sleep(hours * 3600) for hours in (3, 1, 2)))
        return clock.monotonic() - began

    assert run(main(), clock) == pytest.approx(3 * 3600, abs=1e-6)


def test_tasks_that_can_never_go_on_are_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run(main(), VirtualClock())
