"""The console's side of a conversation that is signed or encrypted."""

from collections import deque

from poolhouse.configuration.keys import Keys
from poolhouse.errors import PacketError
from poolhouse.feed.protocol.datagrams import DenialReason, Denied, decode_datagram, denial_nonce
from poolhouse.report.protection import Protection
from poolhouse.wire.aes import load_keystream
from poolhouse.wire.feed_part import is_sealed, parted, unparted
from poolhouse.wire.seal import Policy, open_datagram

#: Datagrams whose refusal is believed.
_MOST_SENT = 16


class FeedSeal:
    """Seals what a console says, and opens what it is answered; nothing else is believed."""

    def __init__(self, protection: Protection) -> None:
        """Prepare.

        Raises:
            SettingError: If it is to encrypt and nothing is installed that can.
        """
        self._seal = protection.sealer()
        keys = Keys({protection.username.encode(): (protection.password.encode(),)})
        self._policy = Policy(protection.security, keys, True, load_keystream())
        self._sent: deque[bytes] = deque(maxlen=_MOST_SENT)

    def seal(self, content: bytes) -> bytes:
        """What to send."""
        datagram = self._seal(parted(content))
        self._sent.append(denial_nonce(datagram))
        return datagram

    def open(self, datagram: bytes) -> bytes | None:
        """What a server says; ``None`` if it is not sealed as it should be."""
        if not is_sealed(datagram):
            return None
        try:
            (payload,) = open_datagram(datagram, self._policy).payloads
            return unparted(payload.parts)
        except (PacketError, ValueError):
            return None

    def refusal(self, datagram: bytes) -> DenialReason | None:
        """Why a server cannot open what was sent, if this says so; nobody else knows what was sent."""
        try:
            message = decode_datagram(datagram)
        except PacketError:
            return None
        return message.reason if isinstance(message, Denied) and message.nonce in self._sent else None
