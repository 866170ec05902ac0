"""The server's side of consoles that sign or encrypt: their datagrams opened, and its answers sealed."""

from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol, TypeVar

from poolhouse.errors import PacketError
from poolhouse.feed.protocol.allowance import Allowance
from poolhouse.feed.protocol.datagrams import (
    Ask,
    DenialReason,
    Denied,
    decode_datagram,
    denial_nonce,
    encode_datagram,
)
from poolhouse.feed.protocol.subscribers import Address
from poolhouse.feed.return_path import Datagram, Via
from poolhouse.wire.feed_part import is_sealed
from poolhouse.wire.seal import Reason

#: Refusals that are answered in a second, and at once: whoever guesses passwords learns nothing faster.
DENIALS_PER_SECOND, DENIALS_AT_ONCE = 20.0, 40.0
_DENIALS = {
    Reason.UNSIGNED: DenialReason.UNSIGNED,
    Reason.UNENCRYPTED: DenialReason.UNENCRYPTED,
    Reason.FORGEABLE: DenialReason.FORGEABLE,
    Reason.UNKNOWN_USER: DenialReason.CREDENTIALS,
    Reason.BAD_SIGNATURE: DenialReason.CREDENTIALS,
    Reason.BAD_ENCRYPTION: DenialReason.CREDENTIALS,
    Reason.NO_KEYS: DenialReason.NO_KEYS,
    Reason.NO_CIPHER: DenialReason.NO_KEYS,
}

How = TypeVar("How", bound=Hashable)


class Guard(Protocol[How]):
    """What opens and seals; `poolhouse.admission.console_gate.ConsoleGate` is one."""

    def open(self, datagram: bytes, sender: str) -> tuple[bytes, How | None] | Reason:
        """What a console says and how it was sealed, ``None`` for not at all; or why it is refused."""
        ...

    def seal(self, content: bytes, how: How, /) -> bytes | None:
        """An answer; ``None`` if the user has no such password any more."""
        ...


class SealedVia(NamedTuple):
    """The way back to a console that seals."""

    via: Via
    #: What `guard` has said of the seal.
    how: Hashable
    guard: "Guard[Any]"

    def send(self, datagram: bytes, address: Address) -> None:
        """Seal and send without waiting; lost if that is not possible."""
        sealed = self.guard.seal(datagram, self.how)
        if sealed is not None:
            self.via.send(sealed, address)


class Opener:
    """Opens what comes to a port for consoles, and answers what is refused."""

    def __init__(self) -> None:
        self._allowance = Allowance(DENIALS_PER_SECOND, DENIALS_AT_ONCE)

    def opened(
        self, datagram: Datagram, guard: "Guard[Any] | None", now: float
    ) -> tuple[bytes, Via | SealedVia] | None:
        """What the console says, and the way back to it; ``None`` if that is refused.

        Args:
            datagram: As it arrived.
            guard: ``None`` where there are no passwords, and nothing is demanded.
            now: Monotonic seconds.
        """
        content, sender, via = datagram
        if guard is None:
            if not is_sealed(content):
                return content, via
            found: tuple[bytes, Hashable | None] | Reason = Reason.NO_KEYS
        else:
            found = guard.open(content, sender[0])
        if not isinstance(found, Reason):
            said, how = found
            return said, via if how is None or guard is None else SealedVia(via, how, guard)
        denied = _denial(content, found)
        if denied is not None and len(denied) < len(content) and self._allowance.take(now):
            via.send(denied, sender)
        return None


def _denial(datagram: bytes, reason: Reason) -> bytes | None:
    """The answer to what was refused; ``None`` for none.

    What cannot be opened has no nonce that could be read: its digest stands for that, which only its sender knows.
    """
    told = _DENIALS.get(reason)
    if told is None:
        return None
    nonce = denial_nonce(datagram)
    if not is_sealed(datagram):
        try:
            message = decode_datagram(datagram)
        except PacketError:
            return None
        if not isinstance(message, Ask):
            return None
        nonce = message.nonce
    return encode_datagram(Denied(nonce, told))
