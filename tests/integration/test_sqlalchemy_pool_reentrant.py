"""`FairQueuePool` used by a finalizer or a signal's handler while its own thread is in the middle of the pool."""

import itertools
import os
import signal
import threading
from time import monotonic
from typing import Any

import pytest

from poolhouse.pool.sqlalchemy import FairQueuePool, FairQueueTimeout
from poolhouse.pool.waiter import Waiter
from support.opcodes import AtOpcode

#: All that runs between SQLAlchemy's `connect` and its return.
MODULES = (
    "sqlalchemy", "sqlalchemy_lock", "sqlalchemy_waiting", "core_lock",
    "fast_path", "recovery", "state", "requests", "maintenance", "core",
)  # fmt: skip


class Server:
    """Makes connections that do nothing, and counts them."""

    def __init__(self) -> None:
        self.open = self.most = 0

    def connect(self) -> "Connection":
        self.open += 1
        self.most = max(self.most, self.open)
        return Connection(self)


class Connection:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._is_open = True

    def close(self) -> None:
        self._server.open -= self._is_open
        self._is_open = False

    def commit(self) -> None:
        pass

    rollback = commit


class World:
    """A pool, and what interrupts it."""

    def __init__(self, pool_size: int, max_overflow: int) -> None:
        self.server = Server()
        #: Without a limit: more than are ever needed here.
        self.limit = pool_size + max_overflow if pool_size else 10
        self.pool = FairQueuePool(
            self.server.connect, pool_size=pool_size, max_overflow=max_overflow, timeout=0, reset_on_return=None
        )
        self.kept: list[Any] = []
        self.refusals: list[FairQueueTimeout] = []

    def use(self) -> None:
        """Take a connection and give it back."""
        try:
            self.pool.connect().close()
        except FairQueueTimeout as refusal:
            self.refusals.append(refusal)

    def use_twice(self) -> None:
        """As two signals in one critical section do."""
        self.use()
        self.use()

    def keep(self) -> None:
        """Take a connection that is given back when the interrupted call has ended."""
        try:
            self.kept.append(self.pool.connect())
        except FairQueueTimeout as refusal:
            self.refusals.append(refusal)

    def give_back(self) -> None:
        """Give back, in the interruption, what was taken before."""
        self.kept.pop().close()

    def dispose(self) -> None:
        """What a handler of SIGTERM does."""
        self.pool.dispose()

    def end(self) -> None:
        """Nothing is lost, and nothing was too much."""
        while self.kept:
            self.kept.pop().close()
        pool, server = self.pool, self.server
        assert (pool.checkedout(), pool.waiting()) == (0, 0)
        assert server.open == pool.checkedin() <= (pool.size() or self.limit)
        assert server.most <= self.limit
        held = [pool.connect() for _ in range(self.limit)]
        assert pool.checkedout() == self.limit
        for conn in held:
            conn.close()


def is_interrupted(world: World, act: str, at: int) -> bool:
    """Whether a checkout and a checkin have so many opcodes; in the middle of them, `act` was done."""
    with AtOpcode(at, getattr(world, act), modules=MODULES) as interruption:
        world.use()
    world.end()
    return interruption.has_acted


ACTS = ["use", "use_twice", "keep", "give_back", "dispose"]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("limits", [(1, 1), (0, 0)], ids=["1+1", "no limit"])
def test_whatever_interrupts_the_pool_at_any_opcode_is_served_and_nothing_is_lost(
    limits: tuple[int, int], act: str
) -> None:
    """peewee#3047, sentry-python#803: a thread that waits for a lock which it holds itself."""
    for at in itertools.count():
        world = World(*limits)
        if act == "give_back":
            world.kept.append(world.pool.connect())
        is_last = not is_interrupted(world, act, at)
        # There is room for the interrupted call and for one more.
        assert not world.refusals, at
        if is_last:
            break
    assert at > 100


@pytest.mark.parametrize("act", ["use", "keep"])
def test_where_there_is_no_room_it_is_refused_at_once_and_told_why(act: str) -> None:
    refusals: list[FairQueueTimeout] = []
    for at in itertools.count():
        world = World(1, 0)
        is_last = not is_interrupted(world, act, at)
        refusals += world.refusals
        if is_last:
            break
    within = [
        str(refusal) for refusal in refusals if "in the middle of a call of the pool cannot wait" in str(refusal)
    ]
    assert within
    assert all(text.startswith("FairQueuePool limit of size 1 overflow 0 reached") for text in within)


@pytest.mark.parametrize("act", ["use", "use_twice", "dispose"])
def test_a_client_that_waits_is_served_whatever_interrupts_the_return(act: str) -> None:
    """The connection goes to it, or is taken by what interrupts and goes to it then."""
    for at in itertools.count():
        world = World(1, 0)
        pool, held, wakes = world.pool, world.pool.connect(), []
        waiter = Waiter(lambda: wakes.append(None), held.close.__code__, 0, None, monotonic())  # noqa: B023
        assert not pool._lock(pool._core.request, waiter, waiter.since)
        with AtOpcode(at, getattr(world, act), modules=MODULES) as interruption:
            held.close()
        assert waiter.slot is not None, at
        assert wakes, at
        pool._core.accept(waiter, monotonic())
        pool._do_return_conn(waiter.slot.conn)
        world.end()
        if not interruption.has_acted:
            break
    assert at > 50


def test_the_signals_of_a_real_timer_are_served() -> None:
    """A handler that uses the pool every 0.2 ms while the thread it interrupts does nothing else."""
    world = World(1, 3)
    calls: list[int] = []

    def handle(*_: object) -> None:
        world.use()
        calls.append(1)
        if len(calls) < 500:
            signal.setitimer(signal.ITIMER_REAL, 0.0002)

    # At the first connect SQLAlchemy 1.4 changes its own list of listeners, where a handler may not come between.
    world.use()
    before = signal.signal(signal.SIGALRM, handle)
    watch = threading.Timer(60, os._exit, [1])
    watch.start()
    signal.setitimer(signal.ITIMER_REAL, 0.0002)
    try:
        while len(calls) < 500:
            held = [world.pool.connect() for _ in range(3)]
            for conn in held:
                conn.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        watch.cancel()
    assert not world.refusals
    world.end()
