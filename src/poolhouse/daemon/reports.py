"""The listener for reports over UDP."""

import asyncio
import socket
from collections.abc import Sequence
from functools import partial

from poolhouse.daemon.part import Hub, forever
from poolhouse.feed.return_path import BATCH, DATAGRAM_BYTES


class ReportListener:
    """Receives reports from sockets that never block."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets
        self._hub: Hub | None = None

    def attach(self, hub: Hub) -> None:
        """Begin to receive."""
        self._hub = hub
        for sock in self._sockets:
            read = partial(_read, sock, hub)
            hub.add_listener(read)
            asyncio.get_running_loop().add_reader(sock, read)

    async def run(self) -> None:
        """Nothing: the loop calls when something waits."""
        await forever()

    def detach(self) -> None:
        """Receive no more."""
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)


def _read(sock: socket.socket, hub: Hub) -> bool:
    """Take a batch; whether more may be waiting."""
    now, wall_time = hub.clock.monotonic(), hub.clock.wall_time()
    for _ in range(BATCH):
        try:
            datagram = sock.recv(DATAGRAM_BYTES)
        except OSError:  # Nothing waits.
            return False
        hub.fleet.receive(datagram, now, wall_time)
    return True
