"""A pool that is first used while the interpreter ends: no word of it, and its report leaves if it still can."""

import subprocess
import sys

import pytest

#: Handlers run in reverse order: the first to be registered looks what was received, after all others.
_PROGRAM = """
import atexit, socket, sys
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
receiver.settimeout(0.5)

def look():
    try:
        print("told" if receiver.recv(65535) else "")
    except TimeoutError:
        print("not told")

atexit.register(look)
import sqlalchemy

def use():
    engine.connect().close()

if {is_registered_before}:
    atexit.register(use)
port = receiver.getsockname()[1]
engine = sqlalchemy.create_engine(f"sqlite://?plugin=collectd&collectd_host=127.0.0.1&collectd_port={{port}}")
if not {is_registered_before}:
    atexit.register(use)
"""


@pytest.mark.parametrize("is_registered_before", [False, True])
def test_a_pool_first_used_in_an_exit_handler_is_told_or_passed_over_in_silence(
    is_registered_before: bool,
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(is_registered_before=is_registered_before)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""
    # From CPython 3.12 on nothing can start a thread any more for what is used after our own handler.
    may_start = sys.version_info < (3, 12)
    assert ended.stdout == ("told\n" if may_start or not is_registered_before else "not told\n")
