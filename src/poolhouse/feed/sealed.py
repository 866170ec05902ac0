"""The console's side of a conversation that is signed or encrypted."""

from collections import deque

from poolhouse.configuration.keys import Keys
from poolhouse.errors import PacketError
from poolhouse.feed.protocol.datagrams import DenialReason, Denied, decode_datagram, denial_nonce
from poolhouse.report.protection import Protection
from poolhouse.wire.aes import load_keystream
from poolhouse.wire.feed_part import is_sealed, parted, unparted
from poolhouse.wire.seal import Policy, open_datagram

#: The latest datagrams whose refusal is believed.
_MOST_SENT = 16


class FeedSeal:
    """Seals a console's datagrams, and opens the answers; nothing else is believed."""

    def __init__(self, protection: Protection) -> None:
        """Prepare.

        Raises:
            SettingError: If it must encrypt and nothing is installed that can.
        """
        self._seal = protection.sealer()
        keys = Keys({protection.username.encode(): (protection.password.encode(),)})
        self._policy = Policy(protection.security, keys, True, load_keystream())
        self._sent: deque[bytes] = deque(maxlen=_MOST_SENT)

    def seal(self, content: bytes) -> bytes:
        """The datagram, sealed."""
        datagram = self._seal(parted(content))
        self._sent.append(denial_nonce(datagram))
        return datagram

    def open(self, datagram: bytes) -> bytes | None:
        """A server's datagram, opened; ``None`` if it is not properly sealed."""
        if not is_sealed(datagram):
            return None
        try:
            (payload,) = open_datagram(datagram, self._policy).payloads
            return unparted(payload.parts)
        except (PacketError, ValueError):
            return None

    def refusal(self, datagram: bytes) -> DenialReason | None:
        """Why a server cannot open what was sent; ``None`` if this is no refusal from that server."""
        try:
            message = decode_datagram(datagram)
        except PacketError:
            return None
        return message.reason if isinstance(message, Denied) and message.nonce in self._sent else None
