"""The owner of each connection: the containers, what they show, and the steps that all parts take with a slot.

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

#: What `PoolState.attention` may be besides 0: the fast path has functions of the application to call,
CALLBACKS = 1
#: or somebody must look further than it does.
SLOW = 2

_MOST_SAMPLES = 16_384

#: A return: the call site's code and instruction, for how many seconds the connection was out, and for how many
#: returns this one stands. Or a wait, in seconds, which stands for 0 returns.
Sample: TypeAlias = tuple[CodeType, int, float, int]


class PoolState:
    """The state of a pool, and the smallest steps that change it."""

    # More attributes than CPython keeps beside the object: slots are the faster.
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
        self.connect_failures = ConnectFailures()
        #: The time of one return in so many is told by call site. Whoever takes the samples may ask for more of
        #: them; telling each makes a return a sixth dearer.
        self.sampled = BATCH
        #: How many use times there were at the last one that was told, and how many there are at the next.
        self._sampled_at, self.sample_at = 0, BATCH
        #: What became of call sites since somebody looked here; without anybody who does, the newest of it.
        self.samples: deque[Sample] = deque(maxlen=_MOST_SAMPLES)
        self.working: set[Slot] = set()
        #: Those of `working` on which somebody really is at work; for the others there is a job.
        self.worked_on: set[Slot] = set()
        self.suspects: set[Slot] = set()
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self.woken: list[Waiter] = []
        self.notices: deque[Notice] = deque()
        self.generation = 0
        self.is_open = False
        self.was_closed = False
        #: There have been `min_size` connections at one time.
        self.was_full = False
        #: How often `min_size` connections have been idle while somebody waited for that.
        self.times_full = 0
        self._full_watchers = 0
        self.attention = SLOW
        #: True until the first request: it must take the slow path, because the shell warns there.
        self.warns_at_first_request = False
        #: `next_deadline` may have come nearer since the shell last asked.
        self.has_new_deadline = False
        #: False where no job will be begun any more, because no thread can be started while the interpreter ends.
        self.has_threads = True
        self._random = random
        self._always = not is_gil_enabled() or options.max_kept == 0
        #: What `attention` is while there is no reason for the slow path.
        self._calm = 0
        #: Whether that is so whatever the options are; see `be_called`.
        self.is_called = False
        #: As `holders_of`.
        self.helpers: dict[tuple[int, int], CallSite] = {}
        #: Slots are taken from the left end; those that come free go to the other, or to the same.
        self._hint = self.idle.append if options.idle_order == "fifo" else self.idle.appendleft
        self._waits, self._uses = meter.waits, meter.uses
        meter.at_once = self.taken_at_once
        self._used: HighWater = meter.used
        #: The most connections in use in those intervals of the meter that ended since the last look for `shrink`.
        self._peak_used = 0
        self._was_exhausted = False
        self._lifetime = duration(options.max_lifetime or None)
        self._hold_warning = duration(options.hold_warning)
        self._check_idle = -1.0 if options.check_idle is None else duration(options.check_idle)
        look_after = duration(options.look_after)
        if options.check_idle is not None:
            look_after = min(look_after, self._check_idle)
        #: Short beside the lifetime, so that what is fit when it comes back is not expired while it is.
        self._look_after = min(look_after, self._lifetime / 20)
        self._suspect_before = 0.0
        self._takes_of_the_closed = 0
        #: The size to restore after losses: the largest size since the last shrink.
        self._target = options.min_size
        self._stale = 0
        #: Connects that clients asked for while nothing was out that could have served them.
        self._wanted_before = 0
        #: Leases already warned about: slot → start time, call site. The lease itself is not stored, so that it
        #: can still be found abandoned.
        self._warned: dict[Slot, tuple[float, CodeType, int]] = {}
        self._lanes: dict[Lane, deque[Job]] = {CONNECT: deque(), RETURN: deque()}
        self.be_called(False)

    def taken_at_once(self) -> int:
        """How many checkouts went the fast way; for the meter. May be too low for an instant."""
        return self._takes_of_the_closed + sum([slot.takes for slot in list(self.slots.values())])

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
    def is_stranded(self) -> bool:
        """Whether whoever waits, waits in vain: nobody has or makes a connection, and nobody will."""
        return not (self.has_threads or self.leases or self.connecting)

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

    def holders(self, now: float) -> tuple[Holder, ...]:
        """Who has connections, the oldest lease first."""
        return holders_of(list(self.leases.values()), now, self.helpers)

    def post(self, job: Close) -> None:
        """Leave to a worker what `put` returned."""
        self._lanes[RETURN].append(job)

    def leftovers(self) -> list[Job]:
        """What a closed pool has left to do, for whoever comes last: there may be no workers any more.

        Nothing that waits for the server: what would be rolled back, to be used again, is closed.
        """
        jobs: list[Job] = []
        while self.was_closed and self._lanes[RETURN]:
            job = self._lanes[RETURN].popleft()
            jobs.append(self._retire(job.slot, Reason.CLOSED) if isinstance(job, Return) else job)
        return jobs

    def be_called(self, is_called: bool) -> None:
        """Have the fast path call the shell (`CALLBACKS`) from now on, or only if the options need it."""
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
        """The same in the middle of another call, where a slot may for an instant be in both containers."""
        return self._is_oversized() and len(self.connecting.union(list(self.slots.values()))) > self.max_size

    def _unwanted(self, slot: Slot, now: float, *, is_kept: bool = False) -> Reason | None:
        """Why a good connection, whose lease this call owns, must not be used again; ``None`` if it may."""
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
        """A lease that was warned of has ended: say so, and let the slot go the fast way again."""
        since, code, instruction = self._warned.pop(slot)
        slot.retire_at = self._retire_at(slot)
        self.notices.append(ReturnedAfterAll((slot, since, code, instruction, None, False), now - since))

    def _claim_next(self, now: float = 0.0, waiter: Waiter | None = None) -> Slot | None:
        """The next free slot, leased to the waiter, or to the pool; hints that lead nowhere are dropped."""
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
        """The free slots of which `is_wanted` is true, leased to the pool; their hints are gone."""
        claimed: list[Slot] = []
        for slot in list(self.slots.values()):
            if len(claimed) == limit:
                break
            lease: Lease = (slot, 0.0, None, 0, None, False)
            if slot.key in self.leases or slot in self.working or not is_wanted(slot):
                continue
            if self.leases.setdefault(slot.key, lease) is lease:
                # It may be missing: a taker has popped it and will find the slot leased, or a returner is about
                # to append it.
                with suppress(ValueError):
                    self.idle.remove(slot)
                claimed.append(slot)
        return claimed

    def _work_on(self, slot: Slot, now: float) -> None:
        """The pool itself owns the slot from now on.

        This holds even if a second `putconn` of the same connection briefly removes the lease: `fit_until` keeps
        the fast path from serving the slot, and `working` the slow one.
        """
        slot.fit_until = 0
        self.leases[slot.key] = (slot, now, None, 0, None, False)
        self.working.add(slot)

    def _free(self, slot: Slot, now: float) -> None:
        """A slot on which the pool worked is good: to be used, unless it is not wanted any more."""
        if (reason := self._unwanted(slot, now)) is not None:
            self._discard(slot, reason)
        else:
            self.leases.pop(slot.key, None)
            self._hint(slot)

    def _discard(self, slot: Slot, reason: Reason) -> None:
        """Close, by a worker, a connection that this call owns."""
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
        # Last, so that an exception that comes before leaves it where `_recover` finds it.
        if self.slots.pop(slot.key, None) is not None:
            self._takes_of_the_closed += slot.takes
            if slot.generation != self.generation:
                self._stale -= 1
        return Close(slot.conn, reason)

    def _probe_suspects(self, now: float) -> None:
        for suspect in self._claim_free(self.suspects.__contains__):
            self._work_on(suspect, now)
            self._lanes[CONNECT].append(Probe(suspect))
