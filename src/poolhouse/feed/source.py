"""The interface of a console's feed: a source that asks, or listens, and returns snapshots."""

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
        """When `step` is due next."""
        ...

    def prepare(self, now: float) -> None:
        """Prepare to run; called once, before everything else except `ask`.

        Raises:
            SettingError: If it cannot start.
        """
        ...

    def ask(self, program: str | None, now: float) -> None:
        """Request the processes of this program too."""
        ...

    def retry(self, now: float) -> None:
        """Try now if the server does not answer."""
        ...

    def step(self, now: float) -> Snapshot | None:
        """Do what is due; return a snapshot if that completed one."""
        ...

    def receive(self, sock: Waitable, now: float) -> Snapshot | None:
        """Read data waiting at one of the sockets; return the newest snapshot that it completes."""
        ...

    def summed(self, now: float, wall_time: float) -> Snapshot | None:
        """The snapshot from value lists, if the server sends those."""
        ...

    def link(self) -> Link:
        """The present link to the server."""
        ...

    def close(self) -> None:
        """Close; tells the server if possible."""
        ...
