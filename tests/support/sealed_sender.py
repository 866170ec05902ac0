"""Sends crafted reports as a process with a password does: sealed, and with an answer where it is asked."""

import socket
from contextlib import AbstractContextManager

from poolhouse.report.protection import Protection


class SealedSender(AbstractContextManager["SealedSender"]):
    """One process's socket.

    Attributes:
        sent: All that it sent, as an attacker would have captured it.
        questions: How many questions it was asked.
    """

    def __init__(self, port: int, protection: Protection, host: str = "127.0.0.1") -> None:
        self.sent: list[bytes] = []
        self.questions = 0
        self._seal = protection.sealer()
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((host, port))
        self._socket.setblocking(False)

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, datagrams: list[bytes]) -> None:
        """Send one report."""
        self.hear()
        for datagram in datagrams:
            self.sent.append(self._seal(datagram))
            self._socket.send(self.sent[-1])
        self._seal.end_report()

    def hear(self) -> None:
        """Read what has come."""
        while True:
            try:
                question = self._socket.recv(4096)
            except OSError:
                return
            assert self._seal.hear(question)
            self.questions += 1
