"""connmon, the live view in a terminal."""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

from poolhouse.addresses import format_address
from poolhouse.console.feed import FeedFactory
from poolhouse.console.session import Hint
from poolhouse.console.terminal import end_with_terminal
from poolhouse.feed.client import FeedClient, Mode


def feed_of(host: str, port: int, mode: Mode = "auto") -> FeedFactory:
    """What makes the feed of a daemon, or of what a collectd pushes to this port; `mode` as in `FeedClient`."""
    return lambda on_snapshot, on_link: FeedClient(host, port, mode, on_snapshot=on_snapshot, on_link=on_link)


def run(
    host: str,
    port: int,
    mode: Mode = "auto",
    seconds: float | None = None,
    program: str | None = None,
    hint: Hint | None = None,
) -> None:
    """Show the console until the person quits, for so many seconds, or until SIGTERM or SIGHUP.

    Raises:
        SettingError: In mode ``listen``, if the port cannot be bound.
        ModuleNotFoundError: Without textual.
    """
    from poolhouse.console.app import ConsoleApp

    app = ConsoleApp(
        feed_of(host, port, mode), format_address(host, port), seconds=seconds, program=program, hint=hint
    )
    with _signals_call(app.exit):
        look_no_more = end_with_terminal(app.leave)
        try:
            app.run()
        finally:
            look_no_more()
    if app.failure is not None:
        raise app.failure


@contextmanager
def _signals_call(end: Callable[[], None]) -> Generator[None]:
    """What would end the process at once ends the window first, so that the terminal is left as it was."""
    before = {number: signal.signal(number, lambda *_: end()) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
