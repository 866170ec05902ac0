"""The server's side of a TCP connection until its guest is let in: introduction and login.

No socket, no clock: bytes go in and out.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from poolhouse.configuration.service import Login
from poolhouse.errors import PacketError
from poolhouse.wire.framing import MAGIC, OF_NODES, Frame, Kind, Unframer, frame
from poolhouse.wire.session import (
    LOGIN,
    Challenge,
    Denied,
    Hello,
    Role,
    Welcome,
    client_proof,
    decode_hello,
    encode_challenge,
    encode_denied,
    encode_welcome,
    is_proof,
    server_proof,
)

#: Wrong logins of one address within this many seconds before it has to wait; the most addresses remembered.
MOST_FAILURES, FAILURES_PERIOD_S, MOST_ADDRESSES = 5, 60.0, 10_000


#: The kinds of large frames that each role sends.
_LARGE: dict[Role, frozenset[Kind]] = {
    "report": frozenset((Kind.REPORT,)),
    "console": frozenset((Kind.FEED,)),
    "node": OF_NODES,
}

#: Why a guest with this introduction is refused, in a sentence; ``None`` if it is let in.
Admission = Callable[[Hello], str | None]


class Refused(PacketError):
    """The guest is refused; the connection ends once the reason has been sent."""


def _everybody(hello: Hello) -> None:
    """The `Admission` that lets every guest in."""


class Failures:
    """Counts wrong logins by address, so that passwords cannot be tried without limit."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def note(self, address: str, now: float) -> None:
        """Count a wrong login from this address."""
        count, since = self._failures.pop(address, (0, now))
        if now - since >= FAILURES_PERIOD_S:
            count, since = 0, now
        self._failures[address] = count + 1, since
        if len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def is_barred(self, address: str, now: float) -> bool:
        """Whether this address must wait."""
        count, since = self._failures.get(address, (0, now))
        return count >= MOST_FAILURES and now - since < FAILURES_PERIOD_S


class Reception:
    """The admission of one connection.

    Attributes:
        outgoing: Bytes to send; the shell removes those that it has sent from the front.
        guest: Its introduction, once it is let in.
    """

    def __init__(
        self,
        me: Welcome,
        nonce: bytes,
        login: Login | None,
        failures: Failures,
        address: str,
        now: float,
        admission: Admission = _everybody,
    ) -> None:
        """Start with a new connection.

        Args:
            me: The node's introduction.
            nonce: Random bytes.
            login: The login that a guest must prove; ``None`` for none.
            failures: Shared by all connections.
            address: The guest's address, without a port.
            now: Monotonic seconds.
            admission: Decides about a guest whose login is right.
        """
        self.guest: Hello | None = None
        self._challenge = Challenge(nonce, login is not None)
        self.outgoing = bytearray(MAGIC + frame(Kind.CHALLENGE, encode_challenge(self._challenge)))
        self._me = me
        self._login = login
        self._failures = failures
        self._address = address
        self._now = now
        self._admission = admission
        self._unframer = Unframer(())

    def receive(self, data: bytes, now: float) -> Iterator[Frame]:
        """The frames that the guest has sent since it was let in.

        Raises:
            Refused: If it is refused; `outgoing` has the reason for it.
            PacketError: If it does not speak our protocol.
        """
        self._now = now
        for one in self._unframer.feed(data):
            if self.guest is not None:
                yield one
            elif one.kind is Kind.HELLO:
                self._let_in(decode_hello(one.payload))
            else:
                raise PacketError(f"{one.kind.name} before HELLO")

    def deny(self, text: str, reason: str = "") -> Refused:
        """Queue the reason for the guest; return the exception to raise."""
        self.outgoing += frame(Kind.DENIED, encode_denied(Denied(text, reason)))
        return Refused(text)

    def _let_in(self, hello: Hello) -> None:
        if hello.service and self._me.service and hello.service != self._me.service:
            raise self.deny(f"this node serves {self._me.service!r}, not {hello.service!r}")
        proof = b""
        if self._login is not None:
            if self._failures.is_barred(self._address, self._now):
                raise self.deny("too many wrong logins; try again in a minute", LOGIN)
            expected = client_proof(self._login.password, self._challenge, hello)
            # Both are compared, so that a wrong user takes as long as a wrong password.
            is_user = is_proof(_bytes(hello.user), _bytes(self._login.user))
            if not is_proof(hello.proof, expected) or not is_user:
                self._failures.note(self._address, self._now)
                text = "wrong user or password" if hello.user else "this service demands a login"
                raise self.deny(text, LOGIN)
            proof = server_proof(self._login.password, self._challenge, hello)
        if (reason := self._admission(hello)) is not None:
            raise self.deny(reason)
        self.guest = hello
        self._unframer.kinds = _LARGE[hello.role]
        self.outgoing += frame(Kind.WELCOME, encode_welcome(self._me._replace(proof=proof)))


def _bytes(name: str) -> bytes:
    # JSON can contain half of a surrogate pair.
    return name.encode("utf-8", "surrogatepass")
