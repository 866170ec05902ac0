"""The commands before they know what they are to do."""

import subprocess
import sys

import pytest

#: Interrupts itself when a module that the command needs is imported.
INTERRUPTED = """
import importlib.abc, os, signal, sys

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from poolhouse.cli import {command}
{command}()
"""


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("connmond", "poolhouse.daemon.command"),
        ("connmon", "poolhouse.console.command"),
        ("poolhouse", "poolhouse.subcommands"),
    ],
)
def test_an_interrupt_while_a_command_starts_is_no_traceback(command: str, module: str) -> None:
    code = INTERRUPTED.format(command=command, module=module)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (-2, "", "")
