"""The listener for reports over UDP."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from logging import WARNING
from math import inf

from poolhouse.admission.door import SECRET_BYTES, Door
from poolhouse.daemon.part import Hub
from poolhouse.feed.protocol.datagrams import YIELD
from poolhouse.feed.return_path import ANCILLARY_BYTES, BATCH, DATAGRAM_BYTES, note_destinations, via_of
from poolhouse.feed.sockets import RECEIVE_BUFFER_BYTES, WANTED_ROOM, dropped, room, udp_socket
from poolhouse.fleet.fleet import MENDED

#: Seconds between two checks of what the kernel has dropped.
INTERVAL = 1.0
#: The least seconds between two log lines about that.
SAID_PERIOD = 600.0

#: How to give a socket the buffer that it needs.
_REMEDY = f"for more, set sysctl net.core.rmem_max={RECEIVE_BUFFER_BYTES}, or run connmond with CAP_NET_ADMIN"


def room_words() -> str:
    """The buffer that the kernel would give a socket for reports, in words."""
    with udp_socket(socket.AF_INET) as sock:
        return _room_words(room(sock))


def _room_words(datagrams: int) -> str:
    words = f"the kernel keeps {datagrams:,} full datagrams while connmond is busy"
    return words if datagrams >= WANTED_ROOM else f"{words}, not {WANTED_ROOM:,}; {_REMEDY}"


class ReportListener:
    """Receives reports from sockets that never block."""

    def __init__(
        self, sockets: Sequence[socket.socket], say: Callable[[int, str], object], door: Door | None = None
    ) -> None:
        """Prepare.

        Args:
            sockets: Bound sockets; their owner closes them.
            say: Called with lines for the log.
            door: The check that reports must pass; ``None`` if all are accepted.
        """
        self._sockets = sockets
        self._say = say
        self.door = door
        #: Bytes for the kernel's note of a datagram's destination address, which an answer needs.
        self._note_bytes = 0
        self._hub: Hub | None = None
        #: The kernel's latest figure for each socket, and the sum of all, which never falls.
        self._drops = [0] * len(sockets)
        self._dropped = 0
        self._said_at: float | None = None
        #: How often the fleet had been repaired when that was last logged, and when that was.
        self._mended, self._mended_said_at = 0, -inf

    def set_door(self, door: Door | None) -> None:
        """Have reports pass this door from now on."""
        self.door = door
        if door is not None and self._hub is not None:
            clock = self._hub.clock
            door.join(self._hub.fleet, os.urandom(SECRET_BYTES), clock.monotonic(), clock.wall_time())
            self._note_bytes = ANCILLARY_BYTES
            for sock in self._sockets:
                note_destinations(sock)

    def attach(self, hub: Hub) -> None:
        """Start receiving."""
        self._hub = hub
        self.set_door(self.door)
        for sock in self._sockets:
            read = partial(self._read, sock, hub)
            hub.add_listener(read)
            asyncio.get_running_loop().add_reader(sock, read)
        least = min((room(sock) for sock in self._sockets), default=WANTED_ROOM)
        if least < WANTED_ROOM:
            self._say(WARNING, _room_words(least))

    async def run(self) -> None:
        """Count what the kernel drops, and log problems; the loop calls when datagrams wait."""
        assert self._hub is not None, "attach must be called first"
        while True:
            self._count()
            self._tell_mended()
            for sentence in () if self.door is None else self.door.look(self._hub.clock.monotonic()):
                self._say(WARNING, sentence)
            await asyncio.sleep(INTERVAL)

    def detach(self) -> None:
        """Stop receiving."""
        self._count()
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)

    def _count(self) -> None:
        assert self._hub is not None, "attach must be called first"
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

    def _tell_mended(self) -> None:
        """Log, now and then, that memory ran out in the middle of a report."""
        assert self._hub is not None, "attach must be called first"
        now = self._hub.clock.monotonic()
        if self._hub.fleet.mended > self._mended and now - self._mended_said_at >= SAID_PERIOD:
            self._mended, self._mended_said_at = self._hub.fleet.mended, now
            self._say(WARNING, MENDED)

    def _read(self, sock: socket.socket, hub: Hub) -> bool:
        """Read a batch. Returns whether more may be waiting."""
        now, wall_time = hub.clock.monotonic(), hub.clock.wall_time()
        fleet, door, source_of = hub.fleet, self.door, hub.sources.of
        for _ in range(BATCH):
            try:
                datagram, note, _, sender = sock.recvmsg(DATAGRAM_BYTES, self._note_bytes)
            except OSError:  # Nothing is waiting.
                return False
            if datagram == YIELD:  # Another connmond wants the port; only a console gives it back.
                continue
            if door is None:
                fleet.receive(datagram, now, wall_time, source=source_of(sender[0]))
                continue
            question = door.receive(fleet, datagram, sender[0], now, wall_time, source=source_of(sender[0]))
            if question is not None:
                via_of(sock, note).send(question, sender)
        return True
