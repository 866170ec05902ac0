"""A real connmond on free ports, and a console that remembers what it is shown."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO

from poolhouse.feed.client import udp_feed
from poolhouse.feed.link import Link
from poolhouse.feed.udp import Mode
from poolhouse.fleet.snapshot import Row, Snapshot
from poolhouse.report.protection import Protection
from support import zygote
from support.waiting import wait_until

COMMAND = (sys.executable, "-W", "error", "-m", "poolhouse.daemon")


class Connmond(AbstractContextManager["Connmond"]):
    """Runs until the context is left.

    Attributes:
        announcement: What it says at its start.
        reports, consoles: The ports that it listens on.
        service: The TCP port; 0 if it has none.
        http: The port for HTTP; 0 if it has none.
    """

    def __init__(
        self,
        *options: str,
        host: str = "127.0.0.1",
        reports: int = 0,
        consoles: int = 0,
        has_tcp: bool = False,
        has_otlp: bool = False,
        prefix: tuple[str, ...] = (),
        is_executed: bool = False,
    ) -> None:
        """Start it, and wait for its announcement.

        Args:
            options: Its own.
            host: Where it listens over UDP.
            reports: The port for reports; 0 for any.
            consoles: The same for consoles.
            has_tcp: Whether its configuration has it listen over TCP.
            has_otlp: Whether its configuration has it push metrics.
            prefix: A command that executes it.
            is_executed: Whether a new interpreter runs it, and not a fork of a zygote, at a tenth of the cost.
        """
        where = f"[{host}]" if ":" in host else host
        command = [
            *prefix,
            *COMMAND,
            "--reports",
            f"{where}:{reports}",
            "--consoles",
            f"{where}:{consoles}",
            *options,
        ]
        has_tcp = has_tcp or "--bind" in options
        if not has_tcp:
            command += ["--bind", "off"]
        has_http = "--http" in options
        if not has_http:
            command += ["--http", "off"]
        popen = subprocess.Popen[str] if is_executed else zygote.Popen[str]
        self.process = popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self._output: IO[str] = self.process.stdout
        has_otlp = has_otlp or "--otlp" in options or any("OTLP_ENDPOINT" in word for word in prefix)
        lines = 5 + has_tcp + has_http + has_otlp
        self.announcement = "".join(self._output.readline() for _ in range(lines))
        self.reports, self.consoles = map(int, re.findall(r"UDP \S+:(\d+)", self.announcement))
        tcp = re.search(r"TCP \S+:(\d+)", self.announcement)
        self.service = 0 if tcp is None else int(tcp[1])
        http = re.search(r"https?://\S+:(\d+)", self.announcement)
        self.http = 0 if http is None else int(http[1])

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Its status, and what it wrote to its output after the announcement and to its error output."""
        os.kill(self.process.pid, number)
        output, errors = self.process.communicate(timeout=30)
        return self.process.returncode, output, errors

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Watcher(AbstractContextManager["Watcher"]):
    """A console without a window.

    Attributes:
        snapshots, links: All that was told, oldest first.
    """

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        mode: Mode = "connect",
        program: str | None = None,
        protection: Protection | None = None,
    ) -> None:
        self.snapshots: list[Snapshot] = []
        self.links: list[Link] = []
        self.client = udp_feed(
            host,
            port,
            mode,
            on_snapshot=self.snapshots.append,
            on_link=self.links.append,
            protection=protection,
        )
        self.client.ask(program)
        self.client.start()

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def wait_for(self, is_right: Callable[[Snapshot], object], what: str = "") -> Snapshot:
        """The first snapshot from now on that is right; an older newest one counts too."""
        begin = max(0, len(self.snapshots) - 1)

        def found() -> Snapshot | None:
            return next((one for one in self.snapshots[begin:] if is_right(one)), None)

        return wait_until(found, what=what or "a snapshot that is right") or self.snapshots[-1]

    def wait_for_phase(self, phase: str) -> Link:
        """The link, once it is in this phase."""
        wait_until(lambda: self.client.link.phase == phase, what=f"{phase}: {self.client.link}")
        return self.client.link


class News:
    """Whether a console was shown something new: who sends more often than that floods."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None

    def has_come(self, watcher: Watcher) -> bool:
        newest = watcher.snapshots[-1] if watcher.snapshots else None
        is_new, self._snapshot = newest is not self._snapshot, newest
        return is_new


def sentences(errors: str) -> list[str]:
    """What the log says, a level and a sentence for each line, without the time."""
    pattern = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d ([A-Z]+) connmond: (.*)")
    return [
        " ".join(found.groups()) if (found := pattern.fullmatch(line)) else line for line in errors.splitlines()
    ]


def program(snapshot: Snapshot, name: str) -> Row | None:
    """The program's row, if there is one."""
    return next((row for row in snapshot.programs if row.name == name), None)
