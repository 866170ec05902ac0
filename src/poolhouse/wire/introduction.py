"""The client's side of a TCP connection's handshake: it introduces itself, and is let in or refused.

No socket, no clock, no randomness: frames go in, bytes go out.
"""

from enum import Enum

from poolhouse.configuration.service import Login
from poolhouse.errors import PacketError
from poolhouse.wire.framing import MAGIC, Frame, Kind, frame
from poolhouse.wire.session import (
    LOGIN,
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

#: Seconds that each side has to introduce itself, from the beginning of a connection.
GREETING_PATIENCE_S = 5.0


class Phase(Enum):
    """How far the introduction has got."""

    #: The server's challenge has not arrived.
    OPENING = "waiting for its challenge"
    #: The server has not answered the hello yet.
    INTRODUCED = "waiting for its welcome"
    READY = "connected"


class Refusal(PacketError):
    """The node refuses this client.

    Attributes:
        text: The node's words.
        is_login: Whether the login is wrong or missing.
    """

    def __init__(self, text: str, *, is_login: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.is_login = is_login


class LoginMissing(PacketError):
    """The node demands a login, and the configuration has none."""


class Introduction:
    """The introduction on one connection.

    Attributes:
        phase: How far it has got.
        welcome: The node's description of itself; ``None`` before `Phase.READY`.
    """

    def __init__(self, hello: Hello, login: Login | None, outgoing: bytearray) -> None:
        """Start on an open connection.

        Args:
            hello: What this process is, with a fresh nonce; user and proof are filled in here.
            login: The service's login; ``None`` if it has none.
            outgoing: The bytes to send are appended to this.
        """
        self.phase = Phase.OPENING
        self.welcome: Welcome | None = None
        self._outgoing = outgoing
        self._outgoing += MAGIC
        self._hello = hello if login is None else hello._replace(user=login.user)
        self._login = login
        self._challenge: Challenge | None = None

    def take(self, one: Frame) -> None:
        """Take a frame of the node: every frame before `Phase.READY`, then those of unexpected kinds.

        Raises:
            Refusal: If the node refuses us, at any time.
            LoginMissing: If it demands a login and the configuration has none.
            PacketError: If it cannot prove that it knows the password, or sends a frame out of turn.
        """
        match one.kind, self.phase:
            case Kind.CHALLENGE, Phase.OPENING:
                self._introduce(decode_challenge(one.payload))
            case Kind.WELCOME, Phase.INTRODUCED:
                self._begin(decode_welcome(one.payload))
            case Kind.DENIED, _:
                denied = decode_denied(one.payload)
                raise Refusal(denied.text, is_login=denied.reason == LOGIN)
            case _:
                raise PacketError(f"it sent {one.kind.name} while we are {self.phase.value}")

    def _introduce(self, challenge: Challenge) -> None:
        if challenge.demands_login and self._login is None:
            raise LoginMissing("it demands a login: set use_auth, auth_key and auth_secret in the configuration")
        self._challenge = challenge
        if self._login is not None:
            proof = client_proof(self._login.password, challenge, self._hello)
            self._hello = self._hello._replace(proof=proof)
        self._outgoing += frame(Kind.HELLO, encode_hello(self._hello))
        self.phase = Phase.INTRODUCED

    def _begin(self, welcome: Welcome) -> None:
        if self._login is not None and self._challenge is not None:
            expected = server_proof(self._login.password, self._challenge, self._hello)
            if not is_proof(welcome.proof, expected):
                raise PacketError("it does not prove that it knows the password")
        self.welcome = welcome
        self.phase = Phase.READY
