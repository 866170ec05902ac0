"""Blocked event loops: stamps are posted to them, and the delay until a loop handles one is measured.

A loop is known from the application's checkouts, and is not kept alive. Asyncio's loops and gevent's hubs are
loops.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import Any
from weakref import ref

from poolhouse.copies import copy_of
from poolhouse.sites.frames import Place

#: A loop that has not come to a stamp for this many seconds stands still.
PATIENCE_S = 0.05

#: Each known loop, and the identifier of the thread that runs it; 0 if that is not known yet.
_known: "dict[ref[Any], int]" = {}


def remember(loop: Any, thread: int = 0) -> "ref[Any]":
    """Know a loop from now on. Any thread may call it.

    Args:
        loop: It is not kept alive.
        thread: The identifier of the thread that runs it, if that is known; else it is learned from the loop.
    """
    reference = ref(loop, _forget)
    if thread or reference not in _known:
        _known[reference] = thread
    return reference


def notice() -> "ref[Any] | None":
    """Know the event loop of asyncio that runs in the calling thread; ``None`` if none does.

    Never raises. To be called where a pool is used, seldom: a loop need be noticed once.
    """
    with suppress(Exception):
        events: Any = sys.modules.get("asyncio.events")
        loop = None if events is None else events._get_running_loop()
        if loop is not None:
            return remember(loop, get_ident())
    return None


def thread_of(loop: "ref[Any]") -> int | None:
    """The identifier of the thread that runs a known loop; ``None`` if it is not known."""
    # A reference that is dead cannot be looked up, unless it was before.
    return None if loop() is None else _known.get(loop) or None


def forget_all() -> None:
    """Know no loop: in a forked child."""
    _known.clear()


def _forget(reference: "ref[Any]") -> None:
    _known.pop(reference, None)


class _Stamp:
    """A callback that writes down when the loop came to it, and in which thread."""

    __slots__ = ("_now", "_thread_id", "answered_at", "counted_s", "excused_s", "is_seen", "posted_at", "thread")

    def __init__(self, now: Callable[[], float], thread_id: Callable[[], int]) -> None:
        self._now = now
        self._thread_id = thread_id
        self.posted_at = now()
        self.answered_at: float | None = None
        #: Seconds in which nothing in this process could run, and seconds that are counted already.
        self.excused_s = self.counted_s = 0.0
        self.thread = 0
        #: Whether a look found the loop at a line of the application.
        self.is_seen = False

    def answer(self) -> None:
        """Called by the loop."""
        self.thread = self._thread_id()
        self.answered_at = self._now()


class Stalls:
    """How long loops have stood still. For one thread.

    Attributes:
        stalled_s: Seconds, in all.
        longest_s: The longest time.
        lines: The lines of the application at which they stood, and how often of late a look found them there.
    """

    def __init__(
        self, now: Callable[[], float], thread_id: Callable[[], int], line_of: Callable[[int], Place | None]
    ) -> None:
        """Begin with nothing.

        Args:
            now: The monotonic time; called by the loops' threads too.
            thread_id: The identifier of the calling thread, also where greenlets have replaced threads.
            line_of: The line of the application at which a thread's loop is, if it is at one.
        """
        self._now = now
        self._thread_id = thread_id
        self._line_of = line_of
        self._stamps: dict[ref[Any], _Stamp] = {}
        self.stalled_s = self.longest_s = 0.0
        self.lines: dict[tuple[Any, int], float] = {}

    def look(self, late_s: float) -> None:
        """Look which loops have come to their stamps, and post new ones.

        Args:
            late_s: By how much this look is late, because nothing in this process could run.
        """
        for reference, thread in copy_of(_known).items():
            loop = reference()
            if loop is not None and _is_running(loop):
                self._look_at(reference, loop, thread, late_s)
            else:
                self._stamps.pop(reference, None)
        for reference in self._stamps.keys() - _known.keys():
            del self._stamps[reference]

    def _look_at(self, reference: "ref[Any]", loop: Any, thread: int, late_s: float) -> None:
        stamp = self._stamps.get(reference)
        if stamp is not None:
            if stamp.thread and not thread:
                remember(loop, stamp.thread)
            stamp.excused_s += late_s
            stood_s = (stamp.answered_at or self._now()) - stamp.posted_at - stamp.excused_s
            if stood_s > PATIENCE_S and stamp.answered_at is None and thread:
                stamp.is_seen = self._name(thread) or stamp.is_seen
            # A loop that is at no line of the application has nothing to do, or gets no CPU.
            if stood_s > PATIENCE_S and stamp.is_seen:
                self.stalled_s += max(0.0, stood_s - stamp.counted_s)
                self.longest_s = max(self.longest_s, stood_s)
                stamp.counted_s = stood_s
            if stamp.answered_at is None:
                return
        self._stamps[reference] = stamp = _Stamp(self._now, self._thread_id)
        try:
            _post(loop, stamp.answer)
        except Exception:  # It has been closed meanwhile.
            del self._stamps[reference]

    def _name(self, thread: int) -> bool:
        """Count the line at which the thread is, and say whether there is one."""
        line = self._line_of(thread)
        if line is not None:
            key = line[0], line[1]
            if key not in self.lines and len(self.lines) >= _MOST_LINES:
                del self.lines[min(self.lines, key=self.lines.__getitem__)]
            for other in self.lines:
                self.lines[other] *= _KEPT
            self.lines[key] = self.lines.get(key, 0.0) + 1
        return line is not None

    @property
    def knows_any(self) -> bool:
        """Whether a loop ran when it was looked at last."""
        return bool(self._stamps)

    @property
    def line(self) -> tuple[Any, int] | None:
        """The line at which loops stood most often of late; ``None`` if none was seen."""
        lines = copy_of(self.lines)
        return max(lines, key=lines.__getitem__, default=None)


# The parent's loops do not run in a child.
os.register_at_fork(after_in_child=forget_all)

#: How many lines are counted at a time.
_MOST_LINES = 16
#: The part of its weight that a look keeps when a later one finds a loop standing: after four, the line is theirs.
_KEPT = 0.8


def _is_running(loop: Any) -> bool:
    is_running = getattr(loop, "is_running", None)
    # A hub of gevent is entered by whatever waits.
    return bool(is_running()) if is_running is not None else not getattr(loop, "dead", False)


def _post(loop: Any, answer: Callable[[], None]) -> None:
    post = getattr(loop, "call_soon_threadsafe", None)
    (post or loop.loop.run_callback_threadsafe)(answer)
