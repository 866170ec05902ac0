"""A console's side of one conversation: its requests, their timing, and the answers.

It says ``HELO`` and our own `Ask` until one of ours is answered, and from then on only ours: a server that knows
our protocol sends whole snapshots, sqlalchemy-collectd sends value lists. If ours is no longer answered (another
server took its place), it says both again.

The shell must send what `due` returns, at `next_due` at the latest, and pass every datagram to `receive` and every
refusal to `refuse`. Times are monotonic seconds.
"""

from contextlib import suppress
from hashlib import sha256
from math import inf

from poolhouse.errors import PacketError
from poolhouse.feed.protocol.chunks import Reassembly
from poolhouse.feed.protocol.datagrams import (
    HELO,
    MAGIC,
    NO_COOKIE,
    NONCE_BYTES,
    Ask,
    Bye,
    Chunk,
    Cookie,
    DenialReason,
    Denied,
    Missing,
    decode_datagram,
    encode_datagram,
    ranges_of,
)
from poolhouse.feed.protocol.frame import Frame, Server, decode_frame
from poolhouse.feed.protocol.values import DEFAULT_INTERVAL, PartialFleet
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.wire.message import decode_message
from poolhouse.wire.values import ValueList

#: Seconds between two of our requests.
PERIOD = 5.0
#: Seconds without another chunk after which the missing chunks of a frame count as lost. They double with each
#: request for them, at most this many times.
QUIET = 0.15
MOST_REQUESTS = 4
#: Seconds after which an answer to our own request no longer counts.
ANSWER_LIFETIME = 3 * PERIOD


def patience_with(server: Server | None, interval: float = DEFAULT_INTERVAL) -> float:
    """Seconds of silence that are normal with this server, or with one that sends every `interval` seconds."""
    return 2.5 * (interval if server is None else server.interval) + 1.0


class Subscription:
    """One conversation with one address of a server.

    Attributes:
        tries: How many requests were made since anything was last heard.
        heard: When the server was last heard; ``None`` if never.
        refusal: Why nothing gets there, in a few words; ``None`` if unknown.
        denied: Why the server refuses us, if it says so.
        server: The server's introduction; ``None`` for sqlalchemy-collectd, and until the first snapshot.
    """

    def __init__(self, nonce: bytes, now: float, program: str | None = None, *, is_sealed: bool = False) -> None:
        """Start a conversation.

        Args:
            nonce: 8 random bytes.
            now: The time.
            program: A program whose processes are also requested.
            is_sealed: Whether the shell seals what is sent, and passes on only sealed datagrams: then ``HELO`` is
                not sent, and a frame is accepted only if it is newer than the last.
        """
        self.tries = 0
        self.heard: float | None = None
        self.refusal: str | None = None
        self.denied: DenialReason | None = None
        self.server: Server | None = None
        self._ask_due = now
        #: When to request the missing parts of a frame, and how often that was done.
        self._missing_due = inf
        self._missing_frame: int | None = None
        self._requests = 0
        self._nonce = nonce
        self._program = program
        self._is_sealed = is_sealed
        #: The number of the last frame; ``None`` before the first one with this nonce.
        self._last_frame: int | None = None
        self._cookie = NO_COOKIE
        self._answered: float | None = None
        self._frames = Reassembly()
        self._values = PartialFleet(now)
        self._interval = DEFAULT_INTERVAL

    @property
    def patience(self) -> float:
        """Seconds of silence that are normal with this server."""
        return patience_with(self.server, self._interval)

    @property
    def next_due(self) -> float:
        """When `due` has something to send."""
        return min(self._ask_due, self._missing_due)

    def ask(self, program: str | None, now: float) -> None:
        """Request the processes of another program, or of none."""
        if program != self._program:
            self._program, self._ask_due = program, now

    def due(self, now: float) -> list[bytes]:
        """The datagrams to send now; empty before `next_due`."""
        missing = self._missing(now)
        if now < self._ask_due:
            return missing
        self._ask_due = now + PERIOD
        self.tries += 1
        ask = encode_datagram(Ask(self._nonce, self._cookie, self._program))
        return [*missing, ask] if self._is_sealed or self._is_answered(now) else [*missing, HELO, ask]

    def bye(self) -> bytes | None:
        """The datagram that ends the conversation; ``None`` if the server would not understand it."""
        return None if self._cookie == NO_COOKIE else encode_datagram(Bye(self._nonce, self._cookie))

    def refuse(self, why: str) -> None:
        """Record that the address is unreachable, or that nothing listens there."""
        self.refusal = why

    def receive(self, datagram: bytes, now: float) -> Snapshot | None:
        """Handle one datagram from the server; return the snapshot that it completes, or ``None``.

        Malformed datagrams, and those of another conversation, are ignored.
        """
        with suppress(PacketError):
            if datagram.startswith(MAGIC):
                return self._receive_ours(datagram, now)
            if not self._is_sealed:
                self._receive_values(datagram, now)
        return None

    def deny(self, reason: DenialReason, now: float) -> None:
        """Record that the server cannot open our datagrams."""
        self._hear(now)
        self.denied = reason

    def summed(self, now: float, wall_time: float) -> Snapshot | None:
        """The snapshot from an older server's value lists; ``None`` if there are none, or snapshots instead."""
        if self.heard is None or self.server is not None or self._is_answered(now):
            return None
        return self._values.snapshot(now, wall_time)

    def _receive_ours(self, datagram: bytes, now: float) -> Snapshot | None:
        message = decode_datagram(datagram)
        if message.nonce != self._nonce:
            raise PacketError("another console's nonce", 6)
        match message:
            case Cookie(_, cookie):
                self._hear(now)
                self._answered = now
                if cookie != self._cookie:
                    self._take_cookie(cookie)
                    self._ask_due = now
            case Denied(_, reason):
                self.deny(reason, now)
            case Chunk():
                if self._is_sealed and not self._is_newer(message.frame):
                    raise PacketError("a frame that was sent before", 14)
                self._hear(now)
                self._answered = now
                if (content := self._frames.add(message)) is not None:
                    self._missing_due = inf
                    self._last_frame = message.frame
                    return self._take(decode_frame(content))
                self._expect(message.frame, now)
            case _:
                raise PacketError("a datagram that only a console sends", 5)
        return None

    def _take_cookie(self, cookie: bytes) -> None:
        """Send this cookie from now on; a restarted server numbers its frames from the beginning."""
        if self._is_sealed and self._cookie != NO_COOKIE:
            # Replayed older frames have the older nonce.
            self._nonce = sha256(self._nonce).digest()[:NONCE_BYTES]
            self._last_frame, self._frames = None, Reassembly()
        self._cookie = cookie

    def _is_newer(self, frame: int) -> bool:
        return self._last_frame is None or 0 < (frame - self._last_frame) & 0xFFFFFFFF < 1 << 31

    def _expect(self, frame: int, now: float) -> None:
        """Note an incomplete frame: if nothing more arrives for a while, a part of it is lost."""
        if frame != self._missing_frame:
            self._missing_frame, self._requests = frame, 0
        # A server that has not said it understands `Missing` is asked once per frame until it says more.
        most = MOST_REQUESTS if self.server is not None and self.server.sends_again else self.server is None
        self._missing_due = now + QUIET * 2**self._requests if self._requests < most else inf

    def _missing(self, now: float) -> list[bytes]:
        if now < self._missing_due:
            return []
        found = self._frames.missing()
        self._missing_due = inf
        if found is None:
            return []
        frame, parts = found
        self._requests += 1
        self._expect(frame, now)
        return [encode_datagram(Missing(self._nonce, self._cookie, frame, ranges_of(parts)))]

    def _take(self, frame: Frame) -> Snapshot:
        self.server = frame.server
        return frame.snapshot

    def _receive_values(self, datagram: bytes, now: float) -> None:
        message = decode_message(datagram)
        if not isinstance(message, list):
            raise PacketError("a report instead of values")
        for values in message:
            if isinstance(values, ValueList) and self._values.receive(values, now):
                self._hear(now)
                self._interval = values.interval or self._interval
        if not self._is_answered(now):
            self.server = None

    def _hear(self, now: float) -> None:
        self.heard, self.tries, self.refusal, self.denied = now, 0, None, None

    def _is_answered(self, now: float) -> bool:
        return self._answered is not None and now - self._answered < ANSWER_LIFETIME
