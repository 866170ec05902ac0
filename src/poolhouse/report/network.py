"""What the reporter needs of the operating system: sockets that never wait, and the lookup of names."""

from typing import Protocol

from poolhouse.report.route import Address


class Socket(Protocol):
    """A UDP socket that is connected to one address and never waits."""

    def is_ours(self) -> bool:
        """Whether its descriptor is still this socket; nothing else may be called if it is not, except `close`."""
        ...

    def send(self, datagram: bytes, /) -> object:
        """Send a datagram; OSError if this one, or an earlier one, is known not to arrive."""
        ...

    def pending_error(self) -> OSError | None:
        """The error that arrived since the last send, once; ``None`` if there was none."""
        ...

    def receive(self) -> bytes | None:
        """A datagram that came from the address, if one waits."""
        ...

    def close(self) -> None:
        """Close it, unless its descriptor is no longer this socket."""
        ...


class TcpSocket(Protocol):
    """A TCP socket that never waits."""

    def is_connected(self) -> bool:
        """Whether the connection is there; OSError if it will not be."""
        ...

    def send(self, data: bytes, /) -> int:
        """How many bytes were taken; BlockingIOError for none, OSError if the connection is lost."""
        ...

    def receive(self, size: int, /) -> bytes:
        """What arrived, ``b""`` at its end; BlockingIOError if nothing did, OSError if the connection is lost."""
        ...

    def fileno(self) -> int:
        """Its descriptor."""
        ...

    def is_ours(self) -> bool:
        """Whether its descriptor is still this socket."""
        ...

    def close(self) -> None:
        """Give it up; a descriptor that is no longer this socket stays open."""
        ...


class TcpNetwork(Protocol):
    """What is needed of the operating system."""

    def connect(self, address: Address) -> TcpSocket:
        """Begin to connect; OSError if that is known to fail."""
        ...


class Network(TcpNetwork, Protocol):
    """What the reporter needs of the operating system."""

    def look_up(self, host: str, port: int) -> list[Address]:
        """The host's addresses; may block for long. OSError or UnicodeError if there are none."""
        ...

    def open(self, address: Address) -> Socket:
        """A socket connected to the address; OSError if it cannot be reached."""
        ...
