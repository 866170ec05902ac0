"""One snapshot for a script: wait for it, and say what arrived or why nothing did."""

from queue import Empty, SimpleQueue
from typing import NamedTuple

from poolhouse.clean import clean
from poolhouse.clock import Clock
from poolhouse.console.feed import FeedFactory
from poolhouse.console.notices import who_reports
from poolhouse.feed.link import Link, is_refused
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.views.failing import Check

#: The most characters of a sentence that quotes a server.
LONGEST_SENTENCE = 1000
#: Seconds to wait for data; and if nothing listens, as long as a connmond takes to start.
PATIENCE_S, ABSENT_PATIENCE_S = 20.0, 3.0


class Outcome(NamedTuple):
    """The result of waiting.

    Attributes:
        snapshot: The first complete one with what was requested; ``None`` if none arrived in time.
        link: The newest link.
        newest: The newest snapshot, complete or not.
        waited: How long the wait lasted, in seconds.
    """

    snapshot: Snapshot | None
    link: Link
    newest: Snapshot | None = None
    waited: float = 0.0


def patience(link: Link, timeout: float | None, *, has_begun: bool = False) -> float:
    """Seconds to wait for the first data: less if nothing listens, unless the user has set a time.

    Nothing listens if the connection is refused, if the name is not known, or if a port of this machine had to be
    used because nothing answers over TCP either.
    """
    if timeout is not None:
        return timeout
    is_absent = not (has_begun or link.heard_at) and (
        link.phase == "unresolved"
        or (link.phase == "refused" and (link.error is None or is_refused(link.error)))
        or (link.phase == "listening" and link.note != "")
    )
    return ABSENT_PATIENCE_S if is_absent else PATIENCE_S


def wait_for_snapshot(
    make_feed: FeedFactory,
    address: str,
    timeout: float | None,
    clock: Clock,
    program: str | None = None,
    check: Check | None = None,
) -> Outcome:
    """The first complete snapshot with a program or a host in it, and the processes of `program` if given.

    A source that does not introduce itself sends one value at a time; its second snapshot is complete. A node that
    demands another login is not waited for.

    Args:
        make_feed: Makes the source.
        address: The source's name until it introduces itself.
        timeout: Seconds; ``None`` for `patience`.
        clock: For the deadline.
        program: A program whose processes are also requested.
        check: Conditions that may have to hold for a while; then the last snapshot that was needed is returned.
    """
    arrived: SimpleQueue[Snapshot | Link] = SimpleQueue()
    feed = make_feed(arrived.put, arrived.put)
    begun = clock.monotonic()
    link = Link("connecting", address)
    partial: Snapshot | None = None
    newest: Snapshot | None = None
    holding_s: float | None = None
    feed.ask(program)
    feed.start()
    try:
        while True:
            wait = patience(link, timeout, has_begun=newest is not None)
            deadline = begun + wait + (holding_s or 0.0)
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
                if check is None or check.take(item, clock.monotonic()):
                    return Outcome(item, link, item)
                if holding_s is None:
                    holding_s = clock.monotonic() - begun + check.longest_s
            partial = item
        return Outcome(partial, link, newest, wait)
    finally:
        feed.close()


def why_nothing(link: Link, timeout: float, newest: Snapshot | None = None, program: str | None = None) -> str:
    """Why nothing arrived, in a sentence; `newest` and `program` as in `wait_for_snapshot`."""
    was_asked = bool(link.note)  # TCP was tried first, and no connmond on this machine answered over UDP.
    advice = "start connmond, or name its host with --host" if was_asked else "connmon connect asks a connmond"
    reasons = {
        "connecting": "it does not answer",
        "connected": f"it answers, but {who_reports(newest, program)}",
        "refused": link.error or "it refuses the connection",
        "unresolved": link.error or "the name is not known",
        "listening": f"no collectd pushes to this port; {advice}",
    }
    within = "" if link.login else f" within {timeout:g} s"
    note = f"{link.note}; " if link.note else ""
    sentence = f"{note}nothing came from {link.address}{within}: {reasons[link.phase].rstrip('.')}"
    return clean(sentence, LONGEST_SENTENCE)
