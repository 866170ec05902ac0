"""What comes back to a pool that is closed, and notices that two threads find at once."""

import gc

from poolhouse.pool import ConnectionPool
from poolhouse.pool.core import PoolCore
from poolhouse.pool.crew import Turn
from poolhouse.testing import FakeConnection, FakeDriver, VirtualClock, VirtualThreads
from support.pool_world import World


def test_a_connection_whose_block_was_never_left_is_closed_though_the_pool_was_closed_before() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=1, open=True
        )
        checkout = pool.connection()
        checkout.__enter__()
        pool.close()
        assert driver.open_connections
        del checkout
        gc.collect()
        pool.close()
        assert not driver.open_connections

    threads.run(main)


def test_a_notice_that_another_thread_has_told_meanwhile_is_no_error() -> None:
    core: PoolCore = World(0).core
    told: list[object] = []

    def tell(notice: object) -> None:
        # The other thread: it empties the queue while this one tells.
        told.append(notice)
        core.notices.clear()

    turn = Turn(core, VirtualClock(), list, tell)
    core.notices.clear()
    core.notices.extend([object(), object()])  # type: ignore[list-item]
    turn(core.attend, 10**12)
    assert len(told) == 1
