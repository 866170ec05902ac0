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
    """The factory of the feed for a target.

    Raises:
        SettingError: When the feed is made, if the service's certificate cannot be used.
    """
    return lambda on_snapshot, on_link: FeedClient(_source(target), on_snapshot=on_snapshot, on_link=on_link)


def _source(target: Target) -> Source:
    udp = target.udp
    if target.service is None:
        assert udp is not None, "a target has one of the two"
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
    """Show the console until the user quits, `seconds` have passed, or SIGTERM or SIGHUP arrives.

    Args:
        target: The place to ask.
        seconds: When the console ends by itself; ``None`` for when the user quits.
        program: The program whose page is shown first; ``None`` for the page of all programs.
        hint: The line above the foot of each page; ``None`` for none.
        can_ask: Whether to end if a login is demanded or refused before anything was shown.

    Returns:
        The link that demands a login, if the console ended for that; else ``None``.

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
    """Let signals that would end the process end the window first, so that the terminal is restored."""
    before = {number: signal.signal(number, lambda *_: end()) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
