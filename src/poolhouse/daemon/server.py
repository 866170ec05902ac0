"""connmond's one loop: reports come in, consoles are served, once a second what is over is forgotten."""

import asyncio
import os
import socket
from collections.abc import Sequence

from poolhouse.addresses import format_address
from poolhouse.clock import Clock, SystemClock
from poolhouse.daemon.announcement import announcement, farewell
from poolhouse.daemon.consoles import Consoles
from poolhouse.daemon.ports import bound_to
from poolhouse.defaults import SNAPSHOT_INTERVAL
from poolhouse.feed.product import product
from poolhouse.feed.protocol.frame import Server
from poolhouse.feed.protocol.subscribers import Network, Subscribers
from poolhouse.feed.wayback import BATCH, DATAGRAM_BYTES, note_destinations, waiting_datagrams
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits

#: Seconds between two snapshots to those that asked for another program: asking cannot make the daemon busy.
NEWCOMERS_INTERVAL = 0.2
#: Batches that are read before it is judged who is silent; a flood must not keep consoles from their snapshots.
BATCHES_TO_CATCH_UP = 256


class Daemon:
    """Everything between the sockets that it is given, which stay their owner's to close."""

    def __init__(
        self,
        reports: Sequence[socket.socket],
        consoles: Sequence[socket.socket],
        allow: Sequence[Network] = (),
        clock: Clock | None = None,
    ) -> None:
        """Prepare.

        Args:
            reports: Bound sockets for reports, at least one.
            consoles: Bound sockets for consoles, at least one.
            allow: Where consoles may be, besides this machine.
            clock: `SystemClock` if ``None``.
        """
        self._reports = reports
        self._ports = consoles
        self._allow = allow
        self._clock = clock or SystemClock()
        self._fleet = Fleet(FleetLimits(), self._clock.monotonic())
        self._subscribers = Subscribers(os.urandom(32), allow)
        addresses = tuple(format_address(*one) for one in bound_to(reports))
        self._consoles = Consoles(
            self._fleet, Server(product("connmond"), SNAPSHOT_INTERVAL, addresses), self._clock
        )
        self._newcomers_due = 0.0
        for sock in consoles:
            note_destinations(sock)

    def announcement(self) -> str:
        """Where it listens, and what a program and a console must say to reach it."""
        return announcement(bound_to(self._reports), bound_to(self._ports), self._allow)

    def farewell(self) -> str:
        """What it has counted."""
        return farewell(self._fleet.health(self._clock.monotonic()), self._subscribers.refused)

    async def run(self, end: asyncio.Event) -> None:
        """Receive and serve until `end` is set."""
        loop = asyncio.get_running_loop()
        for sock in self._reports:
            loop.add_reader(sock, self._receive_reports, sock)
        for sock in self._ports:
            loop.add_reader(sock, self._receive_from_consoles, sock)
        try:
            due = self._clock.monotonic()
            while not end.is_set():
                loop.call_soon(self._tick)  # So that a failure is the loop's to log, and the next second comes.
                due = max(due + SNAPSHOT_INTERVAL, self._clock.monotonic())
                await _wait(end, due - self._clock.monotonic())
        finally:
            for sock in (*self._reports, *self._ports):
                loop.remove_reader(sock)

    def _receive_reports(self, sock: socket.socket) -> bool:
        """Take a batch; whether more may be waiting."""
        now, wall_time = self._clock.monotonic(), self._clock.wall_time()
        for _ in range(BATCH):
            try:
                datagram = sock.recv(DATAGRAM_BYTES)
            except OSError:  # Nothing waits.
                return False
            self._fleet.receive(datagram, now, wall_time)
        return True

    def _receive_from_consoles(self, sock: socket.socket) -> None:
        now = self._clock.monotonic()
        for content, sender, via in waiting_datagrams(sock):
            if (answer := self._subscribers.handle(content, sender, now, via)) is not None:
                via.send(answer, sender)
        if now >= self._newcomers_due:
            self._newcomers_due = now + NEWCOMERS_INTERVAL
            ours = [one for one in self._subscribers.newcomers(now) if one.nonce is not None]
            if ours:
                self._catch_up()
                self._consoles.serve(ours)

    def _catch_up(self) -> None:
        """Take the reports that wait, before a snapshot judges who is silent.

        Whoever reported while this process was stopped, or starved, is not.
        """
        for sock in self._reports:
            for _ in range(BATCHES_TO_CATCH_UP):
                if not self._receive_reports(sock):
                    break

    def _tick(self) -> None:
        self._catch_up()
        now = self._clock.monotonic()
        self._fleet.expire(now)
        self._consoles.serve(self._subscribers.consoles(now))


async def _wait(end: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await end.wait()
    except TimeoutError:
        pass
