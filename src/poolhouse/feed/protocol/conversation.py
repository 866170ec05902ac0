"""A console's side of one TCP connection to a node: what to send, what arrived, and when to give up the node.

The datagrams of the feed are sent, one in each `Kind.FEED` frame. No cookie is needed, and nothing is lost on the
way; otherwise this works as over UDP: the console sends `Ask` every `PERIOD`, and receives frames in chunks.

A node is given up if it does not welcome the console within `GREETING_PATIENCE_S`, or if it falls silent: a
stopped process keeps its connections. Times are monotonic seconds.
"""

from math import inf

from poolhouse.configuration.service import Login
from poolhouse.errors import PacketError
from poolhouse.feed.protocol.chunks import Reassembly
from poolhouse.feed.protocol.datagrams import Ask, Chunk, Denied, decode_datagram, encode_datagram
from poolhouse.feed.protocol.frame import Server, decode_frame
from poolhouse.feed.protocol.subscription import PERIOD, patience_with
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.wire.framing import ANOTHER_VERSION, Frame, Kind, Unframer, frame
from poolhouse.wire.introduction import GREETING_PATIENCE_S, Introduction, Phase
from poolhouse.wire.session import Hello, Welcome

#: Seconds within which the first data of the feed must arrive.
FIRST_FRAME_S = 10.0
#: A node is given up after this many times its normal silence.
LOST_PATIENCE = 2


class Conversation:
    """The state of one connection.

    Attributes:
        outgoing: What to send next; the shell removes from its front what it has sent.
        server: The server's introduction; ``None`` until the first snapshot.
        heard: When the feed was last heard; ``None`` if never.
    """

    def __init__(self, hello: Hello, login: Login | None, nonce: bytes, program: str | None, began: float) -> None:
        """Start with a new connection.

        Args:
            hello: The introduction of this process, with a fresh nonce; user and proof are filled in.
            login: The service's login; ``None`` without one.
            nonce: 8 random bytes, for the feed.
            program: A program whose processes are also requested.
            began: When connecting began.
        """
        self.outgoing = bytearray()
        self.server: Server | None = None
        self.heard: float | None = None
        self._introduction = Introduction(hello, login, self.outgoing)
        self._unframer = Unframer((Kind.FEED,))
        self._frames = Reassembly()
        self._nonce = nonce
        self._program = program
        self._ask_due = inf
        self._deadline = began + GREETING_PATIENCE_S

    @property
    def is_ready(self) -> bool:
        """Whether the node has let us in."""
        return self._introduction.phase is Phase.READY

    @property
    def welcome(self) -> Welcome | None:
        """The node's introduction; ``None`` before it lets us in."""
        return self._introduction.welcome

    @property
    def patience(self) -> float:
        """Seconds of silence that are normal with this node."""
        return patience_with(self.server)

    @property
    def next_due(self) -> float:
        """When `step` is due next."""
        return min(self._ask_due, self._deadline)

    def ask(self, program: str | None, now: float) -> None:
        """Request the processes of another program, or of none."""
        if program != self._program:
            self._program = program
            if self.is_ready:
                self._ask_due = now

    def step(self, now: float) -> str | None:
        """Queue what is due in `outgoing`. Returns why to give up the node, as half a sentence, or ``None``."""
        if now >= self._deadline:
            if not self.is_ready:
                return f"it did not answer within {GREETING_PATIENCE_S:g} s"
            return f"it has sent nothing for {self._silence():.0f} s"
        if now >= self._ask_due:
            self._ask_due = now + PERIOD
            self.outgoing += frame(Kind.FEED, encode_datagram(Ask(self._nonce, program=self._program)))
        return None

    def receive(self, data: bytes, now: float) -> Snapshot | None:
        """Take received bytes; return the newest snapshot that they complete, or ``None``.

        Raises:
            Refusal, LoginMissing: If the node does not let us in, or is ending.
            PacketError: If it does not speak our protocol.
        """
        newest: Snapshot | None = None
        try:
            for one in self._unframer.feed(data):
                if self.is_ready and one.kind is Kind.FEED:
                    newest = self._take(one.payload, now) or newest
                else:
                    self._introduce(one, now)
        except PacketError as error:
            if self._unframer.is_greeted or ANOTHER_VERSION in error.args[0]:
                raise
            raise PacketError("something other than connmond answers there") from None
        return newest

    def _introduce(self, one: Frame, now: float) -> None:
        self._introduction.take(one)
        if self.is_ready:
            self._ask_due, self._deadline = now, now + self._silence()

    def _take(self, datagram: bytes, now: float) -> Snapshot | None:
        message = decode_datagram(datagram)
        if message.nonce != self._nonce:
            raise PacketError("another console's nonce", 6)
        self.heard, self._deadline = now, now + self._silence()
        match message:
            case Chunk():
                content = self._frames.add(message)
                if content is None:
                    return None
                self.server, snapshot = decode_frame(content)
                self._deadline = now + self._silence()
                return snapshot
            case Denied():
                raise PacketError("it does not serve us")
            case _:
                raise PacketError("a datagram that only a console sends", 5)

    def _silence(self) -> float:
        return FIRST_FRAME_S if self.server is None else LOST_PATIENCE * self.patience
