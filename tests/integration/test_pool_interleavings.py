"""One thread stops before each opcode of taking and giving back while another does something whole.

Where a thread may be stopped, and another go on, is everywhere but in the lock; whoever is stopped before he has
looked at something finds it changed.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from poolhouse.errors import PoolError
from poolhouse.pool.jobs import Job, Lane
from poolhouse.pool.slot import State
from poolhouse.pool.sync import ConnectionPool
from poolhouse.pool.threads import LockParker, Parker
from poolhouse.pool.waiter import Waiter
from support.opcodes import AtOpcode
from support.pool_shells import sync_connection_class

HERE = (lambda: None).__code__


class _Clock:
    """Stands still, but each reading is an object of its own, as the real one's."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time + 0.0

    def wall_time(self) -> float:
        return self.time


class _NoThreads:
    """No worker ever comes: what a pool leaves to workers, `World.work` does."""

    def start(self, target: Callable[[], None], name: str) -> None:
        """Not now."""

    def parker(self) -> Parker:
        return LockParker()


class World:
    """A pool, and who has which of its connections."""

    def __init__(self, size: int = 2, **parameters: Any) -> None:
        self.clock = _Clock()
        self.connection_class = sync_connection_class(lambda seconds: None)
        self.pool: ConnectionPool[Any] = ConnectionPool(
            connection_class=self.connection_class,
            min_size=size,
            clock=self.clock,
            threads=_NoThreads(),
            open=True,
            **parameters,
        )
        self.core = self.pool._core
        self._is_locked: Callable[[], bool] = self.pool._core_lock.lock._is_owned  # type: ignore[attr-defined]
        #: What clients have got and not given back.
        self.held: list[Any] = []
        self.waiters: list[Waiter] = []
        #: Clients that sleep in the middle of a checkout.
        self.sleepers: list[Sleeper] = []
        #: What a worker has begun and not ended.
        self.begun: list[Job] = []
        self.taken = self.given = self.under_way = 0
        #: The most that were held at a time, or were being taken or given back.
        self.peak = 0
        self.work()

    def work(self) -> None:
        """What workers and keeper would do now."""
        core_lock, core = self.pool._core_lock, self.core
        while self.begun:
            self.pool._work.perform(self.begun.pop())
        is_done = False
        while not is_done:
            is_done = True
            for lane in Lane:
                while (job := core_lock(core.next_job, lane, self.clock.time)) is not None:
                    self.pool._work.perform(job)
                    is_done = False

    def begin_work(self) -> None:
        """A worker has begun with what came back."""
        job = self.pool._core_lock(self.core.next_job, Lane.RETURN, self.clock.time)
        assert job is not None
        self.begun.append(job)

    def is_free(self) -> bool:
        """Whether this thread may be stopped: nobody can do anything while it has the lock."""
        return not self._is_locked()

    # -- What clients do ----------------------------------------------------------------------------------------

    def take(self) -> None:
        self._begin()
        with suppress(PoolError):
            self._got(self.pool.getconn(timeout=0))
        self.under_way -= 1

    def give(self) -> None:
        """Give back what was taken first."""
        conn = self.held.pop(0)
        self.under_way += 1
        self.pool.putconn(conn)
        self.under_way -= 1
        self.given += 1

    def give_in_transaction(self) -> None:
        self.held[0].begin()
        self.give()

    def use(self) -> None:
        self.take()
        if self.held:
            self.give()

    def block(self) -> None:
        self._begin()
        with suppress(PoolError):
            with self.pool.connection(timeout=0) as conn:
                self._got(conn)
                self.held.remove(conn)
            self.given += 1
        self.under_way -= 1

    def queue(self) -> None:
        """A client waits in line, should there be nothing for it."""
        waiter = Waiter(lambda: None, HERE, 0, 0, self.clock.monotonic())
        self._begin()
        self.pool._core_lock(self.core.request, waiter, self.clock.monotonic())
        self.waiters.append(waiter)

    def wake(self) -> None:
        """Who sleeps in the middle of a checkout goes on."""
        while self.sleepers:
            self.sleepers.pop().wake()

    def _begin(self) -> None:
        self.under_way += 1
        self.peak = max(self.peak, len(self.held) + self.under_way)

    def _got(self, conn: Any) -> None:
        assert not conn.closed, "served closed"
        assert all(conn is not other for other in self.held), "served twice"
        self.held.append(conn)
        self.taken += 1

    # -- What else happens --------------------------------------------------------------------------------------

    def close(self) -> None:
        self.pool.close(timeout=0)

    def drain(self) -> None:
        self.pool.drain()

    def drain_and_work(self) -> None:
        self.pool.drain()
        self.work()

    def shrink(self) -> None:
        self.pool.resize(1, 1)

    def expire(self) -> None:
        self.clock.time += 2 * 60 * 60.0
        self.pool._core_lock(self.core.tick, self.clock.time)

    def be_late(self) -> None:
        """So late that what is idle must be looked at."""
        self.clock.time += 60.0

    def check(self) -> None:
        self.pool.check()

    def recover(self) -> None:
        """Another thread is interrupted in a checkout, and in a return."""
        self.pool._undo_take(self.clock.monotonic())
        self.pool._undo_give(object(), None)

    def lose(self) -> None:
        """A connection of another client turns out to be dead: all others are suspect."""
        self.pool._core_lock(self.core.reclaim, self.clock.monotonic())
        if (slot := self.pool._core_lock(self.core.claim_for_check, set(), self.clock.monotonic())) is not None:
            self.pool._core_lock(self.core.probed, slot, False, self.clock.monotonic())

    # -- What must be true --------------------------------------------------------------------------------------

    def verify(self) -> None:
        """When all calls are over."""
        core = self.core
        self.work()
        for waiter in self.waiters:
            self.under_way -= waiter.is_answered
            if waiter.slot is not None:
                core.accept(waiter, self.clock.monotonic())
                self._got(waiter.slot.conn)
        self.waiters = [waiter for waiter in self.waiters if not waiter.is_answered]
        leased = [slot.conn for slot in core.slots.values() if core.state_of(slot) is State.LEASED]
        assert {id(conn) for conn in leased} == {id(conn) for conn in self.held}, f"{leased} {self.held}"
        assert set(core.leases) == set(map(id, self.held)), f"leases {core.leases}"
        idle = [slot for slot in core.slots.values() if core.state_of(slot) is State.IDLE]
        assert set(idle) <= set(core.idle), f"no hint for one of {idle}"
        assert not (idle and self.waiters), f"{self.waiters} wait while {idle} are free"
        assert core.is_open or not idle, f"{idle} stay open"
        is_open = [conn for conn in self.connection_class.made if not conn.closed]
        assert {id(conn) for conn in is_open} == set(core.slots), f"open {is_open}"
        assert len(core.slots) <= max(core.max_size, len(self.held))
        totals = self.pool.meter.totals()
        assert totals.checkouts == self.taken, f"{totals.checkouts} checkouts are {self.taken}"
        assert totals.use.count == self.given, f"{totals.use.count} uses are {self.given}"
        assert self.pool.meter.used.highest() <= self.peak, f"{self.pool.meter.used.highest()} > {self.peak}"

    def finish(self) -> None:
        """Everything comes back, and everything can be taken again."""
        self.verify()
        while self.held:
            self.give()
            self.verify()
        if self.core.is_open:
            for number in range(self.core.max_size):
                self.take()
                assert len(self.held) == number + 1, f"{self.pool} has lost a connection"
            self.verify()


Step = Callable[[World], object]

SECOND: list[Step] = [
    World.take,
    World.give,
    World.use,
    World.block,
    World.queue,
    World.close,
    World.drain,
    World.drain_and_work,
    World.shrink,
    World.expire,
    World.check,
    World.recover,
    World.lose,
]


def _name(step: Step) -> str:
    return getattr(step, "__name__", str(step))


def _everywhere(begin: Callable[[], World], first: Step, second: Step) -> int:
    """Let `second` happen at each opcode of `first`; how many there are."""
    for at in range(10_000):
        world = begin()
        stop = AtOpcode(at, partial(second, world), world.is_free)
        try:
            with stop:
                first(world)
            if not stop.has_acted:
                second(world)
            world.finish()
        except Exception as error:
            raise AssertionError(f"{_name(second)} before opcode {at} of {_name(first)}: {error}") from error
        if not stop.has_acted:
            return at
    raise AssertionError("it never ends")


@pytest.mark.parametrize("second", SECOND, ids=_name)
@pytest.mark.parametrize(
    ("first", "is_late"),
    [
        (World.take, False),
        (World.take, True),
        (World.block, False),
        (World.give, False),
        (World.give_in_transaction, False),
    ],
)
def test_whatever_another_thread_does_in_the_middle_of_a_call_nothing_is_lost_or_had_twice(
    first: Step, second: Step, is_late: bool
) -> None:
    def begin() -> World:
        world = World()
        world.take()
        if second is World.give and first in (World.give, World.give_in_transaction):
            world.take()
        if is_late:
            world.be_late()
        return world

    assert _everywhere(begin, first, second) > 20


class Sleeper:
    """A client that has popped a hint, the only one, and sleeps before it looks whether the slot is free."""

    def __init__(self, world: World) -> None:
        self._asleep, self._awake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._take, args=(world,), daemon=True)
        self._thread.start()
        assert self._asleep.wait(10)

    def _take(self, world: World) -> None:
        with AtOpcode(0, self._sleep, lambda: not world.core.idle):
            world.take()

    def _sleep(self) -> None:
        self._asleep.set()
        assert self._awake.wait(10)

    def wake(self) -> None:
        """Let it go on, and wait until it has what it gets."""
        self._awake.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


def _with_sleeper() -> World:
    """The only connection has been checked since somebody popped its hint, and then been taken."""
    world = World(size=1)
    world.sleepers.append(Sleeper(world))
    world.check()
    world.take()
    return world


@pytest.mark.parametrize(
    "meanwhile",
    [
        (),
        (World.close,),
        (World.drain,),
        (World.drain_and_work,),
        (World.expire,),
        (World.recover,),
        (World.queue,),
    ],
    ids=lambda steps: "-".join(map(_name, steps)) or "nothing",
)
@pytest.mark.parametrize(
    ("first", "is_late"), [(World.give, False), (World.give, True), (World.give_in_transaction, False)]
)
def test_who_has_slept_with_an_old_hint_takes_nothing_that_is_not_free(
    first: Step, meanwhile: tuple[Step, ...], is_late: bool
) -> None:
    def begin() -> World:
        world = _with_sleeper()
        if is_late:
            world.be_late()
        return world

    def second(world: World) -> None:
        for step in meanwhile:
            step(world)
        world.wake()

    assert _everywhere(begin, first, second) > 20


@pytest.mark.parametrize("meanwhile", [World.wake, World.recover, World.take, World.check], ids=_name)
def test_what_the_pool_works_on_is_served_to_nobody_though_it_is_given_back_again(meanwhile: Step) -> None:
    """By mistake: its client has given it back, and a worker makes it fit for the next."""

    def begin() -> World:
        world = _with_sleeper()
        conn = world.held[0]
        world.give_in_transaction()
        world.begin_work()
        conn.pgconn.transaction_status = 0  # It is rolled back, and not yet reset.
        return world

    def give_again(world: World) -> None:
        # Who comes in the instant in which the lease is away may hide the mistake, not more.
        with suppress(ValueError):
            world.pool.putconn(world.connection_class.made[0])

    def second(world: World) -> None:
        world.wake()
        meanwhile(world)
        assert not world.held, "served while a worker has it"

    assert _everywhere(begin, give_again, second) > 20
