"""What keeps a pool in shape: connecting and growing, distrusting, expiring, shrinking, warning.

See `poolhouse.pool.core` for the rules and invariants.
"""

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from poolhouse.conceal import conceal
from poolhouse.copies import copy_of
from poolhouse.errors import PoolError
from poolhouse.meter.meter import BATCH, Meter
from poolhouse.pool.backoff import FIRST_PAUSE, PROBE_PAUSE, Outage
from poolhouse.pool.bare_error import bare
from poolhouse.pool.growth import connects_for, review_at
from poolhouse.pool.jobs import Close, Connect, HeldLong, Job, Lane, Probe, Reason, ReconnectFailed, Return
from poolhouse.pool.options import FOREVER, PoolOptions, duration
from poolhouse.pool.recovery import Recovery
from poolhouse.pool.slot import Lease, Slot
from poolhouse.pool.state import CONNECT, RETURN
from poolhouse.pool.waiter import Vet, Waiter

#: How many recent uses, and how many recent connects, their average duration is taken from.
RECENT_USES = 64
#: The shortest time between two searches for leases that are held too long, in seconds.
HOLD_PAUSE = 0.01

#: Expired connections that no client asks for are closed and replaced no more often than this, in seconds, so that
#: a short `max_lifetime` does not keep an idle pool connecting. They are not served meanwhile.
EXPIRE_PAUSE = 1.0
#: The least `max_idle` that has an effect, in seconds.
LOOK_PAUSE = 0.1


class Maintenance(Recovery):
    """Jobs, and everything that happens as time passes."""

    __slots__ = (
        "_connect_times",
        "_doubt",
        "_doubt_pauses_until",
        "_doubted_at",
        "_expires_from",
        "_max_idle",
        "_mean_hold",
        "_reconnect_timeout",
        "_shrink_at",
        "outage",
    )

    def __init__(self, options: PoolOptions, meter: Meter, random: Callable[[], float]) -> None:
        super().__init__(options, meter, random)
        self.outage: Outage | None = None
        #: The error of the check of a new connection, until one succeeds.
        self._doubt: BaseException | None = None
        #: When a check of a new connection last failed, and until when no further connect begins because of that.
        self._doubted_at = self._doubt_pauses_until = 0.0
        self._shrink_at = 0.0
        self._max_idle = max(duration(options.max_idle or None), LOOK_PAUSE)
        self._expires_from = 0.0
        self._reconnect_timeout = duration(options.reconnect_timeout)
        self._connect_times: deque[float] = deque(maxlen=RECENT_USES)
        self._mean_hold = 0.0

    @property
    def connect_error(self) -> BaseException | None:
        """The error of the last connect, or of the last check of a new connection; ``None`` if it succeeded.

        Each caller gets a copy.
        """
        error = self._doubt if self.outage is None else self.outage.error
        return None if error is None else bare(error)

    def vet(self, slot: Slot, now: float) -> Vet:
        """What the owner must do before it may use the connection. Needs no lock."""
        if slot.proven_at < self._suspect_before:
            return Vet.CHECK if self.options.has_check else Vet.PROBE
        idle_since = slot.fit_until - self._look_after
        if self.options.has_check and now - idle_since >= self._check_idle:
            return Vet.CHECK
        return Vet.LOOK if now >= slot.fit_until else Vet.NOTHING

    def proven(self, slot: Slot, now: float) -> None:
        """Record that the server answered through this connection."""
        slot.proven_at = now
        self._doubt = None
        self.suspects.discard(slot)
        self._attend()

    def passed(self, slot: Slot, since: float, now: float) -> bool:
        """Record that a client has checked its claimed connection and takes it. Needs no lock.

        Args:
            slot: The slot of the connection.
            since: When the client asked.
            now: Now, in monotonic seconds.

        Returns:
            False if `proven` must follow, under the lock.
        """
        waits = self._waits
        waits.append(now - since)
        if len(waits) >= BATCH:
            self.meter.fold()
        if self.suspects or self._doubt is not None:
            return False
        slot.proven_at = now
        return True

    def found_dead(
        self,
        slot: Slot,
        error: BaseException,
        now: float,
        *,
        waiter: Waiter | None = None,
        is_cut: bool = False,
    ) -> None:
        """Close a client's connection that was found dead, and suspect those that were connected before it.

        A connection that dies before any client had it counts as a failed attempt to connect: a `check` that
        always fails must not make the pool connect as fast as it can.

        Args:
            slot: The slot that the client has.
            error: The error of the check.
            now: Now.
            waiter: The client; ``None`` if it came by the fast path.
            is_cut: Whether we aborted the check at the client's deadline: an earlier, real error is kept as the
                reason.
        """
        if waiter is not None:
            waiter.slot = None
        is_new = slot.fit_until == slot.connected_at + self._look_after
        if is_new and now - slot.connected_at < FIRST_PAUSE:
            if not is_cut or self._doubt is None:
                self._doubt = bare(error)
            self._doubted_at, self._doubt_pauses_until = now, now + PROBE_PAUSE * (0.8 + 0.4 * self._random())
            self._fail(self._doubt, now)
        self._lost(slot, now)

    def claim_for_check(self, seen: set[Slot], now: float) -> Slot | None:
        """A free slot that is not in `seen`, claimed for the pool to check; to be answered by `probed`."""
        for slot in self._claim_free(lambda slot: slot not in seen, limit=1):
            self._work_on(slot, now)
            self.worked_on.add(slot)
            return slot
        return None

    def probed(self, slot: Slot, is_alive: bool, now: float) -> None:
        """Record the result of a `Probe`."""
        self.working.discard(slot)
        self.worked_on.discard(slot)
        if is_alive:
            slot.proven_at = now
            slot.fit_until = now + self._look_after
            self.suspects.discard(slot)
            self._free(slot, now)
            self._pump(now)
        else:
            self._lost(slot, now)

    def has_jobs(self, now: float) -> bool:
        """Whether `next_job` would return a job in any lane; cheap if there is none."""
        return bool(
            self._lanes[RETURN]
            or self._lanes[CONNECT]
            or (self.size < self.max_size and self._connects_wanted(now) > 0)
        )

    def has_job(self, lane: Lane, now: float) -> bool:
        """Whether `next_job` would return a job."""
        return bool(self._lanes[lane]) or (
            lane is CONNECT and self.size < self.max_size and self._connects_wanted(now) > 0
        )

    def next_job(self, lane: Lane, now: float) -> Job | None:
        """The next job of a lane; ``None`` if there is none at present.

        One connect goes before all probes: those may wait for sessions that a failover has left hanging, while the
        new server would accept at once. Further connects come after: usually a probe is answered sooner.
        """
        is_connect = lane is CONNECT and self._connects_wanted(now) > 0
        if self._lanes[lane] and (self.connecting or not is_connect):
            job = self._lanes[lane].popleft()
            if isinstance(job, (Return, Probe)):
                # Owned by the worker: an exception that strikes late in the call that left the job does not
                # concern it.
                self._work_on(job.slot, now)
                self.worked_on.add(job.slot)
            return job
        if not is_connect:
            return None
        connect = Connect(Slot(self.generation))
        self.connecting.add(connect.slot)  # Last: nothing can fail after this.
        return connect

    def connected(
        self, slot: Slot, conn: Any, took: float, now: float, waiter: Waiter | None = None
    ) -> Close | None:
        """Record that a `Connect` has succeeded.

        Args:
            slot: The slot of the job.
            conn: The new connection.
            took: How long it took, in seconds.
            now: Now.
            waiter: The client that connected for itself; it gets the connection unless it has left.

        Returns:
            The job of closing the connection if it is not wanted any more.

        Raises:
            PoolError: If the pool already has this very connection; `connect_failed` must follow, and no close.
        """
        job = self.join(slot, conn, took, now, waiter)
        if job is not None or self.max_kept is None:
            self._pump(now)
        else:
            self.attend(now)
        return job

    def join(self, slot: Slot, conn: Any, took: float, now: float, waiter: Waiter | None = None) -> Close | None:
        """`connected`, without serving others: `attend` must be called as soon as possible.

        Like `serve_within`, this may interrupt another call of the core.
        """
        self.must_be_new(conn)
        self.outage = None
        self._wanted_before = max(0, self._wanted_before - 1)
        self.counts.connections_num += 1
        self._count_create(took)
        self._connect_times.append(took)
        slot.conn, slot.key = conn, id(conn)
        slot.connected_at = slot.proven_at = now
        slot.expires_at = now + self._lifetime * (1.0 - 0.1 * self._random())
        slot.retire_at = self._retire_at(slot)
        slot.fit_until = now + self._look_after
        is_late = slot.is_closed  # Its client was interrupted, and its place given to another.
        if is_late or not self.is_open or slot.generation != self.generation or self._is_oversized_exactly():
            self.connecting.discard(slot)
            slot.is_closed = True
            return Close(conn, Reason.DRAINED if self.is_open else Reason.CLOSED)
        # In this order: nothing, not even `serve_within`, may take its place between the two lines.
        self.slots[slot.key] = slot
        self.connecting.discard(slot)
        if not self.options.connect_in_caller:
            self._target = max(self._target, len(self.slots))
        self.has_new_deadline = True
        if waiter is not None and waiter.slot is slot:
            self.leases[slot.key] = (slot, now, waiter.code, waiter.instruction, waiter, False)
            self._mark_used()
        else:
            self._hint(slot)
        if len(self.slots) > self.meter.connections.level:
            self.meter.connections.reach(len(self.slots))
        if len(self.slots) >= self.min_size:
            self.was_full = True
        return None

    def must_be_new(self, conn: Any) -> None:
        """Raise if the pool already has this very connection, since a client may be using it. Needs no lock.

        Raises:
            PoolError: Pass it to `connect_failed`; the connection must be neither configured nor closed.
        """
        if id(conn) in self.slots:
            raise PoolError(conceal(f"connecting returned a connection that the pool already has: {conn}"))

    def connect_failed(self, slot: Slot, error: BaseException, now: float) -> bool:
        """Record that a `Connect` has failed. Returns whether that deserves a WARNING rather than a DEBUG line."""
        if self.slots.get(slot.key) is slot:
            self.connecting.discard(slot)
            return False  # An exception came late in `connected`: the connection exists.
        self.connecting.discard(slot)
        slot.is_closed = True
        self.counts.connections_num += 1
        self.counts.connections_errors += 1
        self.meter.connect_errors.add()
        self.connect_failures.add(error, now, self.meter.connects)
        is_loud = self._fail(error, now)
        self._pump(now)
        return is_loud

    def lease_of(self, job: Job) -> Lease | None:
        """The lease for a job that `next_job` has just returned; see `dropped`."""
        return self.leases.get(job.slot.key) if isinstance(job, (Return, Probe)) else None

    def dropped(self, job: Job, lease: Lease | None, now: float) -> None:
        """Record that an exception has ended a worker's job, perhaps before its answer: no thread works on it now.

        Args:
            job: The job from `next_job`. An answer that was given stays valid.
            lease: What `lease_of` returned for it; the slot's lease differs if the slot has had another owner
                since.
            now: Now.
        """
        if isinstance(job, Connect) and job.slot in self.connecting:
            self.connect_failed(job.slot, PoolError("the connect was interrupted"), now)
        elif isinstance(job, (Return, Probe)) and self.leases.get(job.slot.key) is lease:
            self.worked_on.discard(job.slot)
        self.recover(now)

    def put_back(self, job: Job, lease: Lease | None, now: float) -> None:
        """As `dropped`, for a job that has perhaps not begun: a connection is closed twice rather than never."""
        if isinstance(job, Close):
            self.post(job)
        self.dropped(job, lease, now)

    def rehearsed(self, took: float, error: BaseException | None, now: float) -> bool:
        """Record a trial connect (`NullConnectionPool.wait`).

        Returns:
            Whether its failure deserves a WARNING rather than a DEBUG line.
        """
        self.counts.connections_num += 1
        if error is None:
            self.outage = None
            self._count_create(took)
            return False
        self.counts.connections_errors += 1
        self.meter.connect_errors.add()
        self.connect_failures.add(error, now, self.meter.connects)
        return self._fail(error, now)

    def next_rehearsal_at(self, now: float) -> float:
        """When to try again after a failed trial connect (`rehearsed`): in time for `reconnect_failed`."""
        due, outage = now + FIRST_PAUSE, self.outage
        return due if outage is None or outage.gives_up_at <= now else min(due, outage.gives_up_at)

    def tick(self, now: float) -> None:
        """Do what has become due: expire, shrink, warn."""
        if not self.is_open:
            return
        if now >= self._expires_from:
            for slot in self._claim_free(lambda slot: now >= slot.expires_at):
                self._discard(slot, Reason.EXPIRED)
                self._expires_from = now + EXPIRE_PAUSE
        if now >= self._shrink_at:
            self._shrink(now)
        if now >= self._look_for_abandoned_at:
            self.reclaim(now)
        self._warn_of_long_holds(now)
        self._pump(now)

    def next_deadline(self, now: float) -> float | None:
        """When `tick` or `next_job` will next have work that no other call causes; ``None`` for never."""
        if not self.is_open:
            return None
        due = [
            max(slot.expires_at, self._expires_from) for key, slot in self.slots.items() if key not in self.leases
        ]
        if len(self.slots) > self.min_size and self._max_idle != FOREVER:
            due.append(self._shrink_at)
        if (attempt := self._next_attempt_at(now)) is not None:
            if not self.connecting and self._shortfall(now) > 0:
                due.append(attempt)
        elif self.waiters and not self._is_oversized(adding=1) and not self.options.connect_in_caller:
            since = [lease[1] for lease in list(self.leases.values()) if lease[2] is not None]
            review = review_at(waiting=len(self.waiters), leased_since=since, connect_time=self._mean_connect())
            if review is not None and review > now:
                due.append(review)
        if self.waiters:
            due.append(self._look_for_abandoned_at)
        if self._hold_warning != FOREVER:
            due.append(self._next_long_hold(now))
        return min(due, default=None)

    def _count_create(self, took: float) -> None:
        self.meter.creates.append(took)
        if len(self.meter.creates) >= BATCH:
            self.meter.fold()

    def _fail(self, error: BaseException, now: float) -> bool:
        self.has_new_deadline = True
        error = bare(error)
        if self.outage is None:
            self.outage, is_loud = Outage(now, error, self._random, self._reconnect_timeout), True
        else:
            is_loud = self.outage.fail(now, error)
            if not self.waiters:
                self.outage.pause()
        if now >= self.outage.gives_up_at:
            self.outage.restart(now)
            self._lanes[CONNECT].append(ReconnectFailed(self._reconnect_timeout))
        return is_loud

    def _shortfall(self, now: float) -> int:
        """How many connects should be started, regardless of an outage."""
        if not self.is_open:
            return 0
        room = self.max_size - self.size
        if room <= 0:
            return 0
        connecting = len(self.connecting)
        wanted = max(0, max(self.min_size, self._target) - self.size) + connecting
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

    def _connects_wanted(self, now: float) -> int:
        """How many connects to start now; during an outage one at a time, each when it is due."""
        attempt = self._next_attempt_at(now)
        if attempt is None:
            return self._shortfall(now)
        return 0 if self.connecting or now < attempt else min(1, self._shortfall(now))

    def _next_attempt_at(self, now: float) -> float | None:
        """When the next connect may start; ``None`` if any number may start at once.

        Failed checks of new connections count, too: each success of one connection ends the outage, and two that
        are made in turn would end it for each other.
        """
        if self.outage is not None:
            return self.outage.next_attempt_at(bool(self.waiters))
        if self._doubt is not None and now < self._doubted_at + FIRST_PAUSE:
            return self._doubt_pauses_until
        return None

    def _mean_connect(self) -> float:
        times = self._connect_times
        return sum(times) / len(times) if times else 0.0

    def _hold(self, now: float) -> float:
        """How long clients keep connections: the mean of recent uses, or of the present ones if that is more."""
        recent = list(islice(reversed(self._uses), RECENT_USES))
        if recent:
            self._mean_hold = sum(recent) / len(recent)
        ages = [now - lease[1] for lease in list(self.leases.values()) if lease[2] is not None]
        return max(self._mean_hold, sum(ages) / len(ages) if ages else 0.0)

    def _lost(self, slot: Slot, now: float) -> None:
        """Record that a connection was found dead: all that are no younger are suspect until they answer."""
        self.counts.connections_lost += 1
        self.meter.invalidated.add()
        self._discard(slot, Reason.LOST)
        self._suspect_before = now
        self.suspects = {other for other in self.slots.values() if other.proven_at < now}
        self._pump(now)

    def _shrink(self, now: float) -> None:
        """After each `max_idle`, close one connection, or all, that were not needed during that time."""
        self._shrink_at = now + self._max_idle
        # The mark's level is only a hint, and too low a hint costs nothing: so it may be reset here.
        peak = max(self._peak_used, self._used.level, self.used)
        self._used.level, self._peak_used = self.used, 0
        unneeded = 0 if self._was_exhausted else len(self.slots) - peak
        self._was_exhausted = bool(self.waiters)
        surplus = min(unneeded, len(self.slots) - self.min_size)
        if surplus > 0:
            for slot in self._claim_free(lambda _: True, limit=1 if self.options.shrink == "one" else surplus):
                self._discard(slot, Reason.SHRUNK)

    def _warn_of_long_holds(self, now: float) -> None:
        """Warn of leases that are older than `hold_warning`.

        Checkouts and returns announce nothing, so this looks at the leases. The return of a connection that was
        warned about takes the slow path, which reports it; one that was already on the fast path is found here.
        """
        if self._hold_warning == FOREVER:
            return
        leases = copy_of(self.leases)
        for slot, (since, *_) in list(self._warned.items()):
            if (lease := leases.get(slot.key)) is None or lease[1] is not since:
                self._returned_after_all(slot, now)
        for lease in leases.values():
            slot, held = lease[0], now - lease[1]
            if lease[2] is not None and held >= self._hold_warning and slot not in self._warned:
                self._warned[slot] = lease[1], lease[2], lease[3]
                slot.retire_at = 0.0
                self.notices.append(HeldLong(lease, held))

    def _next_long_hold(self, now: float) -> float:
        """When to look at the leases again; a later lease is due after now + `hold_warning` at the earliest."""
        warned = self._warned
        since = [
            lease[1] for lease in list(self.leases.values()) if lease[2] is not None and lease[0] not in warned
        ]
        return max(min(since, default=now) + self._hold_warning, now + HOLD_PAUSE)
