"""Datagrams to an aggregator, signed or encrypted, and the answers to its questions."""

import os

from poolhouse.configuration.keys import Keys
from poolhouse.errors import PacketError
from poolhouse.report.protection import Protection
from poolhouse.wire.aes import require_keystream
from poolhouse.wire.challenge import nonce_of, with_answer
from poolhouse.wire.seal import START_BYTES, Policy, encrypt, open_datagram, sign

#: Reports that repeat a question's nonce: one of them may be lost.
ANSWERED_REPORTS = 3


class Sealer:
    """Seals the datagrams to one aggregator, and answers its question whether they are made now."""

    def __init__(self, protection: Protection) -> None:
        """Prepare.

        Raises:
            SettingError: If it is to encrypt and nothing is installed that can.
        """
        self._user, self._password = protection.username.encode(), protection.password.encode()
        self._keystream = require_keystream("security") if protection.security == "encrypt" else None
        self._policy = Policy("sign", Keys({self._user: (self._password,)}), True, None)
        #: The nonce of the newest question, and how many more reports repeat it.
        self._nonce = b""
        self._reports_left = 0

    def __call__(self, datagram: bytes) -> bytes:
        """The datagram, sealed; with the answer, as long as it is asked for."""
        user, password = self._user, self._password
        signed = sign(with_answer(datagram, self._nonce) if self._reports_left else datagram, user, password)
        if self._keystream is None:
            return signed
        # A signature inside, since encryption alone does not keep anybody from altering what is captured.
        return encrypt(signed, user, password, os.urandom(START_BYTES), self._keystream)

    def hear(self, datagram: bytes) -> bool:
        """Take what the aggregator sends; whether it is a question that is signed as it should be."""
        try:
            (payload,) = open_datagram(datagram, self._policy).payloads
            self._nonce = nonce_of(payload.parts)
        except (PacketError, ValueError):
            return False
        self._reports_left = ANSWERED_REPORTS
        return True

    def end_report(self) -> None:
        """All datagrams of a report are sealed."""
        self._reports_left = max(0, self._reports_left - 1)
