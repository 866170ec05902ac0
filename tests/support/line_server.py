"""The server of lines, whose driver ``docs/howto/writing-a-driver.md`` writes."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Lines(socketserver.StreamRequestHandler):
    """The server of lines: a table that its connections share once they have committed."""

    def handle(self) -> None:
        committed: dict[str, str] = self.server.table  # type: ignore[attr-defined]
        pending = dict(committed)
        for line in self.rfile:
            word, *rest = line.decode().split()
            answer = "ok"
            if word == "begin":
                pending = dict(committed)
            elif word == "set":
                pending[rest[0]] = rest[1]
            elif word == "commit":
                committed |= pending
            elif word == "get":
                answer = committed.get(rest[0], "nothing")
            elif word == "hang":
                continue
            self.wfile.write(f"{answer}\n".encode())


@contextmanager
def line_server() -> Iterator[socketserver.ThreadingTCPServer]:
    """A server on a free port of its own."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Lines) as server:
        server.daemon_threads = True
        server.table = {}  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
