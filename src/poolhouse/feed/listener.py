"""Data pushed to this console by a server: collectd's value lists, as sent by the directive ``monitor``."""

import socket
from math import inf

from poolhouse.addresses import format_address
from poolhouse.errors import PacketError
from poolhouse.feed.link import Link
from poolhouse.feed.protocol.datagrams import YIELD
from poolhouse.feed.protocol.values import DEFAULT_INTERVAL, PartialFleet
from poolhouse.feed.sockets import LARGEST_DATAGRAM, READ_AT_ONCE
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.wire.message import decode_message
from poolhouse.wire.values import ValueList


class Listener:
    """Receives on sockets that are already bound. Times are monotonic seconds."""

    next_due = inf
    #: Whether a server on this machine has asked for the port.
    is_wanted_back = False

    def __init__(self, sockets: list[socket.socket], host: str, port: int, now: float) -> None:
        self.sockets = sockets
        self._address = format_address(host, port)
        self._values = PartialFleet(now)
        self._heard_at: float | None = None
        self._interval = DEFAULT_INTERVAL

    def ask(self, program: str | None, now: float) -> None:
        """No-op: a listening console cannot request a program."""

    def retry(self, now: float) -> None:
        """No-op: there is nothing to try."""

    def step(self, now: float) -> None:
        """No-op: there is nothing to say."""

    def receive(self, sock: socket.socket, now: float) -> Snapshot | None:
        """Read waiting datagrams; their values appear in `summed`."""
        try:
            for _ in range(READ_AT_ONCE):
                self._take(sock.recv(LARGEST_DATAGRAM), now)
        except OSError:
            pass  # Everything has been read.
        return None

    def summed(self, now: float, wall_time: float) -> Snapshot | None:
        """The snapshot from the value lists, once there have been any."""
        return None if self._heard_at is None else self._values.snapshot(now, wall_time)

    def link(self) -> Link:
        """The present link."""
        patience = 2.5 * self._interval + 1.0
        return Link("listening", self._address, heard_at=self._heard_at, patience=patience)

    def close(self) -> None:
        """Release the port."""
        for sock in self.sockets:
            sock.close()

    def _take(self, datagram: bytes, now: float) -> None:
        if datagram == YIELD:
            self.is_wanted_back = True
            return
        try:
            message = decode_message(datagram)
        except PacketError:
            return
        for values in message if isinstance(message, list) else []:
            if isinstance(values, ValueList) and self._values.receive(values, now):
                self._heard_at = now
                self._interval = values.interval or self._interval
