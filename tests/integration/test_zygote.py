"""A program that is forked from a zygote behaves as if it had been executed."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import zygote
from support.collectd import Namespace
from support.paths import PYTHONPATH

PYTHON = (sys.executable, "-W", "error")
#: What a program can see of itself.
SEEN = """
import json, os, signal, sys
print(json.dumps({
    "given": (sys.argv, sys.orig_argv, sys.path, sys.warnoptions, sys.flags, dict(os.environ), os.getcwd()),
    "ours": [name for name in sys.modules if name.split(".")[0] == "poolhouse"],
    "handlers": [str(signal.getsignal(number)) for number in signal.valid_signals()],
    "blocked": list(map(str, signal.pthread_sigmask(0, []))),
    "streams": [(one.encoding, one.errors, one.line_buffering) for one in (sys.stdin, sys.stdout, sys.stderr)],
    "files": [fd for fd in range(64) if os.path.exists(f"/proc/self/fd/{fd}")],
    "relations": (os.getppid(), os.getpgid(0), os.getsid(0)),
    "main": [sys.modules["__main__"].__dict__ is globals(), __name__],
}))
"""
#: Each ends in its own way.
ENDS = {
    "by itself": "import atexit; atexit.register(print, 'bye')",
    "with a status": "import sys; print('bye'); sys.exit(3)",
    "with a sentence": "import sys; sys.exit('no')",
    "with an error": "def fail():\n    1 / 0\nfail()",
    "interrupted": "raise KeyboardInterrupt",
    "with a warning": "import warnings; warnings.warn('careful')",
    "with something left open": "file = open('/dev/null'); del file",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "when its thread has": "import threading, time; threading.Thread(target=lambda: print(input())).start()",
}


def both(*command: str, **options: Any) -> tuple[subprocess.CompletedProcess[str], ...]:
    """What a forked and an executed program did."""
    given = {"capture_output": True, "text": True, "input": "a line\n", "timeout": 60} | options
    return zygote.run(command, **given), subprocess.run(command, **given)


def early() -> dict[str, str]:
    """The variables that must be as in these tests."""
    return {name: value for name, value in os.environ.items() if name.startswith(("LANG", "LC_", "PYTHON"))}


def own_lines(errors: str) -> list[str]:
    """Without the frames of the zygote, and without source, which only newer interpreters show of ``-c``."""
    strange = ("    ", '  File "<frozen runpy>"', f'  File "{zygote.__file__}"')
    return [line for line in errors.splitlines() if not line.startswith(strange)]


@pytest.mark.parametrize("env", [dict(os.environ), {"A": "\u00fc\udcff"}, {"PYTHONPATH": PYTHONPATH}])
def test_it_sees_what_an_executed_one_sees(env: dict[str, str], tmp_path: Path) -> None:
    options = {"env": early() | env, "cwd": tmp_path}
    forked, executed = both(*PYTHON, "-c", SEEN, "an argument", "--option", **options)
    assert json.loads(forked.stdout) == json.loads(executed.stdout)
    assert (forked.stderr, forked.returncode) == ("", 0)


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_it_ends_as_an_executed_one_does(code: str) -> None:
    forked, executed = both(*PYTHON, "-c", code)
    assert (forked.returncode, forked.stdout) == (executed.returncode, executed.stdout)
    assert own_lines(forked.stderr) == own_lines(executed.stderr)


def test_a_script_finds_its_neighbours_and_its_name(tmp_path: Path) -> None:
    tmp_path.joinpath("neighbour.py").write_text("import sys\nwords = sys.argv[1:]\n")
    script = tmp_path / "script.py"
    script.write_text("import neighbour\nprint(neighbour.words, __file__, __name__)\n")
    forked, executed = both(*PYTHON, str(script), "one", "two", cwd="/")
    assert forked.stdout == executed.stdout == f"['one', 'two'] {script} __main__\n"


def test_it_is_a_child_like_any_other() -> None:
    code = "print('ready', flush=True); input()"
    process = zygote.Popen[str](
        [*PYTHON, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert "support.zygote" in Path(f"/proc/{process.pid}/cmdline").read_text()
        assert (os.getpgid(process.pid), os.getsid(process.pid)) == (process.pid, process.pid)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, 0)


def test_it_is_in_the_network_and_the_environment_that_its_prefix_says() -> None:
    with Namespace() as network:
        code = "import os; print(os.readlink('/proc/self/ns/net'), os.environ['A'])"
        forked, executed = both(*network.prefix, "env", "A=a b", *PYTHON, "-c", code)
        with network.entered():
            inside = zygote.run([*PYTHON, "-c", code], env=early() | {"A": "a b"}, capture_output=True, text=True)
            assert inside.stdout == f"{os.readlink('/proc/thread-self/ns/net')} a b\n"
        assert forked.stdout == executed.stdout == inside.stdout


def test_a_zygote_that_was_started_elsewhere_forks_programs_that_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "_zygotes", {})
    command = [*PYTHON, "-c", "import os; print(os.readlink('/proc/self/ns/net'))"]
    with Namespace() as network, network.entered():
        zygote.run(command, capture_output=True, check=True)
    told = zygote.run(command, capture_output=True, text=True, check=True).stdout
    zygote.close()
    assert told == f"{os.readlink('/proc/thread-self/ns/net')}\n"


def test_orphans_of_programs_are_adopted_no_longer_than_a_start_takes() -> None:
    assert zygote.run([*PYTHON, "-c", "pass"]).returncode == 0
    adopts = ctypes.c_int(-1)
    assert ctypes.CDLL(None).prctl(37, ctypes.byref(adopts)) == 0  # PR_GET_CHILD_SUBREAPER
    assert adopts.value == 0


@pytest.mark.parametrize(
    "asked",
    [
        {"args": [sys.executable, "-I", "-c", "pass"]},
        {"args": ["nice", sys.executable, "-c", "pass"]},
        {"preexec_fn": os.getpid},
        {"pass_fds": [0]},
        {"env": {"PYTHONHASHSEED": "1"}},
        {"env": {"PYTHONPATH": "/somewhere"}},
        {"umask": 0o77},
    ],
    ids=str,
)
def test_what_a_fork_cannot_have_is_executed(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "Zygote", None)
    monkeypatch.setattr(zygote, "_zygotes", {})
    if "env" in asked:
        asked = {"env": early() | asked["env"]}
    args = asked.pop("args", [sys.executable, "-c", "pass"])
    assert zygote.run(args, **asked).returncode == 0
