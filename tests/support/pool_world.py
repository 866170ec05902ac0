"""A pool core, its clients, workers and time, driven by random steps; what must hold is checked after each."""

import random
import sys
from collections import Counter, deque
from itertools import accumulate
from typing import Any

from poolhouse.meter.meter import Meter
from poolhouse.pool.core import BROKEN, CALLBACKS, IDLE, IN_TRANSACTION, SLOW, PoolCore, Vet, Waiter
from poolhouse.pool.jobs import Close, Connect, Job, Lane, Probe, Return
from poolhouse.pool.options import PoolOptions
from poolhouse.pool.slot import TRANSITIONS, Lease, Slot, State

CODE = sys._getframe().f_code


class Conn:
    """A connection that knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False


class Leases(dict[int, Lease]):
    """The leases of a core, and a thread that takes a slot in the first instant in which it has none.

    `PoolCore.take` pops a hint and then claims the slot. The thread may sleep between the two while others take,
    return, reset or close the slot. It may also have looked at `attention` long ago.
    """

    def __init__(self, world: "World") -> None:
        super().__init__(world.core.leases)
        self._world = world
        #: What it got.
        self.taken: list[Conn] = []

    def pop(self, key: int, *default: Any) -> Any:
        """See `dict.pop`."""
        lease: Any = super().pop(key, *default)
        if lease is not None:
            self._take(lease[0])
        return lease

    def __delitem__(self, key: int) -> None:
        slot = self[key][0]
        super().__delitem__(key)
        self._take(slot)

    def _take(self, slot: Slot) -> None:
        world, core = self._world, self._world.core
        # Where `attention` is always true, nobody ever gets as far as a hint.
        if core._always or world.random.random() >= world.overtaking:
            return
        idle, core.idle = core.idle, deque([slot])
        attention, core.attention = core.attention, 0
        lease = core.take(world.now + 0.0, CODE, 0, False)
        idle.extendleft(core.idle)
        core.idle, core.attention = idle, attention
        if lease is not None:
            self.taken.append(lease[0].conn)


class World:
    """One core, and everybody who uses it, in one thread."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.meter = Meter()
        self.core = PoolCore(self._options(), self.meter, self.random.random)
        self.now = 1_000.0
        self.held: list[Any] = []
        self.queued: list[Waiter] = []
        self.vetting: list[Waiter] = []
        self.behind: list[Slot] = []
        self.running: list[Job] = []
        #: The last returns, each with what its client was to do itself.
        self.puts: deque[tuple[float, Job | None]] = deque(maxlen=3)
        self.known: dict[Slot, State] = {}
        self.is_down = False
        #: The leases of the blocks among those held, and the connections of those that are no more.
        self.blocks: dict[int, Lease] = {}
        self.lost: set[int] = set()
        #: How often a slot that nobody leases any more is taken before the step goes on.
        self.overtaking = self.random.choice([0.0, 0.02, 0.5])
        self.leases = self.core.leases = Leases(self)
        self.steps: Counter[str] = Counter()
        self._weights = list(accumulate(self._habits()))
        self.open()

    def _options(self) -> PoolOptions:
        pick = self.random.choice
        is_null = self.random.random() < 0.15
        is_caller = self.random.random() < 0.1
        min_size = 0 if is_null or is_caller else pick([0, 1, 2, 3])
        return PoolOptions(
            min_size=min_size,
            max_size=pick([0, 1, 3]) if is_null else max(1, min_size + pick([0, 0, 1, 3])),
            max_waiting=pick([0, 0, 2]),
            max_lifetime=pick([3600.0, 3600.0, 3600.0, 20.0, 0.5]),
            max_idle=pick([600.0, 5.0]),
            reconnect_timeout=pick([300.0, 4.0]),
            num_workers=pick([1, 3]),
            idle_order=pick(["fifo", "lifo"]),
            shrink=pick(["one", "all"]),
            has_check=self.random.random() < 0.3,
            has_reset=self.random.random() < 0.2,
            is_watched=self.random.random() < 0.3,
            hold_warning=pick([None, None, 3.0]),
            max_kept=0 if is_null else pick([None, None, 1]),
            connect_in_caller=is_null or is_caller,
        )

    def _habits(self) -> list[float]:
        """How often what happens in this world: each is different, so that in some of them nobody has to wait."""
        demand = self.random.choice([0.02, 0.1, 1.0])
        return [
            weight
            * self.random.choice([0.2, 1.0, 1.0, 3.0])
            * (demand if name in ("request", "enqueue_fast") else 1.0)
            for name, weight in self.STEPS
        ]

    def open(self) -> None:
        self.core.open(self.now)

    # -- Steps ------------------------------------------------------------------------------------------------

    STEPS = (
        ("fast_take", 20),
        ("fast_give", 20),
        ("request", 14),
        ("enqueue_fast", 8),
        ("finish_vetting", 16),
        ("put", 12),
        ("hand_to_next", 12),
        ("time_out", 3),
        ("leave_connect", 2),
        ("abandon", 2),
        ("begin_job", 24),
        ("finish_job", 24),
        ("pass_time", 10),
        ("drain", 0.3),
        ("resize", 0.5),
        ("check", 0.5),
        ("interrupt_take", 0.5),
        ("interrupt_give", 0.5),
        ("interrupt_put", 1),
        ("lose_block", 1),
        ("server", 0.5),
        ("close", 0.25),
    )
    NAMES = tuple(name for name, _ in STEPS)

    @property
    def is_over(self) -> bool:
        """Whether the pool is closed and empty: nothing can happen any more."""
        return self.core.was_closed and not (self.core.size or self.running or self.vetting or self.behind)

    def step(self) -> None:
        name = self.random.choices(self.NAMES, cum_weights=self._weights)[0]
        self.steps[name] += 1
        getattr(self, name)()
        self.settle()
        self.verify()

    def fast_take(self) -> None:
        stamp, is_block = self.now + 0.0, self.random.random() < 0.5
        if self.core.attention == CALLBACKS:
            assert self.core.take(stamp, CODE, 0, is_block) is None
            lease = self._checked(self.core.claim(stamp, CODE, 0, is_block))
        else:
            lease = self.core.take(stamp, CODE, 0, is_block)
        if lease is not None:
            self.hold(lease[0].conn)
            if lease[5]:
                self.blocks[lease[0].key] = lease

    def _checked(self, lease: Lease | None) -> Lease | None:
        """What a client does with what it has claimed."""
        if lease is None:
            return None
        slot = lease[0]
        if not self.core.options.checks_always:
            slot.takes += 1
        elif self.random.random() < 0.1:
            self.core.found_dead(slot, OSError("dead"), self.now)
            return None
        elif not self.core.passed(slot, lease[1], self.now):
            self.core.proven(slot, self.now)
        return lease

    def fast_give(self) -> None:
        if self.held:
            conn = self.random.choice(self.held)
            if self.core.attention == SLOW:
                return
            self.held.remove(conn)
            if self.core.give(self.core.leases.pop(id(conn)), self.now):
                if self.core.attention == SLOW:
                    self.core.attend(self.now)
            else:
                self.held.append(conn)

    def request(self) -> None:
        waiter = Waiter(lambda: None, CODE, 0, 1, self.now)
        is_answered = self.core.request(waiter, self.now, may_wait=self.random.random() < 0.9)
        self.place(waiter, is_answered)

    def enqueue_fast(self) -> None:
        waiter = Waiter(lambda: None, CODE, 0, 1, self.now)
        before = self._prospects()
        if self.core.enqueue_fast(waiter, self.now):
            self.queued.append(waiter)
            assert self._prospects() == before

    def _prospects(self) -> tuple[bool, float | None]:
        return self.core.has_job(Lane.CONNECT, self.now), self.core.next_deadline(self.now)

    def place(self, waiter: Waiter, is_answered: bool) -> None:
        if not is_answered:
            self.queued.append(waiter)
        elif waiter.slot is not None:
            self.vetting.append(waiter)

    def finish_vetting(self) -> None:
        if not self.vetting:
            return
        waiter = self.vetting.pop(self.random.randrange(len(self.vetting)))
        slot = waiter.slot
        assert slot is not None
        if slot.conn is None:
            self.finish_connect(slot, waiter)
            return
        if self.core.vet(slot, self.now) is Vet.NOTHING or self.random.random() < 0.6:
            self.core.proven(slot, self.now)
            self.core.accept(waiter, self.now)
            self.hold(slot.conn)
        elif self.random.random() < 0.3:
            self.behind.append(self.core.take_over(waiter, self.now))
        else:
            assert waiter.slot is not None
            self.core.found_dead(waiter.slot, OSError("dead"), self.now, waiter=waiter)
            is_answered = self.core.request(waiter, self.now, is_first=True)
            self.place(waiter, is_answered)

    def put(self) -> None:
        if self.held:
            conn = self.held.pop(self.random.randrange(len(self.held)))
            status = self.random.choice([IDLE, IDLE, IN_TRANSACTION, BROKEN])
            stamp = self.now + 0.0
            if status == IDLE and self.core.options.has_reset and self.random.random() < 0.5:
                lease = self.core.leases.get(id(conn))
                if lease is not None and self.core.put_to_reset(lease, stamp):
                    return
            job = self.core.put(conn, status, stamp, is_inline=self.random.random() < 0.3)
            self.puts.append((stamp, job))
            if isinstance(job, Close):
                job.conn.is_closed = True
            elif job is not None:
                self.running.append(job)

    def hand_to_next(self) -> None:
        if self.held:
            conn = self.random.choice(self.held)
            first = next(iter(self.core.waiters), None)
            waiter = self.core.hand_to_next(conn, self.now)
            if waiter is not None:
                assert waiter is first
                self.held.remove(conn)
                self.core.woken.append(waiter)

    def leave_connect(self) -> None:
        """A client that connects by itself has no time left; mostly somebody goes on connecting for it."""
        connecting = [waiter for waiter in self.vetting if waiter.slot is not None and waiter.slot.conn is None]
        if connecting:
            waiter = self.random.choice(connecting)
            slot, is_begun = waiter.slot, self.random.random() < 0.8
            assert self.core.leave_connect(waiter, self.now, is_begun=is_begun)
            self.vetting.remove(waiter)
            if is_begun:
                self.running.append(Connect(slot))

    def time_out(self) -> None:
        if self.queued:
            waiter = self.random.choice(self.queued)
            if self.core.time_out(waiter, self.now):
                self.queued.remove(waiter)

    def abandon(self) -> None:
        for waiters in (self.queued, self.vetting):
            if waiters and self.random.random() < 0.5:
                waiter = waiters.pop(self.random.randrange(len(waiters)))
                slot = waiter.slot
                self.core.abandon(waiter, self.now)
                if slot is not None and slot.conn is None and self.random.random() < 0.5:
                    self.running.append(Connect(slot))  # Somebody goes on connecting for it.

    def begin_job(self) -> None:
        lane = self.random.choice(list(Lane))
        if sum(isinstance(job, (Connect, Probe)) for job in self.running) >= self.core.options.num_workers:
            lane = Lane.RETURN
        has_job = self.core.has_job(lane, self.now)
        job = self.core.next_job(lane, self.now)
        assert (job is not None) == has_job
        if job is not None:
            self.running.append(job)

    def finish_job(self) -> None:
        if self.behind:
            self.core.probed(self.behind.pop(), self.random.random() < 0.5, self.now)
        if not self.running:
            return
        job = self.running.pop(self.random.randrange(len(self.running)))
        if isinstance(job, Connect):
            self.finish_connect(job.slot, None)
        elif isinstance(job, Return):
            self.core.returned(job.slot, self.random.random() < 0.9, self.now)
        elif isinstance(job, Probe):
            self.core.probed(job.slot, self.random.random() < 0.7, self.now)
        elif isinstance(job, Close):
            assert not job.conn.is_closed, "closed twice"
            job.conn.is_closed = True

    def finish_connect(self, slot: Slot, waiter: Waiter | None) -> None:
        if self.is_down or self.random.random() < 0.05:
            if waiter is not None:
                waiter.slot = None
            self.core.connect_failed(slot, OSError("down"), self.now)
            return
        conn = Conn()
        close = self.core.connected(slot, conn, self.random.random(), self.now, waiter)
        if close is not None:
            conn.is_closed = True
        elif waiter is not None:
            self.core.accept(waiter, self.now)
            self.hold(conn)

    def pass_time(self) -> None:
        self.now += self.random.choice([0.0001, 0.0001, 0.05, 0.05, 0.6, 2.0, 30.0])
        deadline = self.core.next_deadline(self.now)
        is_looking = self.core.is_open and self.now >= self.core._look_for_abandoned_at
        self.core.tick(self.now)
        if is_looking:
            assert not any(self._is_leased(key) for key in self.lost), (
                "a block is no more, and yet it has a connection"
            )
        assert deadline is None or deadline > 0

    def _is_leased(self, key: int) -> bool:
        lease = self.core.leases.get(key)
        return lease is not None and lease[2] is not None

    def drain(self) -> None:
        self.core.drain(self.now)

    def resize(self) -> None:
        if not self.core.options.connect_in_caller:
            min_size = self.random.choice([0, 1, 3])
            self.core.resize(min_size, max(1, min_size + self.random.choice([0, 2])), self.now)

    def check(self) -> None:
        slot = self.core.claim_for_check(set(), self.now)
        if slot is not None:
            self.behind.append(slot)

    def interrupt_take(self) -> None:
        """An exception between popping a hint and the return of `take`, at one of three points."""
        if self.core.attention == SLOW or not self.core.idle:
            return
        stamp = self.now + 0.0
        point = self.random.randrange(3)
        slot = self.core.idle.popleft()
        if point >= 1:
            lease = (slot, stamp, CODE, 0, None, False)
            if self.core.leases.setdefault(slot.key, lease) is not lease:
                return
        self.core.interrupted_take(stamp, self.now)

    def interrupt_give(self) -> None:
        if not self.held:
            return
        conn = self.held.pop()
        lease = self.core.leases[id(conn)]
        if self.random.random() < 0.5:
            self.core.leases.pop(id(conn))
        self.core.interrupted_give(conn, lease, self.now)

    def interrupt_put(self) -> None:
        """An exception ends one of the last returns, after the core was told of it and perhaps long after."""
        if self.puts:
            stamp, job = self.puts.pop()
            self.running = [each for each in self.running if each is not job]
            self.core.interrupted_work(stamp, self.now)

    def lose_block(self) -> None:
        """A block is dropped that will never be left."""
        leases = self.core.leases
        self.blocks = {key: lease for key, lease in self.blocks.items() if leases.get(key) is lease}
        held = [conn for conn in self.held if id(conn) in self.blocks]
        if held:
            conn = self.random.choice(held)
            self.held.remove(conn)
            self.lost.add(id(conn))
            del self.blocks[id(conn)]

    def server(self) -> None:
        self.is_down = not self.is_down and self.random.random() < 0.3

    def close(self) -> None:
        self.core.close(self.now)

    def hold(self, conn: Conn) -> None:
        assert conn not in self.held, "one connection for two clients"
        assert not conn.is_closed, "a closed connection was served"
        self.held.append(conn)

    def settle(self) -> None:
        """What a shell does after each call."""
        while self.leases.taken:
            self.hold(self.leases.taken.pop())
        woken, self.core.woken = self.core.woken, []
        for waiter in woken:
            self.queued.remove(waiter)
            assert (waiter.slot is None) != (waiter.refusal is None)
            if waiter.slot is not None:
                self.vetting.append(waiter)
        self.core.notices.clear()

    # -- What must hold ---------------------------------------------------------------------------------------

    def verify(self) -> None:
        core = self.core
        states = {slot: core.state_of(slot) for slot in [*core.slots.values(), *core.connecting]}
        for slot, state in self.known.items():
            now = states.get(slot, State.CLOSED)
            # A step may be two transitions (returned and taken at once, probed and expired): each pair of them.
            assert (
                now is state
                or now in TRANSITIONS[state]
                or any(now in TRANSITIONS[via] for via in TRANSITIONS[state])
            ), f"{slot} went from {state} to {now}"
        self.known = states
        found = list(states.values())
        idle = found.count(State.IDLE)
        assert found.count(State.LEASED) == core.used
        assert idle == core.free
        assert found.count(State.WORKING) == len(core.working)
        assert core.size == core.used + core.free + len(core.working) + len(core.connecting)
        assert {slot for slot, state in states.items() if state is State.WORKING} == core.working
        assert set(core.leases) <= set(core.slots)
        hints = set(core.idle)
        for slot, state in states.items():
            if state is State.IDLE:
                assert slot in hints, "a free slot that nobody will find"
        self.lost = {key for key in self.lost if self._is_leased(key)}
        leased = {id(conn) for conn in self.held} | self.lost
        leased |= {w.slot.key for w in self.vetting if w.slot is not None and w.slot.conn is not None}
        assert leased == {key for key, lease in core.leases.items() if lease[2] is not None}
        assert not (core.waiters and idle), "a client waits beside a free connection"
        assert list(core.waiters) == [w for w in core.waiters if w in self.queued]
        assert len(core.waiters) == len(self.queued)
        if not core.is_open:
            assert not core.waiters
            assert not idle
        if core.max_size and core.size > core.max_size:
            assert not idle, "too large, and yet something is free"
        owned = [job.slot for job in self.running if isinstance(job, (Connect, Return, Probe))] + self.behind
        assert len(owned) == len(set(owned)), "two workers on one connection"
        if core.options.connect_in_caller and core.waiters:
            assert 0 < core.max_size <= core.size, "a client waits though it might connect"
        connecting = [job.slot for job in self.running if isinstance(job, Connect)]
        connecting += [
            waiter.slot for waiter in self.vetting if waiter.slot is not None and waiter.slot.conn is None
        ]
        assert core.connecting == {slot for slot in connecting if not slot.is_closed}, "nobody connects for it"
        assert core.worked_on == {slot for slot in owned if slot in core.working}
        for slot, state in states.items():
            if state is State.IDLE:
                assert slot.generation == core.generation, "drained, and yet free"
        if core.max_kept is not None and not core.waiters and core.options.connect_in_caller:
            assert idle <= core.max_kept, "more is kept than may be"
        unproven = {slot for slot in core.slots.values() if slot.proven_at < core._suspect_before}
        assert core.suspects == unproven
        assert not any(states[slot] is State.IDLE for slot in unproven), "suspect, and nobody probes it"
        attention = core.attention
        core._attend()
        assert core.attention == SLOW or attention != SLOW, "off the fast path for no reason"
        if core.attention != SLOW:
            options = core.options
            has_calls = options.is_watched or options.checks_always or options.has_reset
            assert core.attention == (CALLBACKS if has_calls else 0)
            assert not core.waiters
            assert core.is_open
            assert not unproven
            assert not core.max_size or core.size <= core.max_size
            assert all(slot.generation == core.generation for slot in core.slots.values())


def run(seed: int, steps: int) -> World:
    """A world after `steps` steps; where one is over another begins."""
    world = World(seed)
    for _ in range(steps):
        if world.is_over:
            done, world = world.steps, World(world.random.getrandbits(32))
            world.steps = done
        world.step()
    return world
