"""Writes lines to collectd's log, limited to what a reader can use."""

from collections.abc import Callable

from poolhouse.clock import Clock
from poolhouse.collectd_plugin.api import Collectd
from poolhouse.complaints import presentable

#: The least number of seconds between two lines of the same kind.
QUIET = 60.0
#: The most lines of level debug per second: a flood of datagrams must not become a flood of lines.
DEBUG_LINES = 1000

#: Most important first.
_LEVELS = ("error", "warning", "notice", "info", "debug")


class Log:
    """The log of one plugin, for several threads. Concurrent calls may write a line too many, never one too few.

    Attributes:
        level: The least important level that is written, one of ``error warning notice info debug``.
    """

    def __init__(self, collectd: Collectd, name: str, clock: Clock) -> None:
        """Write to `collectd`, each line beginning with the plugin's `name`."""
        self.level = "info"
        self._collectd = collectd
        self._name = name
        self._clock = clock
        self._written: dict[str, float] = {}
        self._unwritten: dict[str, int] = {}
        self._debug_second = 0
        self._debug_lines = 0

    @property
    def is_debug(self) -> bool:
        """Whether `debug` writes anything; check this before building an expensive line."""
        return self.level == "debug"

    def error(self, text: str) -> None:
        """Log an error: a part of the plugin does not work."""
        self._write("error", self._collectd.error, text)

    def warning(self, text: str) -> None:
        """Log a warning: the plugin works, but needs attention."""
        self._write("warning", self._collectd.warning, text)

    def info(self, text: str) -> None:
        """Log an action."""
        self._write("info", self._collectd.info, text)

    def debug(self, text: str) -> None:
        """Log traffic, at collectd's level info: a collectd built without debugging drops the level debug."""
        second = int(self._clock.monotonic())
        if second != self._debug_second:
            left_out = self._debug_lines - DEBUG_LINES
            self._debug_second, self._debug_lines = second, 0
            if left_out > 0:
                self._write("debug", self._collectd.info, f"{left_out} lines left out")
        self._debug_lines += 1
        if self._debug_lines <= DEBUG_LINES:
            self._write("debug", self._collectd.info, text)

    def seldom(self, kind: str, text: str) -> None:
        """Log a warning, but at most one of its `kind` in `QUIET` seconds.

        Args:
            kind: The kind of warning: a fixed word, so that there are few kinds.
            text: The line.
        """
        now = self._clock.monotonic()
        if now - self._written.get(kind, -QUIET) < QUIET:
            self._unwritten[kind] = self._unwritten.get(kind, 0) + 1
            return
        self._written[kind] = now
        unwritten = self._unwritten.pop(kind, 0)
        self.warning(f"{text} ({unwritten} more like it before)" if unwritten else text)

    def _write(self, level: str, write: Callable[[str], None], text: str) -> None:
        if _LEVELS.index(level) <= _LEVELS.index(self.level):
            write(presentable(f"{self._name}: {text}"))
