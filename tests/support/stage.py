"""Programs of tests/causes, run side by side, and what connmond and they themselves say of them."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import psycopg

from support import zygote
from support.connmond import Connmond
from support.mariadb import mariadb_server
from support.paths import PYTHONPATH, TESTS
from support.postgres import Postgres, postgres_server
from support.waiting import wait_until

PROGRAMS = TESTS / "causes" / "programs"

#: Seconds from the start to the end of the server that ends.
SERVER_ENDS_AFTER = 8.0
#: Connections that the small server allows.
SMALL = 10
#: Seconds between the starts of two parts.
_BETWEEN = 0.2
#: Seconds that a busy machine has to load all programs.
_LOADING = 180.0


@dataclass(frozen=True)
class Part:
    """A program, in the version with its fault or the mended one.

    Attributes:
        script: Its file in tests/causes/programs, without ``.py``.
        database: A server of `Stage`, or ``sqlite``.
        hosts: The hosts that its processes say they run on, one process for each.
    """

    script: str
    mended: bool = False
    database: str = "main"
    hosts: tuple[str, ...] = ("web1",)

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return f"{self.script}_mended" if self.mended else self.script

    @property
    def path(self) -> Path:
        return PROGRAMS / f"{self.script}.py"

    def site(self, mark: str) -> str:
        """A pattern of the line that ends with this comment, as verdicts write it."""
        lines = [
            str(number)
            for number, line in enumerate(self.path.read_text().splitlines(), 1)
            if line.endswith(f"  # {mark}")
        ]
        return rf"programs/{self.script}\.py:(?:{'|'.join(lines)}) in "


@dataclass
class Actor:
    """The processes of a part.

    Attributes:
        began: When they got the word to start (`time.monotonic`).
        symptoms: What they told of, the oldest first: the time (`time.monotonic`), what it was, the error's text.
        log: What they wrote to their standard error, with the time when it was read.
    """

    part: Part
    processes: list[zygote.Popen[str]] = field(default_factory=list)
    ready: int = 0
    began: float = 0.0
    symptoms: list[tuple[float, str, str]] = field(default_factory=list)
    log: list[tuple[float, str]] = field(default_factory=list)

    def end(self) -> None:
        """Kill them, and what they have forked: what they would do at their end is no matter here."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def logged(self, pattern: str) -> float | None:
        """When the first line came that this is in; ``None`` if none did."""
        return next((at for at, line in self.log.copy() if re.search(pattern, line)), None)

    def errors(self) -> list[str]:
        """The texts of the exceptions, with their notes."""
        return [text for _, _, text in self.symptoms if text]


class Machine(AbstractContextManager["Machine"]):
    """How late everything is here: a thread that sleeps, and sees how late it wakes, and how many want to run.

    Who sleeps a lot is woken first: for those who work, how many others do tells more.
    """

    _PAUSE = 0.05
    #: Threads that want to run, for each processor: so many times as long everything takes.
    _CROWD = 3.0

    def __init__(self) -> None:
        self._seen: list[tuple[float, float, int]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sleep, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _sleep(self) -> None:
        due = time.monotonic() + self._PAUSE
        while not self._end.wait(self._PAUSE):
            now = time.monotonic()
            self._seen.append((now, now - due, _runnable()))
            due = now + self._PAUSE

    def is_overloaded(self, begin: float, end: float) -> bool:
        """Whether it was late by a tenth of this time, or crowded: then nothing can be said."""
        seen = [(late, runnable) for at, late, runnable in self._seen.copy() if begin <= at <= end]
        crowd = sum(runnable for _, runnable in seen) / (len(seen) or 1)
        is_late = sum(late for late, _ in seen) > 0.1 * (end - begin)
        return is_late or crowd > self._CROWD * (os.cpu_count() or 1)


def _runnable() -> int:
    """How many threads of the machine run or want to, without the caller's."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) - 1


class Stage(AbstractContextManager["Stage"]):
    """All that runs: servers, connmond, one ``connmon --dump-only``, and the programs.

    Attributes:
        actors: By the part's name.
        machine: How late everything is.
        newest: What connmon told last.
        console_log: What it said where it ended.
        verdicts: By program, what connmon told of it and when (`time.monotonic`), the oldest first.
    """

    def __init__(self, parts: Sequence[Part], folder: Path) -> None:
        self._parts = parts
        self._folder = folder
        self._stack = ExitStack()
        self._threads: list[threading.Thread] = []
        self.actors = {part.name: Actor(part) for part in parts}
        self.newest: dict[str, Any] = {}
        self.console_log: list[str] = []
        self.verdicts: dict[str, list[tuple[float, dict[str, Any]]]] = {}

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        self.machine = self._stack.enter_context(Machine())
        databases = {name: self._server(name) for name in {part.database for part in self._parts}}
        self.daemon = self._stack.enter_context(Connmond())
        self._stack.callback(self._end)
        for part in self._parts:
            for number, host in enumerate(part.hosts):
                self._start(part, databases[part.database], host, number)
        self._console()
        wait_until(self._all_are_ready, timeout=_LOADING, what="all programs to be loaded")
        self._begin()
        if "mortal" in databases:
            timer = threading.Timer(SERVER_ENDS_AFTER, self._postgres("mortal").kill)
            timer.start()
            self._stack.callback(timer.join)
            self._stack.callback(timer.cancel)

    def _begin(self) -> None:
        """Let them begin one after the other: starting takes processor time. The mended ones wait for `end`."""
        faulty = {part.script for part in self._parts if not part.mended}
        for part in self._parts:
            if not (part.mended and part.script in faulty):
                self.begin(part)
                time.sleep(_BETWEEN)

    def begin(self, part: Part) -> None:
        """Give its processes the word to start, unless they have it."""
        actor = self.actors[part.name]
        if actor.began:
            return
        actor.began = time.monotonic()
        for process in actor.processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def end(self, part: Part) -> None:
        """End a part whose test is done, and let its mended version begin: there is time for one of them."""
        self.actors[part.name].end()
        for other in self._parts:
            if other.mended and other.script == part.script:
                self.begin(other)

    def _server(self, name: str) -> str:
        """Start a server; its URL."""
        if name == "sqlite":
            return f"sqlite:///{self._folder}/one.db"
        if name == "mariadb":
            server = self._stack.enter_context(mariadb_server())
            return f"mysql://{server.user}@127.0.0.1:{server.port}/{server.database}"
        if name.startswith("clerk"):
            postgres = self._postgres("main")
            with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
                connection.execute(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 4".encode())
            return postgres.url.replace("postgres@", f"{name}@")
        return self._postgres(name).url

    def _postgres(self, name: str) -> Postgres:
        if (known := getattr(self, f"_{name}", None)) is not None:
            return known  # type: ignore[no-any-return]
        most = SMALL if name == "small" else 600
        server = self._stack.enter_context(postgres_server(max_connections=most))
        setattr(self, f"_{name}", server)
        return server

    def _start(self, part: Part, database: str, host: str, number: int) -> None:
        report = f"collectd://127.0.0.1:{self.daemon.reports}/?program_name={part.name}&report_host={host}"
        process = zygote.Popen[str](
            [sys.executable, str(part.path), database, *["mended"] * part.mended],
            env={**os.environ, "PYTHONPATH": PYTHONPATH, "POOLHOUSE_REPORT": report, "HOST_NUMBER": str(number)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        actor = self.actors[part.name]
        actor.processes.append(process)
        self._read(process.stdout, lambda line: self._told(actor, line))
        self._read(process.stderr, lambda line: actor.log.append((time.monotonic(), line)))

    def _read(self, stream: IO[str], take: Callable[[str], None]) -> None:
        def read() -> None:
            for line in stream:
                take(line.rstrip("\n"))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _told(self, actor: Actor, line: str) -> None:
        told = json.loads(line)
        if "ready" in told:
            actor.ready += 1
        elif "symptom" in told:
            actor.symptoms.append((told["symptom"], told["what"], told["text"]))

    def _all_are_ready(self) -> bool:
        for actor in self.actors.values():
            lines = "\n".join(line for _, line in actor.log)
            assert "Traceback" not in lines, f"{actor.part.name} ended:\n{lines}"
        return all(actor.ready == len(actor.processes) for actor in self.actors.values())

    def _console(self) -> None:
        """Run ``connmon --dump-only``, and again where a busy machine has it lose its connection."""
        command = ["connect", "--port", str(self.daemon.consoles), "--host", "127.0.0.1", "--dump-only"]
        self._is_over = False

        def watch() -> None:
            while not self._is_over:
                with subprocess.Popen(
                    [sys.executable, "-m", "poolhouse.console", *command, "--timeout", str(_LOADING)],
                    env={**os.environ, "PYTHONPATH": PYTHONPATH},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                ) as self._dumping:
                    assert self._dumping.stdout is not None
                    assert self._dumping.stderr is not None
                    for line in self._dumping.stdout:
                        self._shown(line)
                    self.console_log.append(self._dumping.stderr.read())

        self._watching = threading.Thread(target=watch, daemon=True)
        self._watching.start()
        self._stack.callback(self._end_console)

    def _end_console(self) -> None:
        self._is_over = True
        while self._watching.is_alive():
            self._dumping.kill()
            self._watching.join(0.2)

    def _shown(self, line: str) -> None:
        self.newest = told = json.loads(line)
        now = time.monotonic()
        for verdict in told.get("verdicts", []):
            self.verdicts.setdefault(verdict["program"], []).append((now, verdict))

    def row(self, part: Part) -> dict[str, Any] | None:
        """The newest row of the program, if there is one."""
        return next((row for row in self.newest.get("programs", []) if row["name"] == part.name), None)

    def shown(self, program: str, cause: str, site: str, *, has_no_line: bool = False) -> float | None:
        """When connmon first told of this cause in this program, at such a site; ``None`` if it never did.

        Args:
            program: Its name.
            cause: The verdict's.
            site: A pattern of the culprit's line.
            has_no_line: Whether the verdict must name none.
        """
        for at, verdict in self.verdicts.get(program, []).copy():
            if has_no_line and verdict["culprit"] is not None:
                continue
            culprit = verdict["culprit"] or {"file": "", "line": 0, "function": ""}
            if verdict["cause"] == cause and re.match(site, "{file}:{line} in {function}".format(**culprit)):
                return at
        return None

    def _end(self) -> None:
        for actor in self.actors.values():
            actor.end()
        for thread in self._threads:
            thread.join()
        for actor in self.actors.values():
            for process in actor.processes:
                process.communicate()
