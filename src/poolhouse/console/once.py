"""One snapshot for a script: wait for it, and say what came or why nothing did."""

from dataclasses import dataclass
from queue import Empty, SimpleQueue

from poolhouse.clean import clean
from poolhouse.clock import Clock
from poolhouse.console.feed import FeedFactory
from poolhouse.console.notices import who_reports
from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Snapshot

#: Characters of a sentence that quotes a server.
LONGEST_SENTENCE = 1000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of waiting.

    Attributes:
        snapshot: The first whole one with what was asked for; ``None`` if none came in time.
        link: The newest link.
        newest: The newest snapshot, whatever it has.
    """

    snapshot: Snapshot | None
    link: Link
    newest: Snapshot | None = None


def wait_for_snapshot(
    make_feed: FeedFactory, address: str, timeout: float, clock: Clock, program: str | None = None
) -> Outcome:
    """The first whole snapshot that has a program or a host in it, and the processes of `program` if one is named.

    A source that does not introduce itself sends value by value; its second snapshot has them all. A node that
    demands another login is not waited for.

    Args:
        make_feed: Makes the source.
        address: What it is called until it says so itself.
        timeout: Seconds.
        clock: For the deadline.
        program: Whose processes are wanted too.
    """
    arrived: SimpleQueue[Snapshot | Link] = SimpleQueue()
    feed = make_feed(arrived.put, arrived.put)
    deadline = clock.monotonic() + timeout
    link = Link("connecting", address)
    partial: Snapshot | None = None
    newest: Snapshot | None = None
    feed.ask(program)
    feed.start()
    try:
        while True:
            try:
                item = arrived.get(timeout=max(0.0, deadline - clock.monotonic()))
            except Empty:
                break
            if isinstance(item, Link):
                link = item
                if link.login:
                    break
                continue
            newest = item
            if not (item.programs or item.hosts) or (program is not None and not item.processes):
                continue
            if link.server is not None or partial is not None:
                return Outcome(item, link, item)
            partial = item
        return Outcome(partial, link, newest)
    finally:
        feed.close()


def why_nothing(link: Link, timeout: float, newest: Snapshot | None = None, program: str | None = None) -> str:
    """Why nothing came, in a sentence; `newest` and `program` as in `wait_for_snapshot`."""
    reasons = {
        "connecting": "it does not answer",
        "connected": f"it answers, but {who_reports(newest, program)}",
        "refused": link.error or "it refuses the connection",
        "unresolved": link.error or "the name is not known",
        "listening": "nothing was pushed here, as collectd's plugin does; connmon connect asks a connmond",
    }
    within = "" if link.login else f" within {timeout:g} s"
    note = f"{link.note}; " if link.note else ""
    sentence = f"{note}nothing came from {link.address}{within}: {reasons[link.phase].rstrip('.')}"
    return clean(sentence, LONGEST_SENTENCE)
