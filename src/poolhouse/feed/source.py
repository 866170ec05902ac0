"""What a console's feed is made of: something that asks, or listens, and hands out snapshots."""

from collections.abc import Sequence
from typing import Protocol

from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Snapshot


class Waitable(Protocol):
    """Something to wait for."""

    def fileno(self) -> int:
        """Its descriptor."""
        ...


class Source(Protocol):
    """A source of snapshots, without a thread of its own. Times are monotonic seconds."""

    @property
    def sockets(self) -> Sequence[Waitable]:
        """The sockets to wait for; they change with each call."""
        ...

    @property
    def next_due(self) -> float:
        """When `step` has something to do."""
        ...

    def prepare(self, now: float) -> None:
        """Called once, before everything else but `ask`.

        Raises:
            SettingError: If it cannot begin.
        """
        ...

    def ask(self, program: str | None, now: float) -> None:
        """Want the processes of this program too."""
        ...

    def retry(self, now: float) -> None:
        """Try now, if the server does not answer."""
        ...

    def step(self, now: float) -> Snapshot | None:
        """Do what is due; a snapshot if that completed one."""
        ...

    def receive(self, sock: Waitable, now: float) -> Snapshot | None:
        """Read what arrived at one of the sockets; the newest snapshot that it completes."""
        ...

    def summed(self, now: float, wall_time: float) -> Snapshot | None:
        """The snapshot from value lists, where the server sends those."""
        ...

    def link(self) -> Link:
        """The way to the server, as it is."""
        ...

    def close(self) -> None:
        """End; the server is told where that is possible."""
        ...
