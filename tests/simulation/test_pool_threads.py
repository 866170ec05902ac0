"""The pool for threads under schedules that seeds decide, in virtual time."""

import os
import random

import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool import ConnectionPool
from poolhouse.pool.slot import State
from poolhouse.testing import Does, FakeConnection, FakeDriver, FakeError, VirtualClock, VirtualThreads
from support.pool_cases import OWN, TIMED, TIMELESS
from support.pool_shells import Case, ThreadShell

STEPS = int(os.environ.get("POOLHOUSE_SIMULATION_STEPS", "50000"))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("case", TIMELESS + TIMED + OWN, ids=lambda case: case.__name__)
def test_whatever_the_schedule(case: Case, seed: int) -> None:
    ThreadShell(seed).run(case)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(max(1, STEPS // 2500)))
def test_random_clients_on_a_failing_server_lose_nothing(seed: int) -> None:
    """Every request is served or refused, and refused only by those who would not wait for long.

    A client may stay unserved for all its requests: if each of them waits 10 ms at most and finds seven others in
    front of it, or the server down. One that would wait for a second outlasts both.
    """
    randomness = random.Random(seed)
    random.seed(seed)  # The pool's own jitter.
    threads = VirtualThreads(VirtualClock(), seed)
    driver = FakeDriver(threads.sleep, threads.parker, slow_s=0.005)
    held: set[FakeConnection] = set()
    served: list[int] = []
    refused: list[int] = []

    def check(conn: FakeConnection) -> None:
        threads.sleep(0.0)
        if conn.is_dead:
            raise FakeError("dead")

    def client(pool: ConnectionPool[FakeConnection], number: int) -> None:
        for _ in range(20):
            timeout = randomness.choice([0, 0.01, 1.0])
            try:
                with pool.connection(timeout) as conn:
                    assert conn not in held, "one connection for two clients"
                    served.append(number)
                    held.add(conn)
                    try:
                        if randomness.random() < 0.5:
                            conn.begin()
                        threads.sleep(randomness.choice([0.0, 0.001, 0.02]))
                        conn.is_dead = randomness.random() < 0.05
                    finally:
                        held.discard(conn)
            except PoolTimeout:
                assert timeout < 1.0, "somebody was overtaken, or not woken"
                assert not pool._core.free, "refused beside a free connection"
                refused.append(number)
                threads.sleep(0.001)
            except FakeError:
                threads.sleep(0.001)  # The end of the transaction failed.

    def main() -> None:
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver,
            clock=threads.clock,
            threads=threads,
            open=True,
            min_size=randomness.choice([1, 2]),
            max_size=3,
            check=randomness.choice([None, check]),
            reset=randomness.choice([None, lambda conn: threads.sleep(0.0)]),
            reset_inline=randomness.random() < 0.5,
        )
        for number in range(8):
            threads.start(lambda number=number: client(pool, number), f"client-{number}", is_daemon=False)
        for _ in range(30):
            for call in ("connect", "commit", "rollback", "probe"):
                driver.always(call, randomness.choice([Does.OK, Does.OK, Does.OK, Does.SLOW, Does.ERR]))
            if randomness.random() < 0.1:
                pool.drain()
            threads.sleep(0.01)
        for call in ("connect", "commit", "rollback", "probe"):
            driver.always(call, Does.OK)
        threads.sleep(60.0)
        core = pool._core
        assert {core.state_of(slot) for slot in core.slots.values()} <= {State.IDLE}
        assert not core.waiters
        assert not driver.overlaps
        assert {id(conn) for conn in driver.open_connections} == set(core.slots)
        pool.close()
        assert not driver.open_connections

    threads.run(main)
    assert all(served.count(number) + refused.count(number) == 20 for number in range(8))
