"""Data over UDP: from a server that is asked, or from one that pushes, whichever exists."""

import socket
from collections.abc import Sequence
from typing import Literal

from poolhouse.addresses import format_address
from poolhouse.errors import SettingError
from poolhouse.feed.caller import Caller
from poolhouse.feed.link import Link
from poolhouse.feed.listener import Listener
from poolhouse.feed.sockets import bind_all, claim_loopback
from poolhouse.feed.source import Waitable
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.report.protection import Protection

#: ``auto``: listen if the host is this machine and the port is free, until a server needs it; otherwise connect.
Mode = Literal["auto", "listen", "connect"]


class UdpSource:
    """A `poolhouse.feed.source.Source`: a caller or a listener, as `Mode` says."""

    def __init__(self, host: str, port: int, mode: Mode = "auto", protection: Protection | None = None) -> None:
        """Prepare; nothing is sent or bound.

        Args:
            host: The daemon's name or address; in mode ``listen`` the address to listen on, where ``localhost``
                means both loopback addresses.
            port: UDP port.
            mode: See `Mode`.
            protection: How a caller signs or encrypts; data pushed to a listener never is. With it, ``auto`` means
                ``connect``.
        """
        if protection is not None and mode == "auto":
            mode = "connect"
        self._protection = protection
        self._host = host
        self._port = port
        self._mode = mode
        #: Whether the port may still be claimed.
        self._may_claim = mode == "auto"
        self._program: str | None = None
        self._source: Caller | Listener = Caller(host, port, protection)

    @property
    def sockets(self) -> Sequence[Waitable]:
        """The sockets to wait for."""
        return self._source.sockets

    @property
    def next_due(self) -> float:
        """When `step` is due next."""
        return self._source.next_due

    def prepare(self, now: float) -> None:
        """Bind the port in mode ``listen``.

        Raises:
            SettingError: If that is not possible.
        """
        if self._mode == "listen":
            try:
                sockets = bind_all(self._host, self._port)
            except OSError as error:
                address = format_address(self._host, self._port)
                raise SettingError("port", f"cannot listen on UDP {address}: {error.strerror}") from error
            self._source = Listener(sockets, self._host, self._port, now)

    def ask(self, program: str | None, now: float) -> None:
        """Request the processes of this program too."""
        self._program = program
        self._source.ask(program, now)

    def retry(self, now: float) -> None:
        """Try now if the server does not answer."""
        self._source.retry(now)

    def step(self, now: float) -> None:
        """Do what is due: claim the port, ask, or leave the port to a server that needs it."""
        if self._may_claim:
            self._may_claim = False
            if (sockets := claim_loopback(self._host, self._port)) is not None:
                self._source = Listener(sockets, self._host, self._port, now)
        if self._mode == "auto" and isinstance(self._source, Listener) and self._source.is_wanted_back:
            self._source.close()
            self._source = Caller(self._host, self._port, self._protection)
            self._source.ask(self._program, now)
        self._source.step(now)

    def receive(self, sock: Waitable, now: float) -> Snapshot | None:
        """Read waiting datagrams; return the newest snapshot that they complete, or ``None``."""
        assert isinstance(sock, socket.socket), "only our own sockets"
        return self._source.receive(sock, now)

    def summed(self, now: float, wall_time: float) -> Snapshot | None:
        """The snapshot from value lists, if the server sends those."""
        return self._source.summed(now, wall_time)

    def link(self) -> Link:
        """The present link to the server."""
        return self._source.link()

    def close(self) -> None:
        """Say goodbye, or release the port."""
        self._source.close()
