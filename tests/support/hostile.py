"""Texts that try to command a terminal, and values in which every text is one of them."""

import json
import socket
import struct
import threading
import zlib
from contextlib import AbstractContextManager
from dataclasses import fields, is_dataclass
from typing import Any

#: Sets the window's title and ends it (OSC … BEL), red in C1 form, an override and an isolate of the reading
#: direction, zero-width and soft signs, ends of lines of three kinds, a clearing of the screen, a lone surrogate.
EVIL = "\x1b]0;owned\x07\x9b31m\u202e\u2066\u200b\u00ad\u2028\r\n\x1b[2J\ud800"


def hostile(value: Any) -> Any:
    """The same value with `EVIL` before every text in it that is not empty."""
    if isinstance(value, str):
        return EVIL + value if value else value
    if is_dataclass(value) and not isinstance(value, type):
        if any(not field.init for field in fields(value)):
            return value  # Numbers only.
        return type(value)(**{field.name: hostile(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(hostile, value))
    if isinstance(value, list | tuple):
        return type(value)(map(hostile, value))
    return value


def _as_the_server_calls_it(datagram: bytes) -> bytes:
    """What the console says, with the program's true name where it asks for one."""
    head, name = datagram[:30], datagram[31:]
    if datagram[:4] != b"PHCF" or datagram[5] != 1 or not name:
        return datagram
    true_name = name.removeprefix(EVIL.encode("utf-8", "replace"))
    return head + bytes((len(true_name),)) + true_name


class HostileServer(AbstractContextManager["HostileServer"]):
    """A relay between one console and a true server that makes every text of each frame hostile.

    It follows `docs/reference/feed.md`, not our code.

    Attributes:
        port: Where the console must ask.
    """

    def __init__(self, consoles: int) -> None:
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back.connect(("127.0.0.1", consoles))
        self.port: int = self._front.getsockname()[1]
        self._console: Any = None
        self._frames: dict[int, dict[int, bytes]] = {}
        self._is_over = False
        self._threads = [threading.Thread(target=work) for work in (self._forth, self._back_again)]
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        for sock in (self._front, self._back):
            sock.shutdown(socket.SHUT_RD) if sock is self._back else self._wake(sock)
        for thread in self._threads:
            thread.join()
        self._front.close()
        self._back.close()

    def _wake(self, sock: socket.socket) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"", sock.getsockname())

    def _forth(self) -> None:
        while True:
            datagram, console = self._front.recvfrom(65535)
            if self._is_over:
                return
            self._console = console
            self._back.send(_as_the_server_calls_it(datagram))

    def _back_again(self) -> None:
        while not self._is_over:
            datagram = self._back.recv(65535)
            if datagram[:4] == b"PHCF" and datagram[5] == 3:
                self._spoil(datagram)
            elif datagram:
                self._front.sendto(datagram, self._console)

    def _spoil(self, datagram: bytes) -> None:
        number, part, count = struct.unpack_from("!IHH", datagram, 14)
        chunks = self._frames.setdefault(number, {})
        chunks[part] = datagram[22:]
        if len(chunks) < count:
            return
        del self._frames[number]
        frame = json.loads(zlib.decompress(b"".join(chunks[index] for index in range(count))))
        packed = zlib.compress(json.dumps(hostile(frame)).encode())
        chunk_list = [packed[at : at + 1300] for at in range(0, len(packed), 1300)]
        for index, chunk in enumerate(chunk_list):
            head = datagram[:14] + struct.pack("!IHH", number, index, len(chunk_list))
            self._front.sendto(head + chunk, self._console)
