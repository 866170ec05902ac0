"""A command in a terminal of its own, and what it has drawn there."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from support import zygote
from support.waiting import wait_until

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78]|\][^\x07]*\x07|P[^\x1b]*\x1b\\)")


class Terminal(AbstractContextManager["Terminal"]):
    """Runs a command in a pseudo-terminal until the context is left."""

    def __init__(
        self,
        command: Sequence[str],
        width: int = 100,
        height: int = 30,
        env: Mapping[str, str] | None = None,
        redirect: str = "",
    ) -> None:
        """Begin.

        Args:
            command: What runs.
            width: Cells of the terminal.
            height: Its lines.
            env: Variables that the command is given besides.
            redirect: What closes or redirects standard files, as the shell says it: ``<&-``.
        """
        self._fd, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(width), "LINES": str(height)}
        environment.update(env or {})
        if redirect:
            command = ["bash", "-c", f'exec "$@" {redirect}', "bash", *command]
        self.process = zygote.Popen[bytes](
            command, stdin=side, stdout=side, stderr=side, env=environment, start_new_session=True
        )
        os.close(side)
        self._drawn = b""
        self._is_gone = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def raw(self) -> str:
        """Everything written so far, with its escape sequences."""
        return self._drawn.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """Everything written so far, without them."""
        return _ESCAPES.sub("", self.raw)

    def wait_for(self, *texts: str) -> None:
        """Wait until all these texts have been drawn since `forget` or the start."""
        for text in texts:
            wait_until(lambda text=text: text in self.text, timeout=60, what=f"{text!r} in {self.text[-3000:]}")

    def forget(self) -> None:
        """Look from now on only at what is drawn anew."""
        self._drawn = b""

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._fd, keys.encode())

    def vanish(self) -> None:
        """Be gone without a SIGHUP: the command has no controlling terminal, and so is sent none."""
        self._is_gone = True
        self._reader.join(timeout=30)  # A terminal that somebody reads from is still there.
        os.close(self._fd)
        self._fd = -1

    def end(self) -> int:
        """The command's exit status, once it has ended."""
        status = self.process.wait(timeout=60)
        self._reader.join(timeout=30)
        return status

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(timeout=30)
        if self._fd >= 0:
            os.close(self._fd)

    def _read(self) -> None:
        while not self._is_gone:
            if not select.select([self._fd], [], [], 0.1)[0]:
                continue
            try:
                chunk = os.read(self._fd, 65536)
            except OSError:  # The command has ended, and its side of the terminal with it.
                return
            if not chunk:
                return
            self._drawn += chunk
