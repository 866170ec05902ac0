"""Clients that are woken although there is nothing for them."""

from poolhouse.pool import ConnectionPool
from poolhouse.testing import FakeConnection, FakeDriver, VirtualClock, VirtualThreads


def test_a_client_that_is_woken_for_nothing_goes_on_waiting_in_its_place() -> None:
    """An interrupted call wakes again those whom it may have woken: a second wake may come when it is too late."""
    threads = VirtualThreads(VirtualClock())
    served: list[FakeConnection] = []

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=1, open=True
        )
        conn = pool.getconn()

        def client() -> None:
            with pool.connection(timeout=5.0) as mine:
                served.append(mine)

        threads.start(client, "client", is_daemon=False)
        threads.sleep(1.0)
        (waiter,) = pool._core.waiters
        waiter.wake()
        threads.sleep(1.0)
        assert list(pool._core.waiters) == [waiter]
        pool.putconn(conn)
        threads.sleep(1.0)
        assert served == [conn]
        pool.close()

    threads.run(main)
