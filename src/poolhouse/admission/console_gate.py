"""Which datagrams of consoles a UDP port accepts, and how its answers are sealed.

An answer is sealed with the question's user and password, and signed or encrypted as the question was.
"""

import os
from typing import NamedTuple

from poolhouse.admission.gate import Gate
from poolhouse.errors import PacketError
from poolhouse.wire.feed_part import is_encrypted, is_sealed, parted, unparted
from poolhouse.wire.seal import START_BYTES, Policy, Reason, encrypt, sign


class ConsoleSeal(NamedTuple):
    """How a console seals its datagrams, and its answers must be sealed."""

    user: bytes
    #: Which of the user's passwords it uses.
    place: int
    is_encrypted: bool


class ConsoleGate:
    """Opens and seals, for one caller at a time.

    Attributes:
        gate: Counts and logs the refusals.
    """

    def __init__(self, policy: Policy) -> None:
        self.gate = Gate(policy)

    def open(self, datagram: bytes, sender: str) -> tuple[bytes, ConsoleSeal | None] | Reason:
        """A console's datagram, and how it was sealed (``None``: not at all); or why it is refused. Never raises.

        Args:
            datagram: The datagram as it arrived.
            sender: The sender's address, for the log.
        """
        level = self.gate.policy.level
        if not is_sealed(datagram):
            if level == "none":
                return datagram, None
            return self._refuse(Reason.UNSIGNED if level == "sign" else Reason.UNENCRYPTED, sender)
        if self.gate.policy.keys is None:
            return self._refuse(Reason.NO_KEYS, sender)
        self.gate.last = None
        payloads = self.gate.admit(datagram, sender)
        if len(payloads) != 1 or not payloads[0].user:
            return self.gate.last or Reason.MALFORMED_SEAL
        try:
            content = unparted(payloads[0].parts)
        except PacketError:
            return self._refuse(Reason.MALFORMED_SEAL, sender)
        return content, ConsoleSeal(payloads[0].user, payloads[0].place, is_encrypted(datagram))

    def seal(self, content: bytes, how: ConsoleSeal) -> bytes | None:
        """An answer, sealed; ``None`` if the user no longer has this password."""
        policy = self.gate.policy
        passwords = policy.keys.passwords(how.user) if policy.keys is not None else ()
        if how.place >= len(passwords):
            return None
        password = passwords[how.place]
        signed = sign(parted(content), how.user, password)
        if not how.is_encrypted:
            return signed
        if policy.keystream is None:
            return None
        return encrypt(signed, how.user, password, os.urandom(START_BYTES), policy.keystream)

    def _refuse(self, reason: Reason, sender: str) -> Reason:
        self.gate.refuse(reason, sender)
        return reason
