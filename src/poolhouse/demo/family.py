"""Child processes that never outlive their parent, however it ends."""

import ctypes
import os
import runpy
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

#: From Linux's ``sys/prctl.h``: the signal that the kernel sends when the parent has died.
PR_SET_PDEATHSIG = 1
#: Seconds that children have to exit after SIGTERM.
END_TIMEOUT = 5.0


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; call it first thing in the child.

    Args:
        parent: The parent's process id, taken before the child began: the parent may have died since.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class Family(AbstractContextManager["Family"]):
    """The children of this process; leaving the context ends them all.

    Start them from the main thread: for the kernel, the parent dies when the thread that started the child ends.
    """

    def __init__(self, log: Path) -> None:
        """Begin without children; their standard error is appended to the file `log`."""
        self._children: list[subprocess.Popen[str]] = []
        self._log = log.open("a")

    def start(self, module: str, *arguments: str) -> IO[str]:
        """Run a module as a child; returns its standard output."""
        command = [sys.executable, "-m", __spec__.name, str(os.getpid()), module, *arguments]
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            process_group=0,  # A terminal's Ctrl-C must reach the parent only, which decides when each child ends.
        )
        self._children.append(child)
        assert child.stdout is not None
        return child.stdout

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.terminate()
        for child in self._children:
            try:
                child.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdout is not None:
                child.stdout.close()
        self._log.close()


def _run_as_child() -> None:
    """``python -m poolhouse.demo.family PARENT MODULE ARGUMENTS…`` runs the module as a child of that parent."""
    parent, module = int(sys.argv[1]), sys.argv[2]
    die_with_parent(parent)
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run_as_child()
