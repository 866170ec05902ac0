"""A real Redis server in memory, from Debian's ``redis-server``."""

import socket
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from support.servers import free_tcp_port
from support.waiting import wait_until


class Redis(AbstractContextManager["Redis"]):
    """Runs until the context is left.

    Args:
        folder: Where it may write; it keeps nothing there.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_tcp_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        command = ["/usr/bin/redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_until(self._answers, what="Redis to be ready")

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._process.communicate()[0]
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
