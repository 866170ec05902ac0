"""The server's side of consoles that sign or encrypt: opens their datagrams, and seals its answers."""

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

#: Refusals that are answered per second, and at once: guessing passwords does not get faster this way.
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
    """Opens and seals; `poolhouse.admission.console_gate.ConsoleGate` is one."""

    def open(self, datagram: bytes, sender: str) -> tuple[bytes, How | None] | Reason:
        """A console's datagram, and how it was sealed (``None`` if not at all); or why it is refused."""
        ...

    def seal(self, content: bytes, how: How, /) -> bytes | None:
        """An answer, sealed; ``None`` if the user no longer has this password."""
        ...


class SealedVia(NamedTuple):
    """The way back to a console that seals."""

    via: Via
    #: The seal's description by `guard`.
    how: Hashable
    guard: "Guard[Any]"

    def send(self, datagram: bytes, address: Address) -> None:
        """Seal and send without waiting; lost if that is not possible."""
        sealed = self.guard.seal(datagram, self.how)
        if sealed is not None:
            self.via.send(sealed, address)


class Opener:
    """Opens datagrams to a port for consoles, and answers refused ones."""

    def __init__(self) -> None:
        self._allowance = Allowance(DENIALS_PER_SECOND, DENIALS_AT_ONCE)

    def opened(
        self, datagram: Datagram, guard: "Guard[Any] | None", now: float
    ) -> tuple[bytes, Via | SealedVia] | None:
        """The console's datagram, and the way back to it; ``None`` if it is refused.

        Args:
            datagram: The datagram as it arrived.
            guard: ``None`` if there are no passwords, and no seal is required.
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
    """The answer to a refused datagram; ``None`` for none.

    A datagram that cannot be opened has no readable nonce; its digest, which only its sender knows, is used
    instead.
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
