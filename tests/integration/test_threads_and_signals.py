"""Threads of ours block all signals; functions of the application that they call do not."""

import ast
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import poolhouse
from poolhouse.pool.threads import SystemThreads
from poolhouse.report.native import NativeThread
from poolhouse.signals import as_application, blocking

FAULTS = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGABRT,
    signal.SIGTRAP,
    signal.SIGSYS,
}
NEVER_BLOCKED = {signal.SIGKILL, signal.SIGSTOP}


def _mask() -> set[Any]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _in_thread(start: Callable[[Callable[[], None]], object], call: Callable[[], Any]) -> Any:
    results: list[Any] = []
    done = threading.Event()

    def run() -> None:
        results.append(call())
        done.set()

    start(run)
    assert done.wait(30)
    return results[0]


STARTS: list[Callable[[Callable[[], None]], object]] = [
    lambda run: SystemThreads().start(run, "a thread"),
    NativeThread,
]


@pytest.mark.parametrize("start", STARTS, ids=["pool", "reports"])
def test_a_thread_of_ours_blocks_whatever_can_be_blocked_but_its_own_faults(start: Any) -> None:
    before = _mask()
    assert _in_thread(start, _mask) == set(signal.valid_signals()) - FAULTS - NEVER_BLOCKED
    assert _mask() == before


@pytest.mark.parametrize("start", STARTS, ids=["pool", "reports"])
def test_a_function_of_the_application_runs_with_the_signals_that_the_application_blocks(start: Any) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        masks = _in_thread(start, lambda: (as_application(_mask), _mask()))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
    assert masks[0] == {signal.SIGUSR2}
    assert signal.SIGTERM in masks[1]


def test_in_a_thread_of_the_application_nothing_is_changed() -> None:
    blocking(lambda: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        assert as_application(_mask) == {signal.SIGUSR2}
        assert _mask() == {signal.SIGUSR2}
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])


def test_a_start_that_fails_leaves_the_callers_signals_as_they_were() -> None:
    def fail() -> None:
        assert signal.SIGTERM in _mask()
        raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError):
        blocking(fail)
    assert signal.SIGTERM not in _mask()


def test_a_handler_that_raises_while_the_signals_are_blocked_leaves_them_as_they_were() -> None:
    """CPython calls the handlers of pending signals at the end of the very call that blocks them."""

    class Interrupt(Exception):
        pass

    def interrupted(how: int, signals: Any) -> Any:
        mask = original(how, signals)
        if how == signal.SIG_BLOCK and signals:
            raise Interrupt
        return mask

    original = signal.pthread_sigmask
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("poolhouse.signals._set_mask", interrupted)
        with pytest.raises(Interrupt):
            blocking(lambda: None)
    assert signal.SIGTERM not in _mask()


#: What runs in no process of an application.
_ELSEWHERE = {"collectd_plugin", "console", "daemon", "demo", "feed", "testing"}


def test_no_other_module_starts_threads_in_an_application() -> None:
    folder = Path(poolhouse.__file__).parent
    starters = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if path.relative_to(folder).parts[0] not in _ELSEWHERE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute | ast.Name)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("Thread", "Timer", "start_new_thread")
    }
    assert starters == {"pool/threads.py", "report/native.py"}, "STARTS has these two"


_TAKES_SIGTERM_ITSELF = """
import os, signal, socket, sqlite3, subprocess, sys, time
import poolhouse
from poolhouse import ConnectionPool

receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
poolhouse.report_to(f"collectd://127.0.0.1:{receiver.getsockname()[1]}/")
pool = ConnectionPool(":memory:", driver=sqlite3, kwargs={"check_same_thread": False}, min_size=2, open=True)
pool.wait()
assert poolhouse.flush(10), "the reporter's thread runs too"
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getpid(), signal.SIGTERM)
print(signal.sigtimedwait([signal.SIGTERM], 30) is not None)
pool.close()
"""

_ENDS_THE_PROGRAM = """
import signal, sqlite3, time
from poolhouse import ConnectionPool

def connect():
    raise sqlite3.OperationalError("down")

pool = ConnectionPool(
    connect,
    driver=sqlite3,
    min_size=1,
    reconnect_timeout=0.01,
    reconnect_failed=lambda pool: signal.raise_signal(signal.SIGTERM),
    open=True,
)
time.sleep(60)
"""

_STARTS_A_PROCESS = """
import sqlite3, subprocess, sys
from poolhouse import ConnectionPool

def conninfo():
    program = "import signal; print(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    print(subprocess.check_output([sys.executable, "-c", program], text=True), end="")
    return ":memory:"

with ConnectionPool(conninfo, driver=sqlite3, kwargs={"check_same_thread": False}, min_size=1) as pool:
    pool.wait()
"""


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_program_that_takes_its_signals_itself_is_not_ended_by_them() -> None:
    ended = _run(_TAKES_SIGTERM_ITSELF)
    assert (ended.returncode, ended.stdout) == (0, "True\n"), ended.stderr


def test_reconnect_failed_may_raise_the_signal_that_ends_the_program() -> None:
    assert _run(_ENDS_THE_PROGRAM).returncode == -signal.SIGTERM


def test_a_process_that_a_callback_starts_blocks_no_signals() -> None:
    ended = _run(_STARTS_A_PROCESS)
    assert (ended.returncode, ended.stdout) == (0, "False\n"), ended.stderr
