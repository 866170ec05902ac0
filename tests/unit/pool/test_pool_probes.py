"""Connections that are suspect and never answer: what waits behind the question whether they are alive."""

import pytest

from poolhouse.pool import ConnectionPool
from poolhouse.testing import Does, FakeConnection, FakeDriver, FakeError, VirtualClock, VirtualThreads

CONNECT_S = 0.02


@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_client_is_connected_for_before_workers_wait_for_connections_that_never_answer(num_workers: int) -> None:
    """A failover: the old sessions are gone without a word, the new server accepts."""
    threads = VirtualThreads(VirtualClock(), 1)
    driver = FakeDriver(threads.sleep, threads.parker, slow_s=CONNECT_S)
    waited: list[float] = []

    def check(conn: FakeConnection) -> None:
        if conn.number == 1:
            raise FakeError("it is dead, and said so")

    def main() -> None:
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver,
            clock=threads.clock,
            threads=threads,
            min_size=4,
            num_workers=num_workers,
            check=check,
            open=True,
        )
        pool.wait()
        threads.sleep(1.0)
        driver.always("probe", Does.NEVER)
        driver.always("connect", Does.SLOW)
        began = threads.clock.monotonic()
        with pool.connection() as conn:
            waited.append(threads.clock.monotonic() - began)
            assert conn.number == 5
        pool.close()

    threads.run(main)
    assert waited == [pytest.approx(CONNECT_S)]
