"""connmon, the live view in a terminal."""

import random
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

from poolhouse.addresses import format_address
from poolhouse.console.feed import FeedFactory
from poolhouse.console.session import Hint
from poolhouse.console.target import Target
from poolhouse.console.terminal import end_with_terminal
from poolhouse.feed.client import FeedClient
from poolhouse.feed.fallback import Fallback
from poolhouse.feed.link import Link
from poolhouse.feed.service_caller import ServiceCaller
from poolhouse.feed.source import Source
from poolhouse.feed.udp import UdpSource
from poolhouse.report.sockets import SystemNetwork


def feed_of(target: Target) -> FeedFactory:
    """What makes the feed of a place.

    Raises:
        SettingError: When it is made, if the service's certificate cannot be used.
    """
    return lambda on_snapshot, on_link: FeedClient(_source(target), on_snapshot=on_snapshot, on_link=on_link)


def _source(target: Target) -> Source:
    udp = target.udp
    if target.service is None:
        assert udp is not None, "there is one of them"
        return UdpSource(*udp, target.protection)
    caller = ServiceCaller(target.service, SystemNetwork(), random.random)
    if udp is None:
        return caller
    return Fallback(caller, lambda: UdpSource(*udp), f"UDP {format_address(*udp[:2])}")


def run(
    target: Target,
    seconds: float | None = None,
    program: str | None = None,
    hint: Hint | None = None,
    *,
    can_ask: bool = False,
) -> Link | None:
    """Show the console until the person quits, for so many seconds, or until SIGTERM or SIGHUP.

    Args:
        target: The place that is asked.
        seconds: When the console ends by itself; ``None`` is when the person quits.
        program: The program whose page is shown first; ``None`` for the page of all programs.
        hint: What stands above the foot of each page, if anything.
        can_ask: Whether to end where a login is demanded, or refused, before anything was shown.

    Returns:
        The link that says so, if it ended for a login; else ``None``.

    Raises:
        SettingError: If a port cannot be bound, or a certificate cannot be used.
        ModuleNotFoundError: Without textual.
    """
    from poolhouse.console.app import ConsoleApp

    app = ConsoleApp(feed_of(target), target.address, seconds=seconds, program=program, hint=hint, can_ask=can_ask)
    with _signals_call(app.exit):
        look_no_more = end_with_terminal(app.leave)
        try:
            app.run()
        finally:
            look_no_more()
    if app.failure is not None:
        raise app.failure
    return app.refusal


@contextmanager
def _signals_call(end: Callable[[], None]) -> Generator[None]:
    """What would end the process at once ends the window first, so that the terminal is left as it was."""
    before = {number: signal.signal(number, lambda *_: end()) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
