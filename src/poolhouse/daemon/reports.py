"""The listener for reports over UDP."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from logging import WARNING

from poolhouse.daemon.part import Hub
from poolhouse.feed.return_path import BATCH, DATAGRAM_BYTES
from poolhouse.feed.sockets import RECEIVE_BUFFER_BYTES, WANTED_ROOM, dropped, room, udp_socket

#: Seconds between two looks at what the kernel has dropped.
INTERVAL = 1.0
#: Seconds between two lines of the log about it, at least.
SAID_PERIOD = 600.0

#: What gives a socket the room that it needs.
_REMEDY = f"for more, set sysctl net.core.rmem_max={RECEIVE_BUFFER_BYTES}, or run connmond with CAP_NET_ADMIN"


def room_words() -> str:
    """What the kernel would give a socket for reports."""
    with udp_socket(socket.AF_INET) as sock:
        return _room_words(room(sock))


def _room_words(datagrams: int) -> str:
    words = f"the kernel keeps {datagrams:,} full datagrams while connmond is busy"
    return words if datagrams >= WANTED_ROOM else f"{words}, not {WANTED_ROOM:,}; {_REMEDY}"


class ReportListener:
    """Receives reports from sockets that never block."""

    def __init__(self, sockets: Sequence[socket.socket], say: Callable[[int, str], object]) -> None:
        """Prepare.

        Args:
            sockets: Bound sockets; they stay their owner's to close.
            say: Called with lines for the log.
        """
        self._sockets = sockets
        self._say = say
        self._hub: Hub | None = None
        #: The kernel's newest figure for each socket, and the sum of all, which never falls.
        self._drops = [0] * len(sockets)
        self._dropped = 0
        self._said_at: float | None = None

    def attach(self, hub: Hub) -> None:
        """Begin to receive."""
        self._hub = hub
        for sock in self._sockets:
            read = partial(_read, sock, hub)
            hub.add_listener(read)
            asyncio.get_running_loop().add_reader(sock, read)
        least = min((room(sock) for sock in self._sockets), default=WANTED_ROOM)
        if least < WANTED_ROOM:
            self._say(WARNING, _room_words(least))

    async def run(self) -> None:
        """Count what the kernel drops; the loop calls when something waits."""
        while True:
            self._count()
            await asyncio.sleep(INTERVAL)

    def detach(self) -> None:
        """Receive no more."""
        self._count()
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)

    def _count(self) -> None:
        assert self._hub is not None, "attach comes first"
        before = self._dropped
        for index, sock in enumerate(self._sockets):
            drops = dropped(sock)
            if drops is not None:
                self._dropped += (drops - self._drops[index]) % (1 << 32)
                self._drops[index] = drops
        self._hub.fleet.dropped = self._dropped
        now = self._hub.clock.monotonic()
        if self._dropped > before and (self._said_at is None or now - self._said_at >= SAID_PERIOD):
            self._said_at = now
            self._say(
                WARNING,
                f"the kernel has dropped {self._dropped:,} datagrams: they came faster than connmond reads them",
            )


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
