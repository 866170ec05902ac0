"""A client's side of one TCP connection to a node: what to send, what arrived, when to give the node up.

No socket, no clock, no randomness: bytes go in and out, time is an argument. A node that accepts and then says
nothing is given up after `GREETING_PATIENCE_S`; one that confirms no report any more, after `SILENCE_INTERVALS`.
"""

from enum import Enum

from poolhouse.configuration.service import Login
from poolhouse.errors import PacketError
from poolhouse.wire.framing import MAGIC, Frame, Kind, Unframer, frame
from poolhouse.wire.session import (
    Challenge,
    Hello,
    Welcome,
    client_proof,
    decode_challenge,
    decode_denied,
    decode_welcome,
    encode_hello,
    is_proof,
    server_proof,
)

#: Seconds from the beginning within which a node has to welcome a client.
GREETING_PATIENCE_S = 5.0
#: A node has to confirm a report within this many of the client's intervals; never sooner than these seconds.
SILENCE_INTERVALS, SHORTEST_SILENCE_S = 3, 5.0


class Phase(Enum):
    """How far a conversation is."""

    #: The server's challenge has not arrived.
    OPENING = "waiting for the node's first words"
    #: The server has not answered the hello.
    INTRODUCED = "waiting for the node's welcome"
    READY = "reporting"


class Conversation:
    """One connection's state.

    Attributes:
        phase: How far it is.
        welcome: What the node said of itself; ``None`` before `Phase.READY`.
        outgoing: What has to be sent next, in this order; the shell takes from its front what it has sent.
    """

    def __init__(self, hello: Hello, login: Login | None, interval: float, now: float) -> None:
        """The connection is there.

        Args:
            hello: What this process is, with a fresh nonce; user and proof are filled in.
            login: The service's; ``None`` without one.
            interval: Seconds between two reports.
            now: Monotonic seconds.
        """
        self.phase = Phase.OPENING
        self.welcome: Welcome | None = None
        self.outgoing = bytearray(MAGIC)
        self._hello = hello if login is None else hello._replace(user=login.user)
        self._login = login
        self._challenge: Challenge | None = None
        self._unframer = Unframer()
        self._silence = max(SHORTEST_SILENCE_S, SILENCE_INTERVALS * interval)
        #: `Kind.REPORT` frames that were queued, and that the node has confirmed.
        self._sent = self._taken = 0
        #: When the node is given up; ``None`` while nothing is expected of it.
        self._deadline: float | None = now + GREETING_PATIENCE_S

    @property
    def is_ready(self) -> bool:
        """Whether a report may be made: the node has welcomed us, and the one before has left."""
        return self.phase is Phase.READY and not self.outgoing

    def report(self, datagrams: list[bytes], now: float) -> None:
        """Send a report; only while `is_ready`, so that no report waits behind an older one."""
        assert self.is_ready, "a report is made when the one before has left"
        for datagram in datagrams:
            self.outgoing += frame(Kind.REPORT, datagram)
        self._sent += len(datagrams)
        if self._deadline is None:
            self._deadline = now + self._silence

    def receive(self, data: bytes, now: float) -> None:
        """Take what arrived.

        Raises:
            PacketError: If the node refuses us, cannot prove itself, or does not speak our protocol.
        """
        for one in self._unframer.feed(data):
            self._take(one, now)

    def overdue(self, now: float) -> str | None:
        """Why the node is to be given up; ``None`` if it is not."""
        if self._deadline is None or now < self._deadline:
            return None
        if self.phase is Phase.READY:
            return f"it has confirmed no report for {self._silence:g} s"
        return f"it did not answer within {GREETING_PATIENCE_S:g} s"

    def _take(self, one: Frame, now: float) -> None:
        match one.kind, self.phase:
            case Kind.CHALLENGE, Phase.OPENING:
                self._introduce(decode_challenge(one.payload))
            case Kind.WELCOME, Phase.INTRODUCED:
                self._begin(decode_welcome(one.payload))
            case Kind.DENIED, _:
                raise PacketError(f"it refuses us: {decode_denied(one.payload).text}", 0)
            case Kind.TAKEN, Phase.READY:
                self._confirm(int.from_bytes(one.payload, "big"), now)
            case _:
                raise PacketError(f"it sent {one.kind.name} while we are {self.phase.value}", 0)

    def _introduce(self, challenge: Challenge) -> None:
        if challenge.demands_login and self._login is None:
            raise PacketError("it demands a login: set use_auth, auth_key and auth_secret in the configuration", 0)
        self._challenge = challenge
        if self._login is not None:
            proof = client_proof(self._login.password, challenge, self._hello)
            self._hello = self._hello._replace(proof=proof)
        self.outgoing += frame(Kind.HELLO, encode_hello(self._hello))
        self.phase = Phase.INTRODUCED

    def _begin(self, welcome: Welcome) -> None:
        if self._login is not None and self._challenge is not None:
            expected = server_proof(self._login.password, self._challenge, self._hello)
            if not is_proof(welcome.proof, expected):
                raise PacketError("it does not prove that it knows the password", 0)
        self.welcome = welcome
        self.phase = Phase.READY
        self._deadline = None

    def _confirm(self, taken: int, now: float) -> None:
        if not self._taken <= taken <= self._sent:
            raise PacketError(f"it confirms {taken} reports' datagrams of {self._sent}", 0)
        if taken > self._taken:
            self._deadline = now + self._silence
        self._taken = taken
        if taken == self._sent:
            self._deadline = None
