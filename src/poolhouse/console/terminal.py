"""The terminal that the window is drawn on: whether one can be, and what happens when it goes away."""

import os
import select
import sys
from collections.abc import Callable
from threading import Event, Thread

#: Terminals that cannot move their cursor, as they call themselves in ``TERM``.
_DUMB = ("", "dumb", "unknown")
#: Seconds that the window is given to end once its terminal has gone.
_GRACE = 3.0
_WITHOUT = "; --once and --json do without"


def why_no_window() -> str | None:
    """Why no window can be drawn here, in a sentence; ``None`` if one can.

    Textual draws on the standard error, and reads keys from the standard input.
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
    """Call `end` in a thread of its own when the terminal goes away; call the result to look no more.

    A terminal that goes without a SIGHUP leaves a standard input that is always readable and always empty: reading
    on would be a busy loop. Its output, where every write fails now, is replaced by the null device, so that the
    window can end as it always does.
    """
    is_over = Event()
    thread = Thread(target=_watch, args=(end, is_over), name="connmon-terminal", daemon=True)
    thread.start()
    return is_over.set


def _watch(end: Callable[[], object], is_over: Event) -> None:
    poll = select.poll()
    poll.register(0, 0)  # No events but POLLHUP, POLLERR and POLLNVAL, which need not be asked for.
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
        os._exit(1)  # The window's output has stopped in a write that failed; there is nobody to be told.
