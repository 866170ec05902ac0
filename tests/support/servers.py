"""What the database servers of the tests have in common: an unprivileged user, a folder he can enter, a port."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.waiting import wait_until

#: Debian's "nobody": database servers refuse to run as root.
NOBODY = 65534


@contextlib.contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """A new temporary folder of the user that `unprivileged` makes; removed at the end.

    pytest's own are below a folder that only its user can enter.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder)


def unprivileged(command: Sequence[str]) -> list[str]:
    """The command as nobody, if we are root; it ends when we do."""
    become = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *become, "--pdeathsig=KILL", *command]


def run(command: Sequence[str]) -> None:
    """Run a command as nobody to its end; what it said is in the error if it failed."""
    done = subprocess.run(unprivileged(command), capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}{done.stderr}"


def free_tcp_port() -> int:
    """A port of 127.0.0.1 on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children(pid: int) -> list[int]:
    """The processes that this one has started and that still run."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to those of these processes that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def freeze(pids: Sequence[int]) -> None:
    """Stop these processes; when this returns, none of their threads runs any more."""
    signal_all(pids, signal.SIGSTOP)
    wait_until(lambda: all(_is_stopped(pid) for pid in pids), what="processes to stand still")


def _is_stopped(pid: int) -> bool:
    """Whether each thread of a process is stopped, or the process has ended."""
    try:
        # The state follows the name, which is in parentheses and may hold anything.
        states = [
            (task / "stat").read_text().rpartition(")")[2].split()[0]
            for task in Path(f"/proc/{pid}/task").iterdir()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return not Path(f"/proc/{pid}/exe").exists()
    return all(state in "TtZX" for state in states)
