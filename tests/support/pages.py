"""The examples of a page of the documentation, done word for word as a reader would do them."""

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support.collectd import Namespace
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
#: A fenced block, in a list too: there its lines are indented like its fence.
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ ([^\n]*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: the heading that it stands under, its language, and its text."""

    heading: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in its order."""
    found: list[Block] = []
    heading = ""
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(_FENCE.findall(text)), f"{page}: a fence that is not seen"
    for match in re.finditer(f"{_FENCE.pattern}|{_HEADING.pattern}", text, re.DOTALL | re.MULTILINE):
        _, language, body, title = match.groups()
        if body is None:
            heading = title
        else:
            found.append(Block(heading, language, textwrap.dedent(body)))
    return found


def under(page: Path, heading: str, *languages: str) -> list[str]:
    """The texts of the blocks under a heading, which must be of these languages, in this order."""
    here = [block for block in blocks(page) if block.heading == heading]
    assert tuple(block.language for block in here) == languages, f"{page}, {heading}: {here}"
    return [block.text for block in here]


def session(text: str) -> list[tuple[str, str]]:
    """A console block as commands, each with the output shown below it."""
    return [
        (command, output) for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
    ]


def looks_like(shown: str, printed: str) -> bool:
    """Whether an output is the one that a page shows, but for its numbers and how wide its columns are.

    >>> looks_like("used 2/2 !  waiting 10", "used 1/2 !  waiting 8")
    True
    >>> looks_like("used 2/2 !  waiting 10", "used 1/2    waiting 8")
    False
    """
    pattern = r"\s+".join(re.sub(r"\d+(?:\\\.\d+)*", r"[\\d.]+", re.escape(word)) for word in shown.split())
    return re.fullmatch(pattern, " ".join(printed.split())) is not None


class Shell(AbstractContextManager["Shell"]):
    """A shell that stays, as in a terminal: its jobs run on, and end with it."""

    def __init__(self, process: "subprocess.Popen[str]", output: Path) -> None:
        self._process = process
        self._output = output
        self._typed = 0

    @property
    def printed(self) -> str:
        """All that its commands have printed, in the background too."""
        return self._output.read_text()

    def type(self, lines: str) -> None:
        """Have it run lines of shell, which must end well; commands in the background need not have ended."""
        self._typed += 1
        status = self._output.with_suffix(f".{self._typed}")
        assert self._process.stdin is not None
        self._process.stdin.write(f"{lines}\necho $? > {status}.new; mv {status}.new {status}\n")
        self._process.stdin.flush()
        wait_until(status.exists, what=lines)
        assert status.read_text() == "0\n", lines

    def __exit__(self, *_: object) -> None:
        self._process.communicate("kill $(jobs -p)\nwait\n", timeout=30)


class Reader(AbstractContextManager["Reader"]):
    """Somebody in an empty folder, on a machine of which every port is free.

    Examples name the ports that everybody uses; each reader has a network of their own, so nothing in an example
    need be changed to be tried. It needs root, as every test with fixed ports does.

    Attributes:
        network: Their network; what a test opens within ``network.entered()`` is there too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = Namespace()
        self._started: list[subprocess.Popen[str]] = []
        self._shells = 0

    def __enter__(self) -> Self:
        self.network.__enter__()
        return self

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run lines of shell to their end."""
        return subprocess.run(
            [*self.network.prefix, "bash", "-c", command],
            cwd=self.folder,
            env=self._environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def read(self, command: str) -> str:
        """What lines of shell print, which must all end well and complain of nothing."""
        done = self.run(f"set -e -o pipefail\n{command}")
        assert (done.returncode, done.stderr) == (0, ""), f"{command}\n{done}"
        return done.stdout

    def python(self, code: str) -> str:
        """What a program prints; every warning is an error."""
        (self.folder / "example.py").write_text(code, encoding="utf-8")
        return self.read("python -W error example.py")

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a command that goes on until the reader has gone."""
        self._started.append(
            subprocess.Popen(
                [*self.network.prefix, "bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self._environment({}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return self._started[-1]

    def shell(self) -> Shell:
        """A terminal of theirs."""
        self._shells += 1
        output = self.folder / f".shell-{self._shells}"
        with output.open("w") as file:
            process = subprocess.Popen(
                [*self.network.prefix, "bash"],
                cwd=self.folder,
                env=self._environment({}),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return Shell(process, output)

    def start_as_shown(self, shown: str) -> None:
        """Start the command of a console block, and wait until it has printed what is shown."""
        ((command, output),) = session(shown)
        process = self.start(command)
        assert process.stdout is not None
        printed = "".join(process.stdout.readline() for _ in output.splitlines())
        assert printed == output

    def window(self, command: str) -> Sequence[str]:
        """The command line that runs a command here; a terminal of the test's own can run it."""
        path = self._environment({})["PATH"]
        return [*self.network.prefix, "env", f"PATH={path}", "bash", "-c", f"cd {self.folder} && exec {command}"]

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        commands = Path(sys.executable).parent  # Those of the environment that runs the tests.
        kept = {name: value for name, value in os.environ.items() if name != "POOLHOUSE_REPORT"}
        return {**kept, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100", **more}

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._started):
            process.send_signal(signal.SIGTERM)
        for process in self._started:
            process.communicate(timeout=30)
        self.network.__exit__()
