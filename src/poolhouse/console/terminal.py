"""The terminal of the window: whether a window can be drawn on it, and what happens when it goes away."""

import os
import select
import sys
from collections.abc import Callable
from threading import Event, Thread

#: Names in ``TERM`` of terminals that cannot move their cursor.
_DUMB = ("", "dumb", "unknown")
#: Seconds for the window to end once its terminal is gone.
_GRACE = 3.0
_WITHOUT = "; --once and --json do without"


def why_no_window() -> str | None:
    """Why no window can be drawn here, in a sentence; ``None`` if one can.

    Textual draws on standard error and reads keys from standard input.
    """
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if not all(stream is not None and stream.isatty() for stream in streams):
        return "the window needs a terminal" + _WITHOUT
    if is_dumb():
        name = os.environ.get("TERM") or "not set"
        return f"the window needs a terminal that can move its cursor, and TERM is {name}" + _WITHOUT
    return None


def is_dumb() -> bool:
    """Whether the terminal understands no escape sequences."""
    return os.environ.get("TERM", "") in _DUMB


def end_with_terminal(end: Callable[[], object]) -> Callable[[], None]:
    """Call `end` in a separate thread when the terminal goes away. Call the result to stop watching.

    If a terminal goes without a SIGHUP, standard input stays readable and empty forever: reading on would be a
    busy loop. Its output, where every write now fails, is replaced by the null device, so that the window can end
    as usual.
    """
    is_over = Event()
    thread = Thread(target=_watch, args=(end, is_over), name="connmon-terminal", daemon=True)
    thread.start()
    return is_over.set


def _watch(end: Callable[[], object], is_over: Event) -> None:
    poll = select.poll()
    poll.register(0, 0)  # No requested events: POLLHUP, POLLERR and POLLNVAL are always reported.
    while not is_over.is_set():
        if poll.poll(500):
            break
    if is_over.is_set():
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    end()
    if not is_over.wait(_GRACE):
        os._exit(1)  # The window's output thread hangs in a failed write, and no one is left to be told.
