"""A spike of short holds in which everything stands still for a moment: how much the pool grows for it."""

from poolhouse.pool import ConnectionPool
from poolhouse.testing import Does, FakeConnection, FakeDriver, VirtualClock, VirtualThreads


def spike(stall_s: float) -> tuple[int, float]:
    """HikariCP's spike, in which the first five holds take longer: connections afterwards, seconds it took."""
    threads = VirtualThreads(VirtualClock(), 1)
    driver = FakeDriver(threads.sleep, threads.parker, slow_s=0.15)
    result: list[float] = []

    def main() -> None:
        driver.always("connect", Does.SLOW)
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=5, max_size=20, open=True
        )
        pool.wait()
        began, ended, taken = threads.clock.monotonic(), [], []

        def client(number: int) -> None:
            with pool.connection():
                taken.append(number)
                threads.sleep(0.002 + (stall_s if len(taken) <= 5 else 0.0))
            ended.append(threads.clock.monotonic() - began)

        for number in range(50):
            threads.start(lambda number=number: client(number), f"client-{number}", is_daemon=False)
        threads.sleep(5.0)
        result.extend([len(driver.open_connections), max(ended)])
        pool.close()

    threads.run(main)
    return int(result[0]), result[1]


def test_a_spike_of_short_holds_makes_at_most_two_connections_more() -> None:
    connections, took = spike(0.0)
    assert connections <= 7
    assert took < 0.05


def test_a_stall_makes_no_more_than_the_workers_can_begin_at_once_and_nobody_waits_for_those() -> None:
    """A stall looks like long holds; the queue is gone before what was begun then has connected."""
    for stall_s in (0.01, 0.02, 0.05, 0.1):
        connections, took = spike(stall_s)
        assert connections <= 5 + 3
        assert took < stall_s + 0.05
