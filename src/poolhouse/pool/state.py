"""The state of a pool: who owns each connection, its figures, and the elementary steps on a slot.

See `poolhouse.pool.core` for the rules and invariants.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from types import CodeType
from typing import TypeAlias

from poolhouse.meter.connect_errors import ConnectFailures
from poolhouse.meter.meter import BATCH, HighWater, Meter
from poolhouse.meter.reading import Gauges, Limits, Mark
from poolhouse.pool.gil import is_gil_enabled
from poolhouse.pool.holders import Holder, holders_of
from poolhouse.pool.jobs import Close, Job, Lane, Notice, Probe, Reason, Return, ReturnedAfterAll
from poolhouse.pool.options import PoolOptions, duration
from poolhouse.pool.slot import Lease, Slot, State
from poolhouse.pool.stats import Counts
from poolhouse.pool.waiter import Waiter
from poolhouse.sites.words import CallSite

CONNECT, RETURN = Lane.CONNECT, Lane.RETURN

#: Values of `PoolState.attention` besides 0: the fast path must call functions of the application,
CALLBACKS = 1
#: or the slow path must be taken.
SLOW = 2

_MOST_SAMPLES = 16_384

#: A return: the call site's code and instruction, the seconds that the connection was out, and how many returns
#: this one stands for. Or a wait, in seconds, which stands for 0 returns.
Sample: TypeAlias = tuple[CodeType, int, float, int]


class PoolState:
    """The state of a pool, and the elementary steps that change it."""

    # More attributes than CPython stores inline in an object: slots are faster.
    __slots__ = (
        "_always",
        "_calm",
        "_check_idle",
        "_full_watchers",
        "_hint",
        "_hold_warning",
        "_lanes",
        "_lifetime",
        "_look_after",
        "_peak_used",
        "_random",
        "_sampled_at",
        "_stale",
        "_suspect_before",
        "_takes_of_the_closed",
        "_target",
        "_used",
        "_uses",
        "_waits",
        "_wanted_before",
        "_warned",
        "_was_exhausted",
        "attention",
        "connect_failures",
        "connecting",
        "counts",
        "generation",
        "has_new_deadline",
        "has_threads",
        "helpers",
        "idle",
        "is_called",
        "is_open",
        "leases",
        "max_kept",
        "max_size",
        "meter",
        "min_size",
        "notices",
        "options",
        "sample_at",
        "sampled",
        "samples",
        "slots",
        "suspects",
        "times_full",
        "waiters",
        "warns_at_first_request",
        "was_closed",
        "was_full",
        "woken",
        "worked_on",
        "working",
    )

    def __init__(self, options: PoolOptions, meter: Meter, random: Callable[[], float]) -> None:
        """A core that is not open yet.

        Args:
            options: The pool's options, validated.
            meter: Records durations and marks.
            random: Returns numbers in [0, 1), for jitter.
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
        self.connect_failures = ConnectFailures()
        #: One return in this many is sampled by call site. The reader of the samples may ask for more; sampling
        #: every return makes it a sixth dearer.
        self.sampled = BATCH
        #: The number of use times at the last sample, and at the next.
        self._sampled_at, self.sample_at = 0, BATCH
        #: Samples since the last reading; without a reader, the newest ones.
        self.samples: deque[Sample] = deque(maxlen=_MOST_SAMPLES)
        self.working: set[Slot] = set()
        #: The members of `working` that a worker has begun; for the others there is a job.
        self.worked_on: set[Slot] = set()
        self.suspects: set[Slot] = set()
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self.woken: list[Waiter] = []
        self.notices: deque[Notice] = deque()
        self.generation = 0
        self.is_open = False
        self.was_closed = False
        #: Whether `min_size` connections have ever existed at one time.
        self.was_full = False
        #: How often `min_size` connections have been idle while a `wait` was waiting for that.
        self.times_full = 0
        self._full_watchers = 0
        self.attention = SLOW
        #: True until the first request: it must take the slow path, because the shell warns there.
        self.warns_at_first_request = False
        #: Whether `next_deadline` may have moved closer since the shell last asked.
        self.has_new_deadline = False
        #: False once no job will begin any more: no thread can be started while the interpreter ends.
        self.has_threads = True
        self._random = random
        self._always = not is_gil_enabled() or options.max_kept == 0
        #: The value of `attention` while nothing requires the slow path.
        self._calm = 0
        #: Whether the fast path calls the shell regardless of the options; see `be_called`.
        self.is_called = False
        #: See `holders_of`.
        self.helpers: dict[tuple[int, int], CallSite] = {}
        #: Slots are taken from the left end; freed ones go to the right end (fifo) or to the left (lifo).
        self._hint = self.idle.append if options.idle_order == "fifo" else self.idle.appendleft
        self._waits, self._uses = meter.waits, meter.uses
        meter.at_once = self.taken_at_once
        self._used: HighWater = meter.used
        #: The most connections in use in those intervals of the meter that ended since the last shrink check.
        self._peak_used = 0
        self._was_exhausted = False
        self._lifetime = duration(options.max_lifetime or None)
        self._hold_warning = duration(options.hold_warning)
        self._check_idle = -1.0 if options.check_idle is None else duration(options.check_idle)
        look_after = duration(options.look_after)
        if options.check_idle is not None:
            look_after = min(look_after, self._check_idle)
        #: Short compared with the lifetime, so that a connection does not expire while it counts as fit.
        self._look_after = min(look_after, self._lifetime / 20)
        self._suspect_before = 0.0
        self._takes_of_the_closed = 0
        #: The size to restore after losses: the largest size since the last shrink.
        self._target = options.min_size
        self._stale = 0
        #: Connects that clients requested while no connection was out that could have served them.
        self._wanted_before = 0
        #: Leases already warned about: slot → start time, call site. The lease itself is not stored, so that it
        #: can still be found abandoned.
        self._warned: dict[Slot, tuple[float, CodeType, int]] = {}
        self._lanes: dict[Lane, deque[Job]] = {CONNECT: deque(), RETURN: deque()}
        self.be_called(False)

    def taken_at_once(self) -> int:
        """How many checkouts took the fast path, for the meter. May be too low for an instant."""
        return self._takes_of_the_closed + sum([slot.takes for slot in list(self.slots.values())])

    @property
    def size(self) -> int:
        """Connections of the pool, including those being made."""
        return len(self.slots) + len(self.connecting)

    @property
    def used(self) -> int:
        """Connections that clients hold; an upper bound while a call is in progress."""
        return len(self.leases) - len(self.working)

    @property
    def free(self) -> int:
        """Connections without an owner."""
        return len(self.slots) - len(self.leases)

    @property
    def is_stranded(self) -> bool:
        """Whether waiting is in vain: no client has a connection, none is being made, and none will be."""
        return not (self.has_threads or self.leases or self.connecting)

    def state_of(self, slot: Slot) -> State:
        """The state of a slot, from the table in `poolhouse.pool.slot`."""
        if slot.is_closed:
            return State.CLOSED
        if slot in self.connecting:
            return State.CONNECTING
        lease = self.leases.get(slot.key)
        if lease is None:
            return State.IDLE
        return State.WORKING if lease[2] is None else State.LEASED

    def interval_closed(self, mark: Mark) -> None:
        """Begin a new interval: the meter was read and resets its mark of connections in use, but ours goes on."""
        self._peak_used = max(self._peak_used, mark.used)

    def gauges(self) -> Gauges:
        """The gauges for a reading of the meter."""
        used = self.used
        return Gauges(idle=len(self.slots) - used, used=used, waiting=len(self.waiters))

    def limits(self) -> Limits:
        """The limits for a reading of the meter."""
        kept = (self.max_size or None) if self.max_kept is None else self.max_kept
        return Limits(max_open=self.max_size or None, max_idle=kept, min_idle=self.min_size)

    def holders(self, now: float) -> tuple[Holder, ...]:
        """The holders of connections, the oldest lease first."""
        return holders_of(list(self.leases.values()), now, self.helpers)

    def post(self, job: Close) -> None:
        """Leave the closing that `put` returned to a worker."""
        self._lanes[RETURN].append(job)

    def leftovers(self) -> list[Job]:
        """The remaining jobs of a closed pool, for its last user: there may be no workers any more.

        None of them waits for the server: connections that would be rolled back for reuse are closed.
        """
        jobs: list[Job] = []
        while self.was_closed and self._lanes[RETURN]:
            job = self._lanes[RETURN].popleft()
            jobs.append(self._retire(job.slot, Reason.CLOSED) if isinstance(job, Return) else job)
        return jobs

    def be_called(self, is_called: bool) -> None:
        """Make the fast path call the shell (`CALLBACKS`) from now on, or only if the options need it."""
        options = self.options
        self.is_called = is_called
        is_needed = is_called or options.is_watched or options.checks_always or options.has_reset
        self._calm = CALLBACKS if is_needed else 0
        self._attend()

    def _attend(self) -> None:
        is_slow = (
            self._always
            or self.warns_at_first_request
            or self.waiters
            or not self.is_open
            or self._stale
            or (self.max_kept is not None and self.size > self.max_kept)
            or self.suspects
            or self._is_oversized()
            or self._full_watchers
        )
        self.attention = SLOW if is_slow else self._calm

    def _is_oversized(self, adding: int = 0) -> bool:
        return 0 < self.max_size < len(self.slots) + len(self.connecting) + adding

    def _is_oversized_exactly(self) -> bool:
        """Whether it is oversized, even in the middle of a call, where a slot may be in both containers."""
        return self._is_oversized() and len(self.connecting.union(list(self.slots.values()))) > self.max_size

    def _unwanted(self, slot: Slot, now: float, *, is_kept: bool = False) -> Reason | None:
        """Why a good connection, owned by this call, must not be reused; ``None`` if it may be."""
        if not self.is_open:
            return Reason.CLOSED
        if slot.generation != self.generation:
            return Reason.DRAINED
        if now >= slot.expires_at - (0 if is_kept else self._look_after):
            return Reason.EXPIRED
        if self._is_oversized():
            return Reason.SHRUNK
        if not is_kept and self.max_kept is not None and not self.waiters and self.free >= self.max_kept:
            return Reason.NOT_KEPT
        return None

    def _mark_used(self) -> None:
        used = self.used
        if used > self._used.level:
            self._used.reach(used)

    def _retire_at(self, slot: Slot) -> float:
        is_for_put = self._always or self.options.has_reset
        return 0.0 if is_for_put else slot.expires_at - min(self._look_after, self._lifetime / 20)

    def _returned_after_all(self, slot: Slot, now: float) -> None:
        """Report that a lease which was warned about has ended, and let the slot use the fast path again."""
        since, code, instruction = self._warned.pop(slot)
        slot.retire_at = self._retire_at(slot)
        self.notices.append(ReturnedAfterAll((slot, since, code, instruction, None, False), now - since))

    def _claim_next(self, now: float = 0.0, waiter: Waiter | None = None) -> Slot | None:
        """The next free slot, leased to the waiter or to the pool; removes stale hints on the way."""
        while self.idle:
            try:
                slot = self.idle.popleft()
            except IndexError:
                return None  # A taker on the fast path was faster.
            lease: Lease = (
                (slot, now, None, 0, None, False)
                if waiter is None
                else (slot, now, waiter.code, waiter.instruction, waiter, False)
            )
            if not (slot.is_closed or slot in self.working) and self.leases.setdefault(slot.key, lease) is lease:
                return slot
        return None

    def _claim_free(self, is_wanted: Callable[[Slot], bool], limit: int = -1) -> list[Slot]:
        """The free slots for which `is_wanted` is true, leased to the pool; their hints are removed."""
        claimed: list[Slot] = []
        for slot in list(self.slots.values()):
            if len(claimed) == limit:
                break
            lease: Lease = (slot, 0.0, None, 0, None, False)
            if slot.key in self.leases or slot in self.working or not is_wanted(slot):
                continue
            if self.leases.setdefault(slot.key, lease) is lease:
                # It may be missing: a taker has popped it and will find the slot leased, or a returner is about to
                # append it.
                with suppress(ValueError):
                    self.idle.remove(slot)
                claimed.append(slot)
        return claimed

    def _work_on(self, slot: Slot, now: float) -> None:
        """Give the slot to the pool itself.

        This holds even if a second `putconn` of the same connection briefly removes the lease: `fit_until` keeps
        the fast path from serving the slot, and `working` the slow one.
        """
        slot.fit_until = 0
        self.leases[slot.key] = (slot, now, None, 0, None, False)
        self.working.add(slot)

    def _free(self, slot: Slot, now: float) -> None:
        """Free a slot that the pool has prepared, unless it is no longer wanted."""
        if (reason := self._unwanted(slot, now)) is not None:
            self._discard(slot, reason)
        else:
            self.leases.pop(slot.key, None)
            self._hint(slot)

    def _discard(self, slot: Slot, reason: Reason) -> None:
        """Close a connection that this call owns; a worker does it."""
        # Queue the close first: an exception between the two lines then closes twice, never not at all.
        self._lanes[RETURN].append(Close(slot.conn, reason))
        self._retire(slot, reason)

    def _retire(self, slot: Slot, reason: Reason) -> Close:
        if reason in (Reason.SHRUNK, Reason.NOT_KEPT):
            self._target = max(self.min_size, self._target - 1)
        slot.is_closed = True
        slot.fit_until = 0
        self.has_new_deadline = True
        self.leases.pop(slot.key, None)
        self.working.discard(slot)
        self.worked_on.discard(slot)
        self.suspects.discard(slot)
        # Last: if an exception strikes before this line, `_recover` still finds the slot.
        if self.slots.pop(slot.key, None) is not None:
            self._takes_of_the_closed += slot.takes
            if slot.generation != self.generation:
                self._stale -= 1
        return Close(slot.conn, reason)

    def _probe_suspects(self, now: float) -> None:
        for suspect in self._claim_free(self.suspects.__contains__):
            self._work_on(suspect, now)
            self._lanes[CONNECT].append(Probe(suspect))
