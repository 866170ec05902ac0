"""The pool itself: who has which connection, who waits, what is to be done. No clock, lock, thread or I/O.

Time comes in with each call, in monotonic nanoseconds; connections come in when the shell has made them; jobs go
out (`next_job`), and so do the waiters to wake (`woken`) and what is to be told (`notices`).

Who owns a slot
    Whoever's lease stands in `leases` under the slot's key, and nobody else. A lease gets there by
    ``dict.setdefault`` and leaves by ``dict.pop``: one operation each, which only one of many threads wins.
    The deque `idle` holds hints where a free slot may be found; a hint may be stale, so whoever pops one claims
    the slot before he touches it, and drops or puts back the hint if he cannot.

Rules
    1. Two stores, two looks. A taker that must wait stores its waiter, sets `attention`, then pops `idle` once
       more; a returner appends to `idle`, then looks at `attention`. One of them sees the other.
    2. `attention` is true while somebody must look further than the fast path does: while clients wait, the pool
       is not open, is larger than it may be, drains, or has suspects; always, where a policy needs it (null
       pools, callbacks).
    3. A slot belongs to its owner: all that happens to it between claim and append is his.
    4. Waiters are served strictly in the order in which they came. Against them, a newcomer that had looked at
       `attention` before they came may overtake once.
    5. Whatever takes time (connecting, checking, resetting, closing, callbacks) is a job, or the owner's own work.
    6. An exception can be raised at any instruction of the caller's thread. `interrupted_take` and
       `interrupted_give` put right whatever state it leaves behind.

Invariants, when no call is in progress (the simulation checks them after every step)
    a. Each slot is in exactly one state of `slot.State`; each free one has a hint.
    b. ``size`` ≤ ``max_size`` unless a resize has just made it smaller, and then it only falls.
    c. ``used`` + ``idle`` + ``working`` + ``connecting`` = ``size``.
    d. Clients do not wait while a slot is free.
    e. A pool that is not open has neither waiters nor free connections.

What the shell owes
    - One lock around every method but `take`, `give`, `vet` and the properties; asyncio needs none.
    - After each such call: wake `woken`, tell `notices`, and see that somebody asks `next_job` of both lanes.
    - A call of `tick` at `next_deadline`, or later.
    - `interrupted_take` or `abandon`, and `interrupted_give`, for whatever exception ends a checkout or a return.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from types import CodeType
from typing import Any, NamedTuple, TypeAlias

from poolhouse.meter.meter import BATCH, HighWater, Meter
from poolhouse.meter.reading import Gauges, Limits, Mark
from poolhouse.pool.backoff import FIRST_PAUSE, Outage
from poolhouse.pool.growth import connects_for, review_at
from poolhouse.pool.holders import Holder, holders_of
from poolhouse.pool.jobs import Close, Connect, Job, Lane, Probe, Reason, ReconnectFailed, Return
from poolhouse.pool.options import FOREVER, PoolOptions, nanoseconds
from poolhouse.pool.slot import Lease, Slot, State
from poolhouse.pool.stats import Counts

CONNECT, RETURN = Lane.CONNECT, Lane.RETURN
#: How many of the last uses tell how long clients keep connections.
RECENT_USES = 64

#: The states of a connection as `PoolCore.put` takes them; libpq's numbers.
IDLE, ACTIVE, IN_TRANSACTION, IN_ERROR, BROKEN = range(5)
#: Of a driver that cannot tell whether a transaction is open: there may be one until it was rolled back.
UNTOLD = 5


class Vet(Enum):
    """What the owner of a slot has to do before it may be used."""

    NOTHING = "nothing"
    #: Look at the socket, without a round trip.
    LOOK = "look"
    #: Call the `check` callback.
    CHECK = "check"
    #: Ask the server: an older sister of the connection was found dead.
    PROBE = "probe"


class Refusal(Enum):
    """Why a request gets neither a connection nor a place in the queue."""

    NOT_OPEN = "not open yet"
    CLOSED = "closed"
    FULL = "too many waiting"
    EMPTY = "nothing idle"


class Waiter:
    """A client that asks for a connection through the slow path.

    Attributes:
        wake: Called by the shell when `slot` or `refusal` has been set while it waited.
        code: Call site: the code object,
        instruction: and the offset of the instruction in it.
        holder: The thread's number, or the task; for the warning of long holds.
        since: When it asked, in monotonic nanoseconds.
        queued_at: When it last entered the queue; 0 if it never did.
        slot: What it has been given. Its ``conn`` is ``None`` if the client is to connect by itself.
        refusal: Why it will be given nothing.
    """

    __slots__ = ("code", "holder", "instruction", "queued_at", "refusal", "since", "slot", "wake")

    def __init__(
        self, wake: Callable[[], object], code: CodeType, instruction: int, holder: Any, since: int
    ) -> None:
        self.wake = wake
        self.code = code
        self.instruction = instruction
        self.holder = holder
        self.since = since
        self.slot: Slot | None = None
        self.refusal: Refusal | None = None
        self.queued_at = 0


class HeldLong(NamedTuple):
    """A client has had a connection for longer than `hold_warning`."""

    lease: Lease
    held: int


class ReturnedAfterAll(NamedTuple):
    """A connection of which `HeldLong` told has come back."""

    lease: Lease
    held: int


#: The pool has its `min_size` connections for the first time since it was opened.
FULL = "full"

Notice: TypeAlias = HeldLong | ReturnedAfterAll | str


class PoolCore:
    """See the module."""

    # More attributes than CPython keeps beside the object: slots are the faster.
    __slots__ = (
        "_always",
        "_check_idle",
        "_connect_times",
        "_count_hold",
        "_count_wait",
        "_hint",
        "_hold_warning",
        "_lanes",
        "_lifetime",
        "_look_after",
        "_max_idle",
        "_mean_hold",
        "_peak_used",
        "_pop",
        "_random",
        "_reconnect_timeout",
        "_shrink_at",
        "_stale",
        "_suspect_before",
        "_unpop",
        "_used",
        "_uses",
        "_wanted_before",
        "_warned",
        "_was_exhausted",
        "attention",
        "connecting",
        "counts",
        "generation",
        "greets",
        "has_new_deadline",
        "idle",
        "is_full",
        "is_open",
        "leases",
        "max_kept",
        "max_size",
        "meter",
        "min_size",
        "notices",
        "options",
        "outage",
        "slots",
        "suspects",
        "waiters",
        "was_closed",
        "woken",
        "working",
    )

    def __init__(self, options: PoolOptions, meter: Meter, random: Callable[[], float]) -> None:
        """A core that is not open yet.

        Args:
            options: Validated.
            meter: Where durations and marks go.
            random: Numbers in [0, 1), for jitter.
        """
        self.options = options
        self.min_size = options.min_size
        self.max_size = options.max_size
        self.max_kept = options.max_kept
        self.meter = meter
        self.counts = Counts()
        self.leases: dict[int, Lease] = {}
        self.idle: deque[Slot] = deque()
        self.slots: dict[int, Slot] = {}
        self.connecting: set[Slot] = set()
        self.working: set[Slot] = set()
        self.suspects: set[Slot] = set()
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self.woken: list[Waiter] = []
        self.notices: deque[Notice] = deque()
        self.outage: Outage | None = None
        self.generation = 0
        self.is_open = False
        self.was_closed = False
        self.is_full = False
        self.attention = True
        #: The shell wants to see the first request, on whichever path it comes.
        self.greets = False
        #: `next_deadline` may have come nearer since the shell last asked.
        self.has_new_deadline = False
        self._random = random
        self._always = (
            options.max_kept == 0
            or options.has_reset
            or options.is_watched
            or options.hold_warning is not None
            or (options.has_check and options.check_idle is None)
        )
        self._pop = self.idle.popleft if options.idle_order == "fifo" else self.idle.pop
        self._unpop = self.idle.appendleft if options.idle_order == "fifo" else self.idle.append
        self._hint = self.idle.append
        self._uses = meter.uses
        self._count_wait, self._count_hold = meter.waits.append, meter.uses.append
        self._used: HighWater = meter.used
        #: The most connections in use in those intervals of the meter that ended since the last look for `shrink`.
        self._peak_used = 0
        self._was_exhausted = False
        self._shrink_at = 0
        self._lifetime = nanoseconds(options.max_lifetime)
        self._max_idle = nanoseconds(options.max_idle)
        self._reconnect_timeout = nanoseconds(options.reconnect_timeout)
        self._hold_warning = nanoseconds(options.hold_warning)
        self._check_idle = -1 if options.check_idle is None else nanoseconds(options.check_idle)
        look_after = nanoseconds(options.look_after)
        if options.check_idle is not None:
            look_after = min(look_after, self._check_idle)
        #: Short beside the lifetime, so that what is fit when it comes back is not expired while it is.
        self._look_after = min(look_after, self._lifetime // 20)
        self._suspect_before = 0
        self._stale = 0
        self._connect_times: deque[int] = deque(maxlen=RECENT_USES)
        self._mean_hold = 0.0
        #: Connects that clients asked for while nothing was out that could have served them.
        self._wanted_before = 0
        self._warned: dict[int, Lease] = {}
        self._lanes: dict[Lane, deque[Job]] = {CONNECT: deque(), RETURN: deque()}

    # -- The path without a lock ------------------------------------------------------------------------------

    def take(self, now: int, code: CodeType, instruction: int) -> Any:
        """A free connection, fit to be used as it is; ``None`` if the slow path must look.

        Safe without a lock, because ``popleft``, ``setdefault`` and ``pop`` are one operation each under the GIL:
        of all who come by hints of the same slot, exactly one gets its lease in. Only then, as the owner, does it
        compare generation and fitness, which binds: nobody else can change them now. If the slot is not fit, the
        lease goes first and the hint back after it, as a return does, and the slow path looks next.

        Args:
            now: A fresh ``monotonic_ns()``: the identity of this very object marks the lease as this call's,
                so that `interrupted_take` can find it whatever instruction an exception came at.
            code: The call site's code object,
            instruction: and the offset of the instruction in it.
        """
        if self.attention:
            return None
        try:
            slot = self._pop()
        except IndexError:
            return None
        lease = (slot, now, code, instruction, None)
        leases = self.leases
        if leases.setdefault(slot.key, lease) is not lease:
            return None
        if slot.generation != self.generation or now >= slot.fit_until:
            del leases[slot.key]
            self._unpop(slot)
            return None
        if len(leases) > self._used.level:
            self._used.reach(len(leases))
        self._count_wait(0)
        return slot.conn

    def give(self, key: int, lease: Lease, now: int) -> bool:
        """Take back a connection that is idle on the server; False if the slow path (`put`) must decide.

        Safe without a lock: everything is decided and written while the lease still stands; then it goes, by
        one ``pop`` that only one of two returners of the same connection wins, and the hint follows. The caller
        looks at `attention` afterwards (rule 1). `retire_at` says no for all reasons that are known by then
        (its lifetime, a policy that needs the slow path); nobody but its maker writes it.

        Args:
            key: ``id(conn)``.
            lease: The lease that stands under it.
            now: Now.
        """
        slot = lease[0]
        if now >= slot.retire_at or lease[2] is None:
            return False
        slot.idle_since = now
        slot.fit_until = now + self._look_after
        if self.leases.pop(key, None) is not lease:
            return False
        self._hint(slot)
        self._count_hold(now - lease[1])
        if len(self._uses) >= BATCH:
            self.meter.fold()
        return True

    # -- What is true now -------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Connections of the pool, those being made included."""
        return len(self.slots) + len(self.connecting)

    @property
    def used(self) -> int:
        """Connections that clients have; an upper bound while a call is in progress."""
        return len(self.leases) - len(self.working)

    @property
    def free(self) -> int:
        """Connections that nobody has."""
        return len(self.slots) - len(self.leases)

    @property
    def connect_error(self) -> BaseException | None:
        """What the last attempt to connect raised; ``None`` if it succeeded."""
        return None if self.outage is None else self.outage.error

    def state_of(self, slot: Slot) -> State:
        """Which state of the table in `slot` this one is in."""
        if slot.is_closed:
            return State.CLOSED
        if slot in self.connecting:
            return State.CONNECTING
        lease = self.leases.get(slot.key)
        if lease is None:
            return State.IDLE
        return State.WORKING if lease[2] is None else State.LEASED

    def interval_closed(self, mark: Mark) -> None:
        """The meter was read: its mark of connections in use begins anew, ours does not."""
        self._peak_used = max(self._peak_used, mark.used)

    def gauges(self) -> Gauges:
        """For a reading of the meter."""
        used = self.used
        return Gauges(idle=len(self.slots) - used, used=used, waiting=len(self.waiters))

    def limits(self) -> Limits:
        """For a reading of the meter."""
        kept = (self.max_size or None) if self.max_kept is None else self.max_kept
        return Limits(max_open=self.max_size or None, max_idle=kept, min_idle=self.min_size)

    def holders(self, now: int) -> tuple[Holder, ...]:
        """Who has connections, the oldest lease first."""
        return holders_of(list(self.leases.values()), now)

    # -- Opening and closing ----------------------------------------------------------------------------------

    def open(self, now: int) -> None:
        """Begin to serve and to connect. Once closed, a core stays closed."""
        assert not self.was_closed, "a closed core is not opened again"
        if not self.is_open:
            self.is_open = True
            self._shrink_at = now + self._max_idle
            self.is_full = self.min_size == 0
            self.has_new_deadline = True
            self._attend()

    def close(self, now: int) -> None:
        """Refuse whoever waits and close what is free. What is leased is closed when it comes back."""
        self.is_open, self.was_closed = False, True
        self.attention = True
        for waiter in list(self.waiters):
            self._leave_queue(waiter, now)
            self._refuse(waiter, Refusal.CLOSED)
            self.counts.requests_errors += 1
            self.woken.append(waiter)
        # Probes that nobody has begun own their slots, and nobody will begin them now.
        waiting, self._lanes[CONNECT] = self._lanes[CONNECT], deque()
        for job in waiting:
            if isinstance(job, Probe):
                self._discard(job.slot, Reason.CLOSED)
        while (slot := self._claim_next()) is not None:
            self._discard(slot, Reason.CLOSED)

    def drain(self, now: int) -> None:
        """Replace every connection: free ones now, the others when they come back."""
        self.generation += 1
        self._stale = len(self.slots)
        self._attend()
        for slot in self._claim_free(lambda slot: slot.generation != self.generation):
            self._discard(slot, Reason.DRAINED)
        self._pump(now)

    def resize(self, min_size: int, max_size: int, now: int) -> None:
        """Change the limits; connections beyond `max_size` go, free ones first."""
        self.min_size, self.max_size = min_size, max_size
        self._attend()
        while self._is_oversized() and (slot := self._claim_next()) is not None:
            self._discard(slot, Reason.SHRUNK)
        self._pump(now)

    def retire(self, now: int) -> None:
        """Keep nothing any more: close what is free, and what comes back once nobody waits."""
        self.max_kept = 0
        self._attend()
        while (slot := self._claim_next()) is not None:
            self._discard(slot, Reason.NOT_KEPT)
        self._pump(now)

    # -- Taking -----------------------------------------------------------------------------------------------

    def request(self, waiter: Waiter, now: int, *, may_wait: bool = True, is_first: bool = False) -> bool:
        """Ask for a connection.

        Args:
            waiter: Who asks. Afterwards `waiter.slot` or `waiter.refusal` is set, or it stands in the queue.
            now: Now.
            may_wait: Whether it may queue.
            is_first: It had been served, with a connection that turned out to be dead: its place is in front.

        Returns:
            Whether it has its answer; else it is woken when there is one.
        """
        waiter.slot = None
        if not self.is_open:
            self._refuse(waiter, Refusal.CLOSED if self.was_closed else Refusal.NOT_OPEN)
            return True
        if (not self.waiters or is_first) and self._serve(waiter, now):
            return True
        if not may_wait:
            self._count_timeout(waiter, now)
            return True
        if self.options.max_waiting and len(self.waiters) >= self.options.max_waiting and not is_first:
            self._refuse(waiter, Refusal.FULL)
            self.counts.requests_errors += 1
            return True
        if not waiter.queued_at:
            self.counts.requests_queued += 1
        waiter.queued_at = now
        self._was_exhausted = True
        self.waiters[waiter] = None
        if is_first:
            self.waiters.move_to_end(waiter, last=False)
        if len(self.slots) == 0:
            self._wanted_before = len(self.waiters)
        if self.size < self.max_size:
            self.has_new_deadline = True
        if len(self.waiters) > self.meter.waiting.level:
            self.meter.waiting.reach(len(self.waiters))
        self.attention = True
        self._pump(now)
        return waiter not in self.waiters

    def accept(self, waiter: Waiter, now: int) -> None:
        """The client has vetted what it was given and takes it. Needs no lock."""
        self._count_wait(max(0, now - waiter.since))
        if len(self.meter.waits) >= BATCH:
            self.meter.fold()

    def time_out(self, waiter: Waiter, now: int) -> bool:
        """The client's time is over. Returns False if it has been given a connection after all."""
        if waiter.slot is not None or waiter.refusal is not None:
            return False
        self._leave_queue(waiter, now)
        self._count_timeout(waiter, now)
        self._pump(now)
        return True

    def abandon(self, waiter: Waiter, now: int) -> None:
        """The client goes away, whatever it has or waits for: nothing stays with it."""
        self._leave_queue(waiter, now)
        slot, waiter.slot = waiter.slot, None
        if waiter.refusal is None:
            self._count_unserved()
        if slot is not None and slot.conn is None:
            self.connecting.discard(slot)
            slot.is_closed = True
        elif slot is not None and (lease := self.leases.get(slot.key)) is not None and lease[4] is waiter:
            # Perhaps in the middle of a check: only a look at it can tell whether it is good.
            self._work_on(slot, now)
            self._lanes[RETURN].append(Return(slot, roll_back=True))
        self._recover(now)
        self._pump(now)

    def interrupted_take(self, stamp: int, now: int) -> None:
        """An exception ended a call of `take`: undo the lease that carries its stamp, if there is one."""
        for lease in list(self.leases.values()):
            if lease[1] is stamp:
                self._work_on(lease[0], now)
                self._lanes[RETURN].append(Return(lease[0], roll_back=False))
        self._recover(now)
        self._pump(now)

    def take_over(self, waiter: Waiter, now: int) -> Slot:
        """The client goes away in the middle of a check, which goes on behind it; to be answered by `probed`."""
        slot, waiter.slot = waiter.slot, None
        assert slot is not None, "only what was given is checked"
        self._work_on(slot, now)
        return slot

    def vet(self, slot: Slot, now: int) -> Vet:
        """What the owner has to do before the connection may be used. Needs no lock."""
        idle_for = now - slot.idle_since
        if slot.proven_at < self._suspect_before:
            return Vet.CHECK if self.options.has_check else Vet.PROBE
        if self.options.has_check and idle_for >= self._check_idle:
            return Vet.CHECK
        return Vet.LOOK if idle_for >= self._look_after else Vet.NOTHING

    def proven(self, slot: Slot, now: int) -> None:
        """The server answered through this connection."""
        slot.proven_at = now
        self.suspects.discard(slot)
        self._attend()

    def found_dead(self, waiter: Waiter, error: BaseException, now: int) -> None:
        """What the client was given is dead: close it, and suspect those that were connected before.

        One that dies young, before any client had it, counts as a failed attempt to connect: a `check` that always
        fails must not make the pool connect as fast as it can.
        """
        slot, waiter.slot = waiter.slot, None
        assert slot is not None, "only what was given can be dead"
        if slot.idle_since == slot.connected_at and now - slot.connected_at < FIRST_PAUSE:
            self._fail(error, now)
        self._lost(slot, now)

    # -- Giving back ------------------------------------------------------------------------------------------

    def put(self, conn: Any, status: int, now: int, *, is_expected: bool = False) -> Close | Return | None:
        """Take back a connection.

        Args:
            conn: The connection.
            status: Its state: ``IDLE``, ``ACTIVE``, ``IN_TRANSACTION``, ``IN_ERROR``, ``BROKEN`` or ``UNTOLD``.
            now: Now.
            is_expected: Whether there is nothing remarkable about a transaction that is still open.

        Returns:
            What is left to do: a `Close` by the caller; a `Return` by the caller or, through `post`, by a worker.

        Raises:
            KeyError: If no client has this connection.
        """
        lease = self.leases[id(conn)]
        if lease[2] is None or self.leases.pop(id(conn), None) is not lease:
            raise KeyError(conn)
        slot = lease[0]
        slot.idle_since = now
        self._count_use(lease, now)
        if status in (ACTIVE, BROKEN):
            self.counts.returns_bad += 1
            self.meter.invalidated.add()
            return self._retired(slot, Reason.BROKEN, now)
        if (reason := self._unwanted(slot, now)) is not None:
            return self._retired(slot, reason, now)
        if status != IDLE or self.options.has_reset:
            self._work_on(slot, now)
            return Return(slot, roll_back=status != IDLE, is_expected=is_expected or status == UNTOLD)
        slot.fit_until = now + self._look_after
        self._hint(slot)
        self._pump(now)
        return None

    def attend(self, now: int) -> None:
        """Look further, after a `give` that found `attention` true: rules 1 and 2."""
        if not self.is_open or self._stale or self._is_oversized():
            for slot in self._claim_free(lambda slot: self._unwanted(slot, now, is_kept=True) is not None):
                # Looked at again one by one: closing one may make room for the others.
                if (reason := self._unwanted(slot, now, is_kept=True)) is not None:
                    self._discard(slot, reason)
                else:
                    self._free(slot, now)
        self._pump(now)

    def leftovers(self) -> list[Job]:
        """What a closed pool has left to do, for whoever comes last: there may be no workers any more."""
        jobs: list[Job] = []
        if self.was_closed:
            jobs.extend(self._lanes[RETURN])
            self._lanes[RETURN].clear()
        return jobs

    def post(self, job: Close | Return) -> None:
        """Leave to a worker what `put` returned."""
        self._lanes[RETURN].append(job)

    def returned(self, slot: Slot, is_good: bool, now: int) -> None:
        """A `Return` is done."""
        self.working.discard(slot)
        if not is_good:
            self.counts.returns_bad += 1
            self.meter.invalidated.add()
            self._discard(slot, Reason.RESET_FAILED)
        else:
            slot.fit_until = now + self._look_after
            self._free(slot, now)
        self._pump(now)

    def interrupted_give(self, conn: Any, lease: Lease | None, now: int) -> None:
        """An exception ended a return somewhere: finish it.

        Args:
            conn: The connection.
            lease: The lease that stood when the call began, if it had got so far as to look.
            now: Now.
        """
        standing = self.leases.get(id(conn))
        if standing is not None and standing[2] is not None and (lease is None or standing is lease):
            self._count_use(standing, now)
            self._work_on(standing[0], now)
            self._lanes[RETURN].append(Return(standing[0], roll_back=True))
        self._recover(now)
        self._pump(now)

    # -- Jobs -------------------------------------------------------------------------------------------------

    def has_job(self, lane: Lane, now: int) -> bool:
        """Whether `next_job` would give one."""
        return bool(self._lanes[lane]) or (lane is CONNECT and self._connects_wanted(now) > 0)

    def next_job(self, lane: Lane, now: int) -> Job | None:
        """The next thing to do in a lane; ``None`` if there is nothing at present."""
        if self._lanes[lane]:
            return self._lanes[lane].popleft()
        if lane is CONNECT and self._connects_wanted(now) > 0:
            return Connect(self._new_slot())
        return None

    def connected(self, slot: Slot, conn: Any, took: int, now: int, waiter: Waiter | None = None) -> Close | None:
        """A `Connect` has succeeded.

        Args:
            slot: The job's.
            conn: The new connection.
            took: How long it took, in nanoseconds.
            now: Now.
            waiter: The client that connected by itself, and gets it.

        Returns:
            What to do if it is not wanted any more.
        """
        self.connecting.discard(slot)
        self.outage = None
        self._wanted_before = max(0, self._wanted_before - 1)
        self.counts.connections_num += 1
        self.meter.creates.append(took)
        self._connect_times.append(took)
        slot.conn, slot.key = conn, id(conn)
        assert slot.key not in self.slots, "the driver connected to give a connection that the pool has"
        slot.connected_at = slot.idle_since = slot.proven_at = now
        slot.expires_at = now + int(self._lifetime * (1.0 - 0.1 * self._random()))
        slot.retire_at = 0 if self._always else slot.expires_at - min(self._look_after, self._lifetime // 20)
        slot.fit_until = now + self._look_after
        if not self.is_open or slot.generation != self.generation or self._is_oversized(adding=1):
            slot.is_closed = True
            self._pump(now)
            return Close(conn, Reason.DRAINED if self.is_open else Reason.CLOSED)
        self.slots[slot.key] = slot
        self.has_new_deadline = True
        if waiter is not None:
            self.leases[slot.key] = (slot, now, waiter.code, waiter.instruction, waiter)
            self._mark_used()
        else:
            self._hint(slot)
        if len(self.slots) > self.meter.connections.level:
            self.meter.connections.reach(len(self.slots))
        if not self.is_full and len(self.slots) >= self.min_size:
            self.is_full = True
            self.notices.append(FULL)
        self._pump(now)
        return None

    def rehearsed(self, took: int, error: BaseException | None) -> None:
        """A connection was made only to see whether one can be; count it."""
        self.counts.connections_num += 1
        if error is None:
            self.meter.creates.append(took)
        else:
            self.counts.connections_errors += 1
            self.meter.connect_errors.add()

    def connect_failed(self, slot: Slot, error: BaseException, now: int) -> bool:
        """A `Connect` has failed. Returns whether that deserves a WARNING, not only a DEBUG line."""
        self.connecting.discard(slot)
        slot.is_closed = True
        self.counts.connections_num += 1
        self.counts.connections_errors += 1
        self.meter.connect_errors.add()
        is_loud = self._fail(error, now)
        self._pump(now)
        return is_loud

    def probed(self, slot: Slot, is_alive: bool, now: int) -> None:
        """A `Probe` is done."""
        self.working.discard(slot)
        if is_alive:
            slot.proven_at = slot.idle_since = now
            slot.fit_until = now + self._look_after
            self.suspects.discard(slot)
            self._free(slot, now)
            self._pump(now)
        else:
            self._lost(slot, now)

    def claim_for_check(self, seen: set[Slot], now: int) -> Slot | None:
        """A free slot that is not in `seen`, for the pool to check; to be answered by `probed`."""
        for slot in self._claim_free(lambda slot: slot not in seen, limit=1):
            self._work_on(slot, now)
            return slot
        return None

    # -- Time -------------------------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """Do what is due: expire, shrink, warn."""
        if not self.is_open:
            return
        for slot in self._claim_free(lambda slot: now >= slot.expires_at):
            self._discard(slot, Reason.EXPIRED)
        if now >= self._shrink_at:
            self._shrink(now)
        self._warn_of_long_holds(now)
        self._pump(now)

    def next_deadline(self, now: int) -> int | None:
        """When `tick` or `next_job` will next have something to do that no other call brings about."""
        if not self.is_open:
            return None
        due = [slot.expires_at for key, slot in self.slots.items() if key not in self.leases]
        if len(self.slots) > self.min_size and self._max_idle != FOREVER:
            due.append(self._shrink_at)
        if self.outage is not None:
            if not self.connecting and self._shortfall(now) > 0:
                due.append(self.outage.next_attempt_at(bool(self.waiters)))
        elif self.waiters and not self._is_oversized(adding=1) and not self.options.connect_in_caller:
            since = [lease[1] for lease in list(self.leases.values()) if lease[2] is not None]
            review = review_at(waiting=len(self.waiters), leased_since=since, connect_time=self._mean_connect())
            if review is not None and review > now:
                due.append(review)
        if self._hold_warning != FOREVER:
            due.extend(
                lease[1] + self._hold_warning
                for key, lease in self.leases.items()
                if lease[2] is not None and self._warned.get(key) is not lease
            )
        return min(due, default=None)

    # -- Inside -----------------------------------------------------------------------------------------------

    def _attend(self) -> None:
        self.attention = bool(
            self._always
            or self.greets
            or self.waiters
            or not self.is_open
            or self._stale
            or (self.max_kept is not None and self.size > self.max_kept)
            or self.suspects
            or self._is_oversized()
        )

    def _is_oversized(self, adding: int = 0) -> bool:
        return 0 < self.max_size < self.size + adding

    def _new_slot(self) -> Slot:
        slot = Slot(self.generation)
        self.connecting.add(slot)
        return slot

    def _serve(self, waiter: Waiter, now: int) -> bool:
        """Give the waiter a free slot, or the right to connect by itself, if there is one."""
        while (slot := self._claim_next(now, waiter)) is not None:
            if (reason := self._unwanted(slot, now, is_kept=True)) is not None:
                self._discard(slot, reason)
                continue
            waiter.slot = slot
            self._mark_used()
            if self._hold_warning != FOREVER:
                self.has_new_deadline = True
            return True
        if self.options.connect_in_caller and not self._is_oversized(adding=1):
            waiter.slot = self._new_slot()
            return True
        return False

    def _pump(self, now: int) -> None:
        """Serve waiters, in their order, as long as there is something to serve them with."""
        while self.waiters:
            waiter = next(iter(self.waiters))
            if not self._serve(waiter, now):
                break
            self._leave_queue(waiter, now)
            self.woken.append(waiter)
        if self.suspects:
            self._probe_suspects(now)
        self._attend()

    def _claim_next(self, now: int = 0, waiter: Waiter | None = None) -> Slot | None:
        """The next free slot, leased to the waiter, or to the pool; hints that lead nowhere are dropped."""
        while True:
            try:
                slot = self._pop()
            except IndexError:
                return None
            lease: Lease = (
                (slot, now, None, 0, None)
                if waiter is None
                else (slot, now, waiter.code, waiter.instruction, waiter)
            )
            if not slot.is_closed and self.leases.setdefault(slot.key, lease) is lease:
                return slot

    def _claim_free(self, is_wanted: Callable[[Slot], bool], limit: int = -1) -> list[Slot]:
        """The free slots of which `is_wanted` is true, leased to the pool; their hints are gone."""
        claimed: list[Slot] = []
        for slot in list(self.slots.values()):
            if len(claimed) == limit:
                break
            lease: Lease = (slot, 0, None, 0, None)
            if slot.key in self.leases or not is_wanted(slot):
                continue
            if self.leases.setdefault(slot.key, lease) is lease:
                # It may be missing: a taker has popped it and will find the slot leased, or a returner is about
                # to append it.
                with suppress(ValueError):
                    self.idle.remove(slot)
                claimed.append(slot)
        return claimed

    def _work_on(self, slot: Slot, now: int) -> None:
        """The pool itself owns the slot from now on."""
        self.leases[slot.key] = (slot, now, None, 0, None)
        self.working.add(slot)

    def _free(self, slot: Slot, now: int) -> None:
        """A slot on which the pool worked is good: to be used, unless it is not wanted any more."""
        if (reason := self._unwanted(slot, now)) is not None:
            self._discard(slot, reason)
            return
        self.leases.pop(slot.key, None)
        self._hint(slot)

    def _unwanted(self, slot: Slot, now: int, *, is_kept: bool = False) -> Reason | None:
        """Why a good connection must not be used again; ``None`` if it may."""
        if not self.is_open:
            return Reason.CLOSED
        if slot.generation != self.generation:
            return Reason.DRAINED
        if now >= slot.expires_at - (0 if is_kept else self._look_after):
            return Reason.EXPIRED
        if self._is_oversized():
            return Reason.SHRUNK
        if not is_kept and self.max_kept is not None and not self.waiters and self.free > self.max_kept:
            return Reason.NOT_KEPT
        return None

    def _discard(self, slot: Slot, reason: Reason) -> None:
        """Close, by a worker, a connection that this call owns."""
        self._lanes[RETURN].append(self._retire(slot, reason))

    def _retired(self, slot: Slot, reason: Reason, now: int) -> Close:
        job = self._retire(slot, reason)
        self._pump(now)
        return job

    def _retire(self, slot: Slot, reason: Reason) -> Close:
        slot.is_closed = True
        slot.fit_until = 0
        self.has_new_deadline = True
        self.slots.pop(slot.key, None)
        self.leases.pop(slot.key, None)
        self.working.discard(slot)
        self.suspects.discard(slot)
        if slot.generation != self.generation:
            self._stale -= 1
        return Close(slot.conn, reason)

    def _lost(self, slot: Slot, now: int) -> None:
        """A connection was found dead: those that are not younger are suspect until they answer."""
        self.counts.connections_lost += 1
        self.meter.invalidated.add()
        self._discard(slot, Reason.LOST)
        self._suspect_before = now
        self.suspects = {other for other in self.slots.values() if other.proven_at < now}
        self._pump(now)

    def _probe_suspects(self, now: int) -> None:
        for suspect in self._claim_free(self.suspects.__contains__):
            self._work_on(suspect, now)
            self._lanes[CONNECT].append(Probe(suspect))

    def _recover(self, now: int) -> None:
        """Find slots that have neither a lease nor a hint, or a lease whose waiter knows nothing of it.

        Both only come from exceptions in the middle of a call. A thread on the fast path may hold such a slot for
        an instant; claiming it is safe all the same: it then finds it leased, or its hint is one too many.
        """
        hints = set(self.idle.copy())
        for slot in list(self.slots.values()):
            lease = self.leases.get(slot.key)
            if lease is None:
                if slot in hints:
                    continue
                mine: Lease = (slot, now, None, 0, None)
                if self.leases.setdefault(slot.key, mine) is not mine:
                    continue
            elif lease[4] is None or lease[4].slot is slot or lease[2] is None:
                continue
            self._work_on(slot, now)
            self._lanes[RETURN].append(Return(slot, roll_back=True))

    def _leave_queue(self, waiter: Waiter, now: int) -> None:
        if waiter in self.waiters:
            del self.waiters[waiter]
            self._wanted_before = min(self._wanted_before, len(self.waiters))
            self.counts.requests_wait_ns += max(0, now - waiter.queued_at)

    def _refuse(self, waiter: Waiter, refusal: Refusal) -> None:
        waiter.refusal = refusal
        self._count_unserved()

    def _count_unserved(self) -> None:
        self.counts.requests_unserved += 1
        self.meter.acquire_errors.add()

    def _count_timeout(self, waiter: Waiter, now: int) -> None:
        waiter.refusal = Refusal.EMPTY
        self.counts.requests_unserved += 1
        self.counts.requests_errors += 1
        self.meter.timeouts.append(max(0, now - waiter.since))

    def _count_use(self, lease: Lease, now: int) -> None:
        held = now - lease[1]
        self._count_hold(held)
        if len(self._uses) >= BATCH:
            self.meter.fold()
        if self._warned and self._warned.pop(lease[0].key, None) is lease:
            self.notices.append(ReturnedAfterAll(lease, held))

    def _mark_used(self) -> None:
        used = self.used
        if used > self._used.level:
            self._used.reach(used)

    def _fail(self, error: BaseException, now: int) -> bool:
        self.has_new_deadline = True
        if self.outage is None:
            self.outage = Outage(now, error, self._random)
            return True
        is_loud = self.outage.fail(now, error)
        if not self.waiters:
            self.outage.pause()
        if now - self.outage.started_at >= self._reconnect_timeout:
            self.outage.restart(now)
            self._lanes[CONNECT].append(ReconnectFailed())
        return is_loud

    def _shortfall(self, now: int) -> int:
        """How many connects should be begun, outage or not."""
        if not self.is_open:
            return 0
        room = self.max_size - self.size
        if room <= 0:
            return 0
        connecting = len(self.connecting)
        wanted = max(0, self.min_size - self.size) + connecting
        if self.waiters and not self.options.connect_in_caller:
            growth = connects_for(
                waiting=len(self.waiters),
                leased=self.used,
                coming=self.free + len(self.working),
                connecting=connecting,
                wanted_before=self._wanted_before,
                hold=self._hold(now),
                connect_time=self._mean_connect(),
            )
            wanted = max(wanted, growth)
        return min(wanted - connecting, room)

    def _connects_wanted(self, now: int) -> int:
        """How many connects to begin now: while connecting fails, one at a time and in its own time."""
        if self.outage is None:
            return self._shortfall(now)
        if self.connecting or now < self.outage.next_attempt_at(bool(self.waiters)):
            return 0
        return min(1, self._shortfall(now))

    def _mean_connect(self) -> float:
        times = self._connect_times
        return sum(times) / len(times) if times else 0.0

    def _hold(self, now: int) -> float:
        """How long clients keep connections: the mean of the last uses, or of the present ones if that is more."""
        recent = list(self._uses.copy())[-RECENT_USES:]
        if recent:
            self._mean_hold = sum(recent) / len(recent)
        ages = [now - lease[1] for lease in list(self.leases.values()) if lease[2] is not None]
        return max(self._mean_hold, sum(ages) / len(ages) if ages else 0.0)

    def _shrink(self, now: int) -> None:
        """Each `max_idle`: close one connection, or all, that was not needed in all that time."""
        self._shrink_at = now + self._max_idle
        # The mark's level is only a hint, and one that is too low costs nothing: so it may begin anew here.
        peak = max(self._peak_used, self._used.level, self.used)
        self._used.level, self._peak_used = self.used, 0
        unneeded = 0 if self._was_exhausted else len(self.slots) - peak
        self._was_exhausted = bool(self.waiters)
        surplus = min(unneeded, len(self.slots) - self.min_size)
        if surplus > 0:
            for slot in self._claim_free(lambda _: True, limit=1 if self.options.shrink == "one" else surplus):
                self._discard(slot, Reason.SHRUNK)

    def _warn_of_long_holds(self, now: int) -> None:
        if self._hold_warning == FOREVER:
            return
        for key, lease in list(self.leases.items()):
            held = now - lease[1]
            if lease[2] is not None and held >= self._hold_warning and self._warned.get(key) is not lease:
                self._warned[key] = lease
                self.notices.append(HeldLong(lease, held))
