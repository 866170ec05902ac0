"""The server's side of all consoles: their datagrams, the order of work, and the replies.

No clock, no socket, no thread. The shell must do the following, in this order, often, and read reports in between:

1. `receive` for every datagram of a console; what it returns goes back at once.
2. `outgoing`, and sends what it returns; `sent` with the seconds that took.
3. `next`; it runs the returned `Work` (which alone may run beside other threads), then `done` with the seconds it
   took.

`next_due` is the time until which it may rest. Times are monotonic seconds.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from itertools import count, islice
from math import ceil, inf
from typing import NamedTuple, Protocol

from poolhouse.defaults import SNAPSHOT_INTERVAL
from poolhouse.feed.protocol.chunks import MAX_CHUNKS, datagrams
from poolhouse.feed.protocol.datagrams import Missing
from poolhouse.feed.protocol.frame import Base, Processes, Server, frame_steps
from poolhouse.feed.protocol.schedule import SHARE, Schedule
from poolhouse.feed.protocol.subscribers import Address, Subscriber, Subscribers
from poolhouse.fleet.snapshot import Holder, ProcessRow, Snapshot

#: Datagrams that are sent before the console gets time to read them, and that time in seconds: a socket's usual
#: buffer holds about 180 of them.
BURST, PAUSE = 32, 0.002
#: Value lists sent to a console of sqlalchemy-collectd per second: a large fleet is sent less often.
VALUES_PER_SECOND = 2_000
#: The most datagrams for all consoles together that are sent at once.
MOST_AT_ONCE = 128
#: A fleet's sums serve all frames that begin within this many seconds of their making, or for as long as making
#: them again would exceed the consoles' share.
SUMS_SECONDS = 0.05
#: The longest time between two checks for consoles that have left, in seconds.
LONGEST_REST = 1.0
#: A frame this many times smaller than allowed is followed by one with more detail.
CHUNKS_TO_SPARE = 4
#: How often a console may request the missing chunks of a frame, and how many chunks it is sent again, in frames,
#: so that requests cannot serve as an amplifier.
MOST_REQUESTS, MOST_SENT_AGAIN = 8, 2

#: The key of a console: how it is reached, and its address.
Key = tuple[Hashable, Address]


class Source(Protocol):
    """The source of a server's snapshots; implemented by the shell."""

    def sums(self) -> Iterator[Snapshot | None]:
        """A snapshot without processes, in small steps: ``None`` after each, and finally the snapshot."""
        ...

    def processes(self, program: str) -> Processes:
        """The program's processes."""
        ...

    def values(self) -> "Iterator[list[bytes]] | None":
        """The value lists for consoles of sqlalchemy-collectd, in steps; ``None`` if the service sends none."""
        ...


class Outgoing(NamedTuple):
    """A datagram to send."""

    via: Hashable
    address: Address
    datagram: bytes


class _Nobody:
    """An empty set of processes."""

    def __len__(self) -> int:
        return 0

    def rows(self, with_times: bool, most: int) -> Iterator[ProcessRow | None]:
        return iter(())

    def holders(self) -> Iterator[list[Holder] | None]:
        return iter(())


NOBODY = _Nobody()


class _Sent:
    """The latest frame sent to a console, for parts that it misses."""

    __slots__ = ("chunks", "nonce", "number", "requests", "sent_again")

    def __init__(self, nonce: bytes, number: int, chunks: list[bytes]) -> None:
        self.nonce = nonce
        self.number = number
        self.chunks = chunks
        self.requests = 0
        self.sent_again = 0


class _Values:
    """The topic of consoles of sqlalchemy-collectd."""


VALUES = _Values()


class _Sums:
    """The sums of a fleet at one moment, which several frames may wait for."""

    def __init__(self, steps: Iterator[Snapshot | None], now: float) -> None:
        #: When they were last worked on; -inf if that failed.
        self.at = now
        self.cost = 0.0
        self.base: Base | None = None
        self._steps = steps

    @property
    def is_ready(self) -> bool:
        """Whether all of it has been made and encoded."""
        return self.base is not None and self.base.is_encoded

    def step(self) -> None:
        try:
            snapshot = next(self._steps)
        except BaseException:
            self.at = -inf  # No other frame may wait for it.
            raise
        if snapshot is not None:
            self.base = Base(snapshot)


class Work:
    """One small step of a topic. Call `run`, then `ConsoleService.done`."""

    def __init__(self, topic: Hashable, steps: "Iterator[list[bytes] | None]", sums: _Sums | None) -> None:
        self.topic = topic
        self._steps = steps
        #: The sums being made, so that their cost is recorded.
        self.sums = sums if sums is not None and not sums.is_ready else None
        self.made: list[bytes] | None = None
        self.is_over = False

    def run(self) -> None:
        """Do the step, which takes a millisecond or two."""
        try:
            self.made = next(self._steps)
        except StopIteration:
            self.is_over = True


class _Outbox:
    """The datagrams that are being sent to one console."""

    __slots__ = ("due", "pause", "sendings")

    def __init__(self, pause: float) -> None:
        #: Seconds to wait for each datagram of a burst.
        self.pause = pause
        self.sendings: deque[Iterator[bytes]] = deque()
        #: When the next burst is due.
        self.due = 0.0

    def burst(self, most: int) -> list[bytes]:
        found: list[bytes] = []
        while self.sendings and len(found) < most:
            some = list(islice(self.sendings[0], most - len(found)))
            if not some:
                self.sendings.popleft()
            found += some
        return found


class ConsoleService:
    """All consoles of one server; not thread-safe except `Work.run`.

    Attributes:
        held: The keys of consoles to which nothing can be sent at present; the shell changes it.
    """

    def __init__(
        self,
        source: Source,
        name: str,
        reports: Callable[[], tuple[str, ...]],
        subscribers: Subscribers,
        now: float,
        interval: float = SNAPSHOT_INTERVAL,
    ) -> None:
        """Start without consoles.

        Args:
            source: The source of snapshots.
            name: The server's introduction.
            reports: Returns where it receives reports now, as ``host:port``.
            subscribers: The served consoles.
            now: The time.
            interval: Seconds between two snapshots for a console.
        """
        self.subscribers = subscribers
        self.held: set[Key] = set()
        self._source = source
        self._name = name
        self._reports = reports
        self._interval = interval
        self._schedule = Schedule(interval, now)
        self._now = now
        self._numbers = count()
        self._sums: _Sums | None = None
        #: The steps of each topic in progress.
        self._steps: dict[Hashable, Iterator[list[bytes] | None]] = {}
        #: When each topic's latest frame was begun, the time since the previous one, and how much it left out.
        self._begun: dict[Hashable, float] = {}
        self._periods: dict[Hashable, float] = {}
        self._lightness: dict[Hashable, int] = {}
        self._outboxes: dict[Key, _Outbox] = {}
        self._sent: dict[Key, _Sent] = {}
        #: A topic that waits because its last datagrams are still being sent.
        self._held: Hashable = None

    def receive(
        self, datagram: bytes, address: Address, now: float, via: Hashable = None, *, is_proven: bool = False
    ) -> bytes | None:
        """Handle one datagram from a console; return the immediate reply, or ``None``.

        `is_proven`: its connection proves its address.
        """
        answer = self.subscribers.handle(datagram, address, now, via, is_proven=is_proven)
        while self.subscribers.missing:
            self._send_again((via, address), self.subscribers.missing.pop())
        return answer

    def outgoing(self, now: float) -> list[Outgoing]:
        """The datagrams to send now."""
        found: list[Outgoing] = []
        for key, outbox in list(self._outboxes.items()):
            if outbox.due > now or key in self.held or len(found) >= MOST_AT_ONCE:
                continue
            burst = outbox.burst(BURST)
            found += [Outgoing(*key, datagram) for datagram in burst]
            outbox.due = now + outbox.pause * len(burst)
            del self._outboxes[key]
            if burst:
                self._outboxes[key] = outbox  # At the end, for the next turn.
        return found

    def sent(self, seconds: float) -> None:
        """Record how many seconds it took to send the datagrams of `outgoing`."""
        self._schedule.sent(seconds)

    def next(self, now: float) -> Work | None:
        """The next piece of work; ``None`` if there is none, or no time for it."""
        self._now = now
        consoles = {(one.via, one.address): one for one in self.subscribers.consoles(now)}
        has_values = any(one.nonce is None for one in consoles.values())
        topics = {key: self._topic(one) for key, one in consoles.items()}
        self._schedule.set_consoles(topics.items(), now)
        self._forget(set(topics.values()))
        for gone in (self._sent.keys() | self._outboxes.keys()) - consoles.keys():
            self._sent.pop(gone, None)
            self._outboxes.pop(gone, None)
        self._held = VALUES if has_values and self._is_sending_values(consoles) else None
        chosen = self._schedule.next(now, self._outboxes, self._held)
        if chosen is None:
            return None
        (topic,) = chosen
        steps = self._steps.get(topic)
        if steps is None:
            self._note_period(topic, now)
            steps = self._steps[topic] = self._begin(topic)
        return Work(topic, steps, self._sums)

    def done(self, work: Work, seconds: float, now: float) -> None:
        """Record that a step from `next` has run."""
        self._now = now
        self._schedule.spent(seconds, work.topic)
        if work.sums is not None:
            work.sums.cost += seconds
            work.sums.at = max(now, work.sums.at) if work.sums.at != -inf else -inf
        if not self._schedule.is_wanted(work.topic):
            self._steps.pop(work.topic, None)
            return
        if work.topic is VALUES:
            if work.made:
                self._send_values(work.made)
            if work.is_over:
                self._finish(work.topic)
        elif work.made is not None:
            self._send_frame(work.made, self._finish(work.topic))
        elif work.is_over:  # An earlier step raised.
            self._finish(work.topic)

    def next_due(self, now: float) -> float:
        """When there may be something to do; a console's datagram may arrive earlier."""
        dues = (outbox.due for key, outbox in self._outboxes.items() if key not in self.held)
        sending = min(dues, default=now + LONGEST_REST)
        return min(sending, self._schedule.next_due(now, self._outboxes, self._held), now + LONGEST_REST)

    def _topic(self, console: Subscriber) -> Hashable:
        return VALUES if console.nonce is None else console.program

    def _is_sending_values(self, consoles: dict[Key, Subscriber]) -> bool:
        return any(key in self._outboxes for key, one in consoles.items() if one.nonce is None)

    def _note_period(self, topic: Hashable, now: float) -> None:
        if topic in self._begun:
            self._periods[topic] = now - self._begun[topic]
        self._begun[topic] = now

    def _forget(self, topics: set[Hashable]) -> None:
        """Drop the records of all topics except these."""
        for known in (self._steps, self._begun, self._periods, self._lightness):
            for topic in known.keys() - topics:
                del known[topic]

    def _begin(self, topic: Hashable) -> Iterator[list[bytes] | None]:
        if topic is VALUES:
            return self._source.values() or iter(())
        assert topic is None or isinstance(topic, str)
        return self._frame(topic)

    def _frame(self, program: str | None) -> Iterator[list[bytes] | None]:
        """A program's frame in small steps, finally its chunks."""
        sums = self._fresh_sums()
        while sums.base is None:
            sums.step()
            yield None
        processes = NOBODY if program is None else self._source.processes(program)
        steps = frame_steps(
            lambda: self._server(program), sums.base, program, processes, self._lightness.get(program, 0)
        )
        made: tuple[list[bytes], int] | None = None
        while made is None:
            try:
                next(steps)
            except StopIteration as stop:
                made = stop.value
            else:
                yield None
        chunks, lightness = made
        # After a frame with room to spare, the next one may contain more.
        has_room = lightness and len(chunks) * CHUNKS_TO_SPARE < MAX_CHUNKS
        self._lightness[program] = lightness - 1 if has_room else lightness
        yield chunks

    def _fresh_sums(self) -> _Sums:
        sums = self._sums
        age = inf if sums is None else self._now - sums.at
        if sums is None or age == inf or (sums.is_ready and age > max(SUMS_SECONDS, sums.cost / SHARE)):
            sums = self._sums = _Sums(self._source.sums(), self._now)
        return sums

    def _server(self, topic: Hashable) -> Server:
        """The server's introduction, with how often a console of this topic is sent a snapshot."""
        period = max(self._periods.get(topic, 0.0), self._now - self._begun.get(topic, self._now))
        interval = self._interval if period < 1.5 * self._interval else float(ceil(period))
        return Server(self._name, interval, self._reports(), sends_again=True)

    def _finish(self, topic: Hashable) -> set[Hashable]:
        self._steps.pop(topic, None)
        return self._schedule.finish(topic)

    def _send_frame(self, chunks: list[bytes], keys: set[Hashable]) -> None:
        for one in self.subscribers.consoles(self._now):
            key = one.via, one.address
            if key in keys and one.nonce is not None:
                number = next(self._numbers) & 0xFFFFFFFF
                self._sent[key] = _Sent(one.nonce, number, chunks)
                self._outbox(key, PAUSE / BURST).sendings.append(datagrams(chunks, one.nonce, number))

    def _send_again(self, key: Key, missing: Missing) -> None:
        """Send the parts of its latest frame that a console misses."""
        sent = self._sent.get(key)
        if sent is None or (sent.nonce, sent.number) != (missing.nonce, missing.frame):
            return
        if sent.requests >= MOST_REQUESTS or key in self._outboxes:
            return
        sent.requests += 1
        room = MOST_SENT_AGAIN * len(sent.chunks) - sent.sent_again
        parts = list(islice(missing.parts(len(sent.chunks)), room))
        sent.sent_again += len(parts)
        self._outbox(key, PAUSE / BURST).sendings.append(datagrams(sent.chunks, sent.nonce, sent.number, parts))

    def _send_values(self, values: list[bytes]) -> None:
        for one in self.subscribers.consoles(self._now):
            if one.nonce is None:
                self._outbox((one.via, one.address), 1 / VALUES_PER_SECOND).sendings.append(iter(values))

    def _outbox(self, key: Key, pause: float) -> _Outbox:
        return self._outboxes.setdefault(key, _Outbox(pause))
