"""Our own console's end of the feed, without a screen."""

import contextlib
from collections.abc import Iterator

from poolhouse.feed.client import udp_feed
from poolhouse.feed.link import Link
from poolhouse.feed.udp import Mode
from poolhouse.fleet.snapshot import Snapshot


@contextlib.contextmanager
def feed_console(
    port: int, host: str = "127.0.0.1", program: str | None = None, mode: Mode = "connect"
) -> Iterator[tuple[list[Snapshot], list[Link]]]:
    """The snapshots and links that a console is given from entering on, newest last."""
    snapshots: list[Snapshot] = []
    links: list[Link] = []
    client = udp_feed(host, port, mode, on_snapshot=snapshots.append, on_link=links.append)
    client.start()
    client.ask(program)
    try:
        yield snapshots, links
    finally:
        client.close()
