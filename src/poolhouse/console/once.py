"""One snapshot for a script: wait for it, and say what came or why nothing did."""

from dataclasses import dataclass
from queue import Empty, SimpleQueue

from poolhouse.clean import clean
from poolhouse.clock import Clock
from poolhouse.console.feed import FeedFactory
from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Snapshot

#: Characters of a sentence that quotes a server.
LONGEST_SENTENCE = 1000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of waiting: the snapshot, if one with a program in it came in time, and the newest link."""

    snapshot: Snapshot | None
    link: Link


def wait_for_snapshot(make_feed: FeedFactory, address: str, timeout: float, clock: Clock) -> Outcome:
    """The first whole snapshot that has a program or a host in it.

    A source that does not introduce itself sends value by value; its second snapshot has them all.

    Args:
        make_feed: Makes the source.
        address: What it is called until it says so itself.
        timeout: Seconds.
        clock: For the deadline.
    """
    arrived: SimpleQueue[Snapshot | Link] = SimpleQueue()
    feed = make_feed(arrived.put, arrived.put)
    deadline = clock.monotonic() + timeout
    link, partial = Link("connecting", address), None
    feed.start()
    try:
        while True:
            try:
                item = arrived.get(timeout=max(0.0, deadline - clock.monotonic()))
            except Empty:
                break
            if isinstance(item, Link):
                link = item
            elif item.programs or item.hosts:
                if link.server is not None or partial is not None:
                    return Outcome(item, link)
                partial = item
        return Outcome(partial, link)
    finally:
        feed.close()


def why_nothing(link: Link, timeout: float) -> str:
    """Why nothing came, in a sentence."""
    reasons = {
        "connecting": "it does not answer",
        "connected": "it answers, but no program has reported to it",
        "refused": link.error or "it refuses the connection",
        "unresolved": link.error or "the name is not known",
        "listening": "nothing was pushed here, as collectd's plugin does; connmon connect asks a connmond",
    }
    sentence = f"nothing came from {link.address} within {timeout:g} s: {reasons[link.phase].rstrip('.')}"
    return clean(sentence, LONGEST_SENTENCE)
