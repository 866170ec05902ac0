"""The page's answers and streams, read without a browser."""

import json
import socket
import urllib.error
import urllib.request
from contextlib import AbstractContextManager
from typing import Any


class Stream(AbstractContextManager["Stream"]):
    """One open stream of Server-Sent Events.

    Attributes:
        head: Status line and headers, in lower case.
        socket: The connection.
    """

    def __init__(
        self, port: int, path: str = "/api/", *, receive_bytes: int | None = None, more: str = ""
    ) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", port))
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{more}\r\n"
        self.socket.sendall(request.encode())
        self._file = self.socket.makefile("rb")
        lines = iter(self._file.readline, b"\r\n")
        self.head = [line.decode().strip().lower() for line in lines]

    @property
    def status(self) -> int:
        return int(self.head[0].split()[1])

    def event(self) -> tuple[str, str]:
        """The next event with data: its name and the data; EOFError at the end of the stream."""
        name = ""
        while True:
            for line in self.chunk().decode().split("\n"):
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    return name, line.removeprefix("data: ")

    def frame(self) -> dict[str, Any]:
        """The next frame."""
        while True:
            name, data = self.event()
            if name == "frame":
                frame: dict[str, Any] = json.loads(data)
                return frame

    def chunk(self) -> bytes:
        """The next part as it travels."""
        size = self._file.readline()
        if not size or (length := int(size, 16)) == 0:
            raise EOFError
        data = self._file.read(length)
        self._file.read(2)
        return data

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()


def ask(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], str]:
    """Status, headers with names in lower case, and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        told = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, told, answer.read().decode()


def names(frame: dict[str, Any], table: int = 0) -> list[str]:
    """The text in the column of a table that leads further, row by row."""
    told = frame["tables"][table]
    return [row["cells"][told["linked"]] for row in told["rows"]]
