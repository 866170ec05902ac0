"""The threads of a pool when something comes between: a full machine, exceptions, the last instant."""

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool import ConnectionPool
from poolhouse.pool.slot import Slot
from poolhouse.pool.workers import Workers
from poolhouse.testing import Does, FakeConnection, FakeDriver, VirtualClock, VirtualThreads
from poolhouse.testing.threads import VirtualParker

Pool = ConnectionPool[FakeConnection]


class Crowded(VirtualThreads):
    """A machine on which now and then no thread can be started."""

    is_full = False

    def start(self, target: Callable[[], None], name: str, *, is_daemon: bool = True) -> None:
        if self.is_full:
            raise RuntimeError("can't start new thread")
        super().start(target, name, is_daemon=is_daemon)


def run(main: Callable[[Crowded, FakeDriver], None]) -> None:
    threads = Crowded(VirtualClock())
    threads.run(lambda: main(threads, FakeDriver(threads.sleep, threads.parker)))


def opened(threads: Crowded, driver: FakeDriver, **parameters: Any) -> Pool:
    return ConnectionPool(driver=driver, clock=threads.clock, threads=threads, open=True, **parameters)


@pytest.mark.parametrize("is_full_from_the_start", [True, False])
def test_where_no_thread_can_be_started_the_pool_tries_again(is_full_from_the_start: bool) -> None:
    def main(threads: Crowded, driver: FakeDriver) -> None:
        threads.is_full = is_full_from_the_start
        pool = opened(threads, driver, min_size=1, max_size=2, num_workers=1)
        if not is_full_from_the_start:
            pool.wait()
            threads.sleep(10.0)  # The worker has gone.
            threads.is_full = True
        held = [] if is_full_from_the_start else [pool.getconn()]
        with pytest.raises(PoolTimeout):
            pool.getconn(timeout=0.5)
        threads.is_full = False
        held.append(pool.getconn(timeout=2.0))
        for conn in held:
            pool.putconn(conn)
        pool.close()

    run(main)


def test_a_check_that_begins_while_the_keeper_looks_is_still_ended_in_time() -> None:
    def main(threads: Crowded, driver: FakeDriver) -> None:
        pool = opened(threads, driver, min_size=1)
        pool.wait()
        workers, slot = pool._workers, next(iter(pool._core.slots.values()))

        class Guards(dict[Slot, Any]):
            """Another thread begins a check just when the keeper has looked at all of them."""

            def values(self) -> Any:
                seen = list(super().values())
                if not self:
                    workers.guard(slot, threads.clock.monotonic() + 1.0)
                return seen

        workers.guards = Guards()
        workers.wake_keeper()
        threads.sleep(1.1)
        assert slot.conn.calls.count("abort") == 1
        pool.close()

    run(main)


def test_a_check_that_ends_just_as_it_is_cut_off_serves_nothing() -> None:
    def main(threads: Crowded, driver: FakeDriver) -> None:
        def check(conn: FakeConnection) -> None:
            # The keeper is faster, by an instant, and about to abort.
            if conn is first:
                pool._workers.guards.clear()

        pool = opened(threads, driver, min_size=1, check=check)
        pool.wait()
        (first,) = driver.connections
        assert pool.getconn(timeout=5.0) is not first
        assert first.is_closed
        pool.close()

    run(main)


def test_a_check_that_an_exception_ends_leaves_neither_its_connection_nor_its_deadline_to_the_next_client() -> (
    None
):
    def main(threads: Crowded, driver: FakeDriver) -> None:
        def check(conn: FakeConnection) -> None:
            if not interrupted:
                interrupted.append(conn)
                raise KeyboardInterrupt

        interrupted: list[FakeConnection] = []
        pool = opened(threads, driver, min_size=1, check=check)
        pool.wait()
        with pytest.raises(KeyboardInterrupt):
            pool.getconn(timeout=1.0)
        with pool.connection() as conn:
            threads.sleep(2.0)
            # It may hold a lock of the driver's, or be in a mode that the check would have switched back.
            assert conn is not interrupted[0]
            assert interrupted[0].is_closed
            assert "abort" not in conn.calls
        pool.close()

    run(main)


def test_who_is_in_the_middle_of_a_call_of_the_pool_is_told_that_he_cannot_wait_for_it() -> None:
    """A finalizer or a signal's handler would wait for a lock that its own thread has."""

    def main(threads: Crowded, driver: FakeDriver) -> None:
        pool = opened(threads, driver, min_size=1)
        pool.wait()
        conn = pool.getconn()
        with pytest.raises(RuntimeError, match="in the middle of another call"):
            pool._core_lock(pool.getconn)
        pool.putconn(conn)
        assert pool.getconn(timeout=0) is conn
        pool.close()

    run(main)


def test_the_keeper_sleeps_while_what_is_due_waits_for_a_worker() -> None:
    def main(threads: Crowded, driver: FakeDriver) -> None:
        # The only worker does not come back for ten seconds, and the next attempt to connect is due at once.
        driver.always("connect", Does.ERR)
        pool = opened(
            threads,
            driver,
            min_size=1,
            num_workers=1,
            reconnect_timeout=1.0,
            reconnect_failed=lambda _: threads.sleep(10.0),
        )
        looks: list[float] = []
        abort_overdue = pool._workers._abort_overdue

        def looked(now: float) -> None:
            looks.append(now)
            if len(looks) > 1000:
                raise RuntimeError("it never sleeps")  # Which makes it sleep for a second.
            abort_overdue(now)

        pool._workers._abort_overdue = looked  # type: ignore[method-assign]
        with pytest.raises(PoolTimeout):
            pool.getconn(timeout=8.0)
        assert len(looks) <= 1000
        pool.close(timeout=0.0)

    run(main)


#: What runs in the pool's own threads, and where memory may end: in the function's call, or just after its work.
_OWN = (
    *("look", "_abort_overdue", "_tick_locked", "_hire", "_hire_locked", "becomes_keeper_locked"),
    *("_do_jobs", "_next_job_locked", "_do_returns", "_answered_locked", "_has_left_locked"),
)


def _strike(patch: pytest.MonkeyPatch, owner: type, name: str, at: int, *, is_done: bool) -> list[str]:
    """Have the call number `at` of a function end in MemoryError if a thread of the pool makes it.

    Returns a list that gets the name of the thread that was struck.
    """
    original = getattr(owner, name)
    calls = 0
    struck: list[str] = []

    def strikes(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        thread = threading.current_thread().name
        is_meant = thread.startswith("mine-")
        calls += is_meant
        is_struck = is_meant and calls == at
        result = original(*arguments, **keywords) if is_done or not is_struck else None
        if is_struck:
            struck.append(thread)
            raise MemoryError
        return result

    patch.setattr(owner, name, strikes)
    return struck


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", [*_OWN, "park"])
def test_whatever_ends_a_thread_of_the_pool_another_takes_its_place(name: str, is_done: bool) -> None:
    """A worker leaves the books and what it had in hand is done by another; a keeper is replaced."""

    def main(threads: Crowded, driver: FakeDriver) -> None:
        pool = opened(threads, driver, min_size=2, num_workers=1, name="mine", reset=lambda conn: None)
        for _ in range(2):
            held = [pool.getconn(timeout=60.0) for _ in range(2)]
            for conn in held:
                conn.begin()
                pool.putconn(conn)
            threads.sleep(5.0)  # The workers leave.
            pool.drain()
        pool.wait(60.0)
        taken = [pool.getconn(timeout=60.0) for _ in range(2)]
        for conn in taken:
            pool.putconn(conn)
        threads.sleep(30.0)
        core, workers = pool._core, pool._workers
        assert [core.used, *core.working, *core.worked_on, *core.connecting, *core.waiters] == [0]
        assert [each for lane in workers._workers.values() for each in lane] == []
        assert [each for lane in workers._arriving.values() for each in lane] == []
        assert [each for lane in workers._resting.values() for each in lane] == []
        assert not workers._in_hand
        assert pool.get_stats()["pool_available"] == 2
        assert {conn.number for conn in driver.open_connections} == {
            slot.conn.number for slot in core.slots.values()
        }
        pool.close()
        assert not driver.overlaps

    for at in itertools.count(1):
        with pytest.MonkeyPatch.context() as patch:
            owner = VirtualParker if name == "park" else Workers
            struck = _strike(patch, owner, name, at, is_done=is_done)
            run(main)
        if not struck:
            break
    assert at > 1, "it was struck at least once"
