"""The reporter's interface to the operating system: sockets that never wait, and name lookups."""

from typing import Protocol

from poolhouse.report.route import Address


class Socket(Protocol):
    """A UDP socket that is connected to one address and never waits."""

    def is_ours(self) -> bool:
        """Whether its descriptor is still this socket; if not, only `close` may be called."""
        ...

    def send(self, datagram: bytes, /) -> object:
        """Send a datagram; OSError if this one, or an earlier one, is known to be lost."""
        ...

    def pending_error(self) -> OSError | None:
        """The error that has arrived since the last send, once; ``None`` if there was none."""
        ...

    def receive(self) -> bytes | None:
        """A datagram from the address if one is waiting, else ``None``."""
        ...

    def close(self) -> None:
        """Close it, unless its descriptor is no longer this socket."""
        ...


class TcpSocket(Protocol):
    """A TCP socket that never waits."""

    def is_connected(self) -> bool:
        """Whether it is connected; OSError if it never will be."""
        ...

    def send(self, data: bytes, /) -> int:
        """How many bytes were taken; BlockingIOError for none, OSError if the connection is lost."""
        ...

    def receive(self, size: int, /) -> bytes:
        """Received data, ``b""`` at its end; BlockingIOError if none, OSError if the connection is lost."""
        ...

    def fileno(self) -> int:
        """Its descriptor."""
        ...

    def is_ours(self) -> bool:
        """Whether its descriptor is still this socket."""
        ...

    def close(self) -> None:
        """Close it; a descriptor that is no longer this socket stays open."""
        ...


class TcpNetwork(Protocol):
    """The part of the operating system that TCP needs."""

    def connect(self, address: Address) -> TcpSocket:
        """Start connecting; OSError if that is known to fail."""
        ...


class Network(TcpNetwork, Protocol):
    """The reporter's whole interface to the operating system."""

    def look_up(self, host: str, port: int) -> list[Address]:
        """The host's addresses; may block for long. OSError or UnicodeError if there are none."""
        ...

    def open(self, address: Address) -> Socket:
        """A socket connected to the address; OSError if it cannot be reached."""
        ...
