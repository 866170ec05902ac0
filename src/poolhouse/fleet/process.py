"""One process under one program name: its latest report, and the difference that the next one makes.

A reading is cumulative, so a datagram that is lost, late or repeated does no harm: a pool takes only what is newer
than what it has, by the report's number, and passes on the difference.
"""

from collections.abc import Callable
from math import inf
from typing import TypeAlias

from poolhouse.fleet.account import add
from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.distribution import NO_DISTRIBUTIONS, Distributions
from poolhouse.fleet.holders import Back
from poolhouse.fleet.legacy import LegacySums
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.past import Past
from poolhouse.fleet.pool import Pool
from poolhouse.fleet.presence import LIVING, SLACK, State, believed
from poolhouse.fleet.process_state import NO_NAMES, ProcessState
from poolhouse.fleet.sequence import Sequence
from poolhouse.fleet.signs import NO_SIGNS
from poolhouse.fleet.trouble import TROUBLE_GAUGES, Trouble
from poolhouse.fleet.vectors import ONE_PROCESS, TROUBLE_SHIFT, Knows
from poolhouse.meter.reading import MARKS, REST
from poolhouse.wire.message import LegacyDatagram, PoolSums, RawPool, ReportDatagram

#: A report of more datagrams than this is not ours: a process reports at most 64 pools, and a few that ended.
MOST_DATAGRAMS = 512
#: The size of a process in bytes without its pools, including its place in the tables; measured with tracemalloc.
PROCESS_BYTES = 1_400

#: The key if a process does not report its pools one by one.
NO_POOL = -1

#: For `Process.base_until`.
NOT_COMPLETE = inf

#: Called with the process, the kind of an event and its text.
Tell: TypeAlias = Callable[["Process", str, str], None]
#: The rows that a process adds to: its program on its host, its program, its host, and the fleet.
Rows: TypeAlias = tuple[Aggregate, Aggregate, Aggregate, Aggregate]


class Process:
    """State of one process, and the rows that it adds to.

    Attributes:
        key: Host, program and token as in its datagrams.
        token: The token for people.
        rows: The rows of its program on its host, its program, its host, and the fleet.
        source: The sender of its first report, as far as senders can be distinguished (`poolhouse.fleet.shares`).
        state: Whether it still reports.
        heard_at: When the first datagram of its latest report arrived.
        interval: Seconds between its reports.
        born: When it began, by the aggregator's clock; -inf if it does not say.
        deadline: When to check whether it has fallen silent, or can be forgotten.
        is_proven: Whether a second report came, at about the right time.
        size: The approximate bytes of it and its pools.
        keeps_base: Whether what came before its base was counted and forgotten, so that no node may add it again.
        base_until: A pool that first appears in a report after this one is new, and counts in full; `NOT_COMPLETE`
            until a report has arrived completely.
        number: Its latest report; -1 for none.
        is_ahead: Whether only another node has received that report.
        uptime: Its age according to that report.
        totals: The vector of everything that it has added to the rows.
        knows: The values that it sends, a bit for each.
        sent: The counters that it sends, a bit for each.
        pools: The pools that it reports, by key.
        past: Its ended pools, for other nodes; ``None`` if there are none.
        legacy: Its sums, as long as it reports like an older client.
        returned_with: The report with which it last returned from a silence; -1 for none.
        lost_elsewhere: How many of its datagrams another node has counted as lost.
        signs: Its latest signs, of its sites and of itself.
        back: Its sites, if it was forgotten and has returned only a short time ago.
        user: The user who sealed its latest report; empty if it was not sealed.
        password: Which of the user's passwords was used, 0 for the current one.
        told_at: The latest time given in a sealed report of it.
    """

    __slots__ = (
        "_longest_gap",
        "_places",
        "_trouble",
        "back",
        "base_until",
        "born",
        "deadline",
        "heard_at",
        "interval",
        "is_ahead",
        "is_proven",
        "keeps_base",
        "key",
        "knows",
        "legacy",
        "lost_elsewhere",
        "number",
        "password",
        "past",
        "pools",
        "returned_with",
        "rows",
        "sent",
        "sequence",
        "signs",
        "size",
        "source",
        "state",
        "token",
        "told_at",
        "totals",
        "uptime",
        "user",
    )

    def __init__(
        self,
        key: tuple[str, str, str],
        token: str,
        rows: Rows,
        is_base: bool,
        now: float,
        interval: float,
    ) -> None:
        """Start without a reading.

        Args:
            key: Host, program and token.
            token: The token for people.
            rows: The rows that it adds to.
            is_base: Whether its first report only sets where counting begins, and adds nothing.
            now: The aggregator's time.
            interval: Seconds between its reports.
        """
        self.key = key
        self.source = ""
        self.token = token
        self.rows = rows
        self.state = LIVING
        self.heard_at = now
        #: The longest time between two of its reports.
        self._longest_gap = 0.0
        self.interval = believed(interval, 0.0)
        self.is_proven = False
        self.size = PROCESS_BYTES + 4 * len(token)
        self.born = -inf
        self.deadline: float | None = None
        self.sequence: Sequence | None = None
        self.keeps_base = False
        self.base_until: float = NOT_COMPLETE if is_base else -1
        #: A bit for each datagram of report `_number` that has arrived; kept only while needed.
        self._places = 0
        self.number = -1
        self.is_ahead = False
        self.uptime: float | None = None
        self.totals = 0
        self.knows = 0
        self.sent = 0
        self.pools: dict[int, Pool] = {}
        self.past: Past | None = None
        self.legacy: LegacySums | None = None
        self.lost_elsewhere = 0
        self.signs = NO_SIGNS
        self.back: Back | None = None
        self.returned_with = -1
        self.user = b""
        self.password = 0
        self.told_at = 0.0
        self._trouble: Trouble | None = None

    @property
    def gauges(self) -> int:
        """The vector of all its pools' gauges; 0 if the process is not living."""
        gauges = sum(pool.gauges for pool in self.pools.values())
        return gauges + self.legacy.gauges if self.legacy else gauges

    @property
    def lost(self) -> int:
        """Datagrams that never arrived."""
        return max(self.sequence.lost, self.lost_elsewhere) if self.sequence else self.lost_elsewhere

    @property
    def is_born(self) -> bool:
        """Whether it reports its age."""
        return self.born != -inf

    def is_newer(self, message: ReportDatagram) -> bool:
        """Whether the datagram belongs to a newer report than all before."""
        return message.number > self.number or (self.is_ahead and message.number == self.number)

    def report(
        self,
        message: ReportDatagram,
        datagram: bytes,
        limits: FleetLimits,
        may_grow: bool,
        now: float,
        tell: Tell,
    ) -> str | None:
        """Take one datagram of a report.

        Args:
            message: The datagram, decoded.
            datagram: Its bytes, kept for consoles that ask for the pool.
            limits: The most pools that are kept, and the most ended ones.
            may_grow: Whether there are bytes left to grow.
            now: The aggregator's time.
            tell: Called with events.

        Returns:
            The name of the limit that kept its pool out, or ``None``.

        Raises:
            PacketError: If its pool is too large to be added.
        """
        if self.legacy is not None:
            self._drop_earlier(now)
        if message.number > self.number or (self.is_ahead and message.number == self.number):
            self._begin_report(message, limits.ended_pools, now)
        raw = message.pool
        refused = None
        if raw is not None:
            pool = self.pools.get(raw.key)
            if pool is not None:
                if message.number > pool.number or (pool.is_ahead and message.number == pool.number):
                    if may_grow or not pool.would_grow(raw, datagram):
                        self._take(pool, message, raw, datagram, now, tell)
                    else:
                        refused = "bytes"
            # A datagram older than that may be about a pool that is gone and forgotten.
            elif message.number >= self.number - MARKS:
                if not may_grow:
                    refused = "bytes"
                elif self._has_ended(raw):
                    pass
                elif self._has_room(limits.pools, limits.ended_pools):
                    pool = self._summed(raw.key) or Pool.new(message, raw, message.number <= self.base_until)
                    self._take(pool, message, raw, datagram, now, tell)
                    self.pools[raw.key] = pool
                    name = None if raw.key == REST else raw.name
                    for row in self.rows:
                        row.learn_pool(name)
                else:
                    refused = "pools"
        if self.base_until == NOT_COMPLETE:
            self._note_place(message)
        return refused

    def take_signs(self, payload: bytes, number: int, may_grow: bool) -> str | None:
        """Store the signs of report `number`, if they are the latest.

        Returns:
            The name of the limit that kept them out, or ``None``.
        """
        signs = self.signs.with_newer(payload, number)
        growth = signs.size - self.signs.size
        if growth > 0 and not may_grow:
            return "bytes"
        self.signs = signs
        self.size += growth
        return None

    def earlier(self, message: LegacyDatagram, now: float, tell: Tell, *, is_relayed: bool) -> None:
        """Take one list of an older client; ignored from a process that reports its pools one by one.

        Args:
            message: The list.
            now: The aggregator's time.
            tell: Called with events.
            is_relayed: Whether another node has passed it on.

        Raises:
            PacketError: If it is too large to be added.
        """
        if self.number >= 0:
            return
        sums = self.obtain_legacy()
        before, counts = sums.gauges, 0
        if isinstance(message.sums, PoolSums):
            sums.take_gauges(message, message.sums, now, is_relayed=is_relayed)
            waiting = Knows.WAITING if message.sums.waiting is not None else 0
            self.learn(Knows.SUMS | Knows.UNMARKED | waiting, 0)
        else:
            is_base = self.base_until == NOT_COMPLETE
            counts = sums.take_counts(message, message.sums, is_base, now, is_relayed=is_relayed)
            self.learn(Knows.UNMARKED | Knows.CHECKOUTS, sums.sent)
        self._hear(message.interval, now)
        if self.state is not LIVING:
            sums.gauges = 0
        self._add(sums.gauges - before, counts, NO_DISTRIBUTIONS, now)
        if counts >> TROUBLE_SHIFT:
            for kind, text in self._obtain_trouble().counted(NO_POOL, counts):
                tell(self, kind, text)

    def leave(self, state: State) -> None:
        """Let the process leave: its gauges become 0, its counters stay."""
        self.state = state
        for pool in self.pools.values():
            pool.gauges = 0
            self.size -= pool.size
            pool.forget_samples()
            self.size += pool.size
        if self.legacy is not None:
            self.legacy.gauges = 0
            self.legacy.forget_samples()

    def learn_anew(self) -> None:
        """Tell new rows which values and counters it sends."""
        for row in self.rows:
            row.learn(self.knows, self.sent)

    def state_at(self, now: float) -> ProcessState:
        """The process's present state."""
        pools = [pool.state(now) for pool in self.pools.values()]
        points = [pool.points for pool in pools]
        if self.legacy is not None:
            points.append(self.legacy.rate_points())
        host, program = self.rows[0].key
        holders = self.rows[1].holders
        names = NO_NAMES if holders is None else holders.names
        age = now - self.heard_at
        uptime = None if self.uptime is None else self.uptime + age
        return ProcessState(
            host, program, self.token, self.gauges + ONE_PROCESS, self.knows, self.sent, self.totals, age,
            self.interval, uptime, self.lost, pools, points, self.signs, names, self.user, self.password,
        )  # fmt: skip

    def obtain_past(self) -> Past:
        """Its ended pools, created if necessary."""
        if self.past is None:
            self.past = Past()
        return self.past

    def obtain_legacy(self) -> LegacySums:
        """Its sums as an older client, created if necessary."""
        if self.legacy is None:
            self.legacy = LegacySums()
        return self.legacy

    def end_legacy(self) -> None:
        """Note that it now reports its pools one by one: what its lists have counted stays counted."""
        assert self.legacy is not None, "only for a process that reported like an older client"
        past = self.obtain_past()
        past.older = add(past.older, (self.legacy.risen, NO_DISTRIBUTIONS))
        past.floor = max(past.floor, 1)
        self.legacy = None

    def skip_to(self, number: int, uptime: float | None) -> None:
        """Note that another node has received its latest report."""
        self.number = number
        self.is_ahead = True
        self.uptime = uptime
        self._places = 0

    def weigh(self) -> None:
        """Estimate its size again."""
        self.size = PROCESS_BYTES + 4 * len(self.token) + sum(pool.size for pool in self.pools.values())
        self.size += self.signs.size
        if self.past is not None:
            self.size += self.past.size

    def _begin_report(self, message: ReportDatagram, most_ended: int, now: float) -> None:
        self.number = message.number
        self.is_ahead = False
        self._places = 0
        self._hear(message.interval, now)
        self.uptime = message.uptime
        oldest = message.number - MARKS
        for key in [key for key, pool in self.pools.items() if pool.number < oldest]:
            self._withdraw(key, most_ended, now)
        if self.past is not None and len(self.past.accounts) > most_ended:
            size = self.past.size
            self.past.fold(most_ended, self.number)
            self.size += self.past.size - size
        if message.pool is None:
            # Nothing else in this datagram updates the time of the rows' latest report.
            self._add(0, 0, NO_DISTRIBUTIONS, now)

    def _hear(self, interval: float, now: float) -> None:
        """Begin a report; its interval is believed as far as the process has kept to it."""
        gap = now - self.heard_at
        self._longest_gap = max(self._longest_gap, gap)
        self.heard_at = now
        self.interval = believed(interval, self._longest_gap)
        if gap * SLACK >= self.interval:
            self.is_proven = True

    def _withdraw(self, key: int, most_ended: int, now: float) -> None:
        """Handle a pool that is no longer reported: it adds nothing, and is forgotten if it is gone."""
        pool = self.pools[key]
        if pool.is_over:
            self._end(key, most_ended)
        if pool.gauges:
            self._add(-pool.gauges, 0, NO_DISTRIBUTIONS, now)
            pool.gauges = 0

    def _end(self, key: int, most_ended: int) -> None:
        """Handle a pool that is gone; its account is kept for other nodes, if there are any."""
        pool = self.pools[key]
        if most_ended:
            past = self.obtain_past()
            size = past.size if past.accounts else 0
            past.accounts[key] = pool.account()
            self.size += past.size - size
        del self.pools[key]
        self.size -= pool.size

    def _has_ended(self, raw: RawPool) -> bool:
        """Whether a pool is known to have ended, so that anything about it is late.

        A pool below the floor that was alive in one of the last reports had not been heard of when the floor rose.
        """
        past, key = self.past, raw.key
        return past is not None and key != REST and (key in past.accounts or (key < past.floor and not raw.pools))

    def _summed(self, key: int) -> Pool | None:
        """A pool that was added to the sum of ended ones although it has not ended; ``None`` if it was not."""
        known = None if self.past is None else self.past.presumed.get(key)
        return None if known is None else Pool.of(known)

    def _has_room(self, most: int, most_ended: int) -> bool:
        """Whether there is room for one more pool, if need be in place of one that is no longer reported."""
        if len(self.pools) >= most:
            oldest = self.number - MARKS
            untold = next((key for key, pool in self.pools.items() if pool.number < oldest and key != REST), None)
            if untold is None:
                return False
            self._end(untold, most_ended)
        return True

    def _note_place(self, message: ReportDatagram) -> None:
        """Note a datagram; once all of a report have come, all pools that the process already had are known."""
        if message.number == self.number and message.datagrams <= MOST_DATAGRAMS:
            self._places |= 1 << message.place
            if self._places == (1 << message.datagrams) - 1:
                self.base_until = message.number

    def _take(
        self, pool: Pool, message: ReportDatagram, raw: RawPool, datagram: bytes, now: float, tell: Tell
    ) -> None:
        before, size = pool.gauges, pool.size if raw.key in self.pools else 0
        counts, grown = pool.take(message, raw, datagram, now)
        self.size += pool.size - size
        after = pool.gauges
        self.learn(
            Knows.SUMS
            | Knows.WAITING
            | Knows.POOLS
            | (pool.sent & 1) * Knows.CHECKOUTS
            | (raw.wait != b"") * Knows.WAIT_TIMES
            | (raw.use != b"") * Knows.USE_TIMES
            | (raw.create != b"") * Knows.CREATE_TIMES,
            pool.sent,
        )
        if self.state is not LIVING:
            pool.gauges = after = 0
        if message.number == self.returned_with:
            # It reports the work of its whole silence, which belongs to no rate.
            self.totals += counts
            for row in self.rows:
                row.join_amount((counts, grown))
            self._add(after - before, 0, NO_DISTRIBUTIONS, now)
        else:
            self._add(after - before, counts, grown, now)
        if (before | after) & TROUBLE_GAUGES or counts >> TROUBLE_SHIFT or self._trouble is not None:
            trouble, is_living = self._obtain_trouble(), self.state is LIVING
            for kind, text in trouble.follow(raw, message.number, before, after, counts, is_living=is_living):
                tell(self, kind, text)

    def _add(self, gauges: int, counts: int, grown: Distributions, now: float) -> None:
        self.totals += counts
        interval = self.interval
        for row in self.rows:
            row.add(gauges, counts, grown, now, interval)

    def learn(self, knows: int, sent: int) -> None:
        """Note the values and the counters that it sends, a bit for each, and tell its rows."""
        if knows & ~self.knows or sent & ~self.sent:
            self.knows |= knows
            self.sent |= sent
            self.learn_anew()

    def _obtain_trouble(self) -> Trouble:
        if self._trouble is None:
            self._trouble = Trouble()
        return self._trouble

    def _drop_earlier(self, now: float) -> None:
        """Note that it now reports its pools one by one: its lists stay counted, its pools start counting."""
        assert self.legacy is not None
        self._add(-self.legacy.gauges, 0, NO_DISTRIBUTIONS, now)
        self.end_legacy()
        self.base_until = NOT_COMPLETE
