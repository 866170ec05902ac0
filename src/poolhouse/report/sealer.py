"""Signs or encrypts the datagrams to one aggregator, and answers its questions."""

import os

from poolhouse.configuration.keys import Keys
from poolhouse.errors import PacketError
from poolhouse.report.protection import Protection
from poolhouse.wire.aes import require_keystream
from poolhouse.wire.challenge import nonce_of, with_answer
from poolhouse.wire.seal import START_BYTES, Policy, encrypt, open_datagram, sign

#: How many reports repeat a question's nonce, since one of them may be lost.
ANSWERED_REPORTS = 3


class Sealer:
    """Seals the datagrams to one aggregator, and answers its question whether they are current."""

    def __init__(self, protection: Protection) -> None:
        """Prepare.

        Raises:
            SettingError: If it must encrypt and nothing is installed that can.
        """
        self._user, self._password = protection.username.encode(), protection.password.encode()
        self._keystream = require_keystream("security") if protection.security == "encrypt" else None
        self._policy = Policy("sign", Keys({self._user: (self._password,)}), True, None)
        #: The nonce of the latest question, and how many more reports repeat it.
        self._nonce = b""
        self._reports_left = 0

    def __call__(self, datagram: bytes) -> bytes:
        """The datagram, sealed; with the answer to a question while reports repeat it."""
        user, password = self._user, self._password
        signed = sign(with_answer(datagram, self._nonce) if self._reports_left else datagram, user, password)
        if self._keystream is None:
            return signed
        # With a signature inside, since encryption alone does not prevent changes to a captured datagram.
        return encrypt(signed, user, password, os.urandom(START_BYTES), self._keystream)

    def hear(self, datagram: bytes) -> bool:
        """Take a datagram from the aggregator. Returns whether it is a properly signed question."""
        try:
            (payload,) = open_datagram(datagram, self._policy).payloads
            self._nonce = nonce_of(payload.parts)
        except (PacketError, ValueError):
            return False
        self._reports_left = ANSWERED_REPORTS
        return True

    def end_report(self) -> None:
        """Note that all datagrams of a report have been sealed."""
        self._reports_left = max(0, self._reports_left - 1)
