"""A client's side of one TCP connection to a node: what to send, what arrived, and when to give up the node.

No socket, no clock, no randomness: bytes go in and out, time is an argument. A node that accepts and then stays
silent is given up after `GREETING_PATIENCE_S`; a node that stops confirming reports, after `SILENCE_INTERVALS`.
"""

from poolhouse.configuration.service import Login
from poolhouse.errors import PacketError
from poolhouse.wire.framing import Frame, Kind, Unframer, frame
from poolhouse.wire.introduction import GREETING_PATIENCE_S, Introduction, Phase, Refusal
from poolhouse.wire.session import Hello, Welcome

#: A node must confirm a report within this many of the client's intervals, or this many seconds if that is longer.
SILENCE_INTERVALS, SHORTEST_SILENCE_S = 3, 5.0


class Conversation:
    """The state of one connection.

    Attributes:
        outgoing: What to send next; the shell removes from its front what it has sent.
    """

    def __init__(self, hello: Hello, login: Login | None, interval: float, now: float) -> None:
        """Start with a new connection.

        Args:
            hello: The introduction of this process, with a fresh nonce; user and proof are filled in.
            login: The service's login; ``None`` without one.
            interval: Seconds between two reports.
            now: Monotonic seconds.
        """
        self.outgoing = bytearray()
        self._introduction = Introduction(hello, login, self.outgoing)
        self._unframer = Unframer(())
        self._silence = max(SHORTEST_SILENCE_S, SILENCE_INTERVALS * interval)
        #: How many `Kind.REPORT` frames were queued, and how many the node has confirmed.
        self._sent = self._taken = 0
        #: When the node is given up; ``None`` while nothing is expected from it.
        self._deadline: float | None = now + GREETING_PATIENCE_S

    @property
    def phase(self) -> Phase:
        """The progress of the introduction."""
        return self._introduction.phase

    @property
    def welcome(self) -> Welcome | None:
        """The node's introduction; ``None`` before `Phase.READY`."""
        return self._introduction.welcome

    @property
    def is_ready(self) -> bool:
        """Whether a report may be made: the node has welcomed us, and the previous report has left."""
        return self.phase is Phase.READY and not self.outgoing

    def report(self, datagrams: list[bytes], now: float) -> None:
        """Send a report; only while `is_ready`, so that no report waits behind an older one."""
        assert self.is_ready, "a report is made only when the previous one has left"
        for datagram in datagrams:
            self.outgoing += frame(Kind.REPORT, datagram)
        self._sent += len(datagrams)
        if self._deadline is None:
            self._deadline = now + self._silence

    def receive(self, data: bytes, now: float) -> None:
        """Take received bytes.

        Raises:
            PacketError: If the node refuses us, cannot prove itself, or does not speak our protocol.
        """
        for one in self._unframer.feed(data):
            self._take(one, now)

    def overdue(self, now: float) -> str | None:
        """Why to give up the node; ``None`` to keep it."""
        if self._deadline is None or now < self._deadline:
            return None
        if self.phase is Phase.READY:
            return f"it has confirmed no report for {self._silence:g} s"
        return f"it did not answer within {GREETING_PATIENCE_S:g} s"

    def _take(self, one: Frame, now: float) -> None:
        if self.phase is Phase.READY and one.kind is Kind.TAKEN:
            self._confirm(int.from_bytes(one.payload, "big"), now)
            return
        try:
            self._introduction.take(one)
        except Refusal as refusal:
            raise PacketError(f"it refuses us: {refusal.text}") from None
        if self.phase is Phase.READY:
            self._deadline = None

    def _confirm(self, taken: int, now: float) -> None:
        if not self._taken <= taken <= self._sent:
            raise PacketError(f"it confirms {taken} reports' datagrams of {self._sent}")
        if taken > self._taken:
            self._deadline = now + self._silence
        self._taken = taken
        if taken == self._sent:
            self._deadline = None
