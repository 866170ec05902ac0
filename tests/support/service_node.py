"""A node of a service, written out: it welcomes every client and keeps what is reported."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from poolhouse.report import reporter
from poolhouse.wire.framing import MAGIC, Kind, Unframer, frame
from poolhouse.wire.message import ReportDatagram, decode_message
from poolhouse.wire.session import Challenge, Welcome, decode_hello, encode_challenge, encode_welcome


class Node:
    """Listens from its making until it is closed.

    Attributes:
        reports: All that was reported, oldest first.
    """

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.reports: list[ReportDatagram] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def close(self) -> None:
        self._server.close()

    def checkouts(self, program: str) -> int:
        told = [one.pool.counters.checkouts for one in self.reports if one.pool and one.program == program]
        return max((count or 0 for count in told), default=0)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        sock.sendall(MAGIC + frame(Kind.CHALLENGE, encode_challenge(Challenge(bytes(16)))))
        unframer, taken = Unframer(), 0
        while data := sock.recv(65536):
            before = taken
            for kind, payload in unframer.feed(data):
                if kind is Kind.HELLO:
                    assert decode_hello(payload).role == "report"
                    sock.sendall(frame(Kind.WELCOME, encode_welcome(Welcome("test"))))
                    continue
                assert kind is Kind.REPORT
                taken += 1
                message = decode_message(payload)
                assert isinstance(message, ReportDatagram)
                self.reports.append(message)
            if taken > before:
                sock.sendall(frame(Kind.TAKEN, taken.to_bytes(8, "big")))
        sock.close()


@contextmanager
def own_reporter() -> Iterator[None]:
    """What is reported in here ends with it: else a thread of this process goes on trying its nodes."""
    reporter._reporters.pop(None, None)
    yield
    if (ours := reporter._reporters.pop(None, None)) is not None:
        ours.end()
