"""What comes back to a pool that is closed, and notices that two threads find at once."""

import gc
from collections import deque

from poolhouse.pool import ConnectionPool
from poolhouse.pool.core import Notice, PoolCore
from poolhouse.pool.core_lock import CoreLock
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


class _Raced(deque[Notice]):
    """Notices that another thread takes between a look at them and the hand that reaches for them."""

    def __bool__(self) -> bool:
        return True


def test_a_notice_that_another_thread_has_told_meanwhile_is_no_error() -> None:
    core: PoolCore = World(0).core
    told: list[Notice] = []
    core.notices = _Raced()
    core_lock = CoreLock(core, list, told.append, lambda: None)
    core_lock(core.attend, 10**12)
    assert not told
