"""Every snapshot as it arrives, for another program to read, until the connection is lost."""

from collections.abc import Callable
from queue import Empty, SimpleQueue

from poolhouse.clean import clean
from poolhouse.clock import Clock
from poolhouse.console.feed import FeedFactory
from poolhouse.console.once import LONGEST_SENTENCE, patience, why_nothing
from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Snapshot

#: Seconds between two checks whether the source has fallen silent.
_GLANCE_S = 0.5


def dump(
    make_feed: FeedFactory,
    address: str,
    timeout: float | None,
    clock: Clock,
    write: Callable[[Snapshot], None],
    program: str | None = None,
) -> Link:
    """Pass each snapshot to `write` until the source is lost, or does not answer in time.

    Args:
        make_feed: Makes the source.
        address: The source's name until it introduces itself.
        timeout: Seconds to wait for the first snapshot; ``None`` for `poolhouse.console.once.patience`.
        clock: For the deadline.
        write: Takes each snapshot.
        program: A program whose processes are also requested.

    Returns:
        The last state of the link.
    """
    arrived: SimpleQueue[Snapshot | Link] = SimpleQueue()
    feed = make_feed(arrived.put, arrived.put)
    begun = clock.monotonic()
    link = Link("connecting", address)
    has_begun = False
    feed.ask(program)
    feed.start()
    try:
        while not _is_lost(link, has_begun, clock.monotonic(), begun + patience(link, timeout)):
            try:
                item = arrived.get(timeout=_GLANCE_S)
            except Empty:
                continue
            if isinstance(item, Link):
                link = item
            else:
                has_begun = True
                write(item)
        return link
    finally:
        feed.close()


def why_over(link: Link, timeout: float | None) -> str:
    """Why `dump` ended, in a sentence."""
    if link.heard_at is None:
        return why_nothing(link, patience(link, timeout))
    error = (link.error or "it is silent").rstrip(".")
    return clean(f"the connection to {link.address} is lost: {error}", LONGEST_SENTENCE)


def _is_lost(link: Link, has_begun: bool, now: float, deadline: float) -> bool:
    if not has_begun:
        return now >= deadline or bool(link.login)
    return link.phase not in ("connected", "listening") or link.is_silent(now)
