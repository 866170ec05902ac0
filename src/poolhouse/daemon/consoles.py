"""The face for consoles: snapshots over UDP and TCP, and value lists for consoles of sqlalchemy-collectd."""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from math import ceil

from poolhouse.admission.console_gate import ConsoleGate
from poolhouse.admission.door import Door
from poolhouse.clock import Clock, cpu_seconds
from poolhouse.daemon.console_desk import ConsoleDesk
from poolhouse.daemon.part import Hub
from poolhouse.daemon.tcp import Guest
from poolhouse.defaults import SNAPSHOT_INTERVAL
from poolhouse.export.collectd import HOST_INSTANCE, console_datagram, value_lists
from poolhouse.feed.fleet_source import FleetSource
from poolhouse.feed.product import product
from poolhouse.feed.protocol.service import VALUES_PER_SECOND, ConsoleService
from poolhouse.feed.protocol.subscribers import Network, Subscribers
from poolhouse.feed.return_path import Via, note_destinations, waiting_datagrams
from poolhouse.feed.sealed_via import Opener, SealedVia
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.names import plugin_instance

#: Seconds of work for consoles before reports are read again. At 10,000 reports a second, a socket's usual buffer
#: is full after 18 ms.
SLICE = 0.004
#: The most value lists of one row.
VALUES_OF_A_ROW = 20
#: Rows whose value lists are made in each step.
ROWS_AT_ONCE = 4


class ConsoleFace:
    """Serves consoles at UDP sockets that never block, and those that the TCP port brings to its desk.

    Attributes:
        desk: Receives the consoles from the TCP port.
    """

    def __init__(
        self, sockets: Sequence[socket.socket], reports: tuple[str, ...], allow: Sequence[Network] = ()
    ) -> None:
        """Prepare.

        Args:
            sockets: Bound sockets, at least one.
            reports: Where programs should report, as ``host:port``.
            allow: The networks of consoles, besides this machine.
        """
        self._sockets = sockets
        self._reports = reports
        self._subscribers = Subscribers(os.urandom(32), allow)
        self._opener = Opener()
        self._gate: ConsoleGate | None = None
        self._wake = asyncio.Event()
        self.desk = ConsoleDesk(allow, self._wake.set)
        for sock in sockets:
            note_destinations(sock)

    @property
    def refused(self) -> Counter[str]:
        """How many datagrams from consoles were refused, by reason."""
        seals = {} if self._gate is None else self._gate.gate.refused
        return self._subscribers.refused + Counter({reason.word: count for reason, count in seals.items()})

    def set_door(self, door: Door | None) -> None:
        """Have datagrams from consoles pass this door from now on; ``None`` if none is required."""
        self._gate = None if door is None else door.consoles

    def attach(self, hub: Hub) -> None:
        """Start listening for consoles."""
        self._hub = hub
        hub.refusals["consoles"] = lambda: self.refused
        self._clock = hub.clock
        source = DaemonSource(hub.fleet, hub.clock)
        self._service = ConsoleService(
            source, product("connmond"), lambda: self._reports, self._subscribers, self._clock.monotonic()
        )
        self.desk.open(self._service, self._clock)
        for sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock, self._receive, sock)

    async def run(self) -> None:
        """Serve consoles, a few milliseconds at a time, and read reports in between."""
        while True:
            self._hub.read_reports()
            self._work()
            self.desk.send_away_the_overdue()
            rest = self._service.next_due(self._clock.monotonic()) - self._clock.monotonic()
            if rest <= 0:
                await asyncio.sleep(0)
                continue
            self._wake.clear()
            try:
                async with asyncio.timeout(rest):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def detach(self) -> None:
        """Stop serving consoles."""
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)

    def _receive(self, sock: socket.socket) -> None:
        now = self._clock.monotonic()
        for datagram in waiting_datagrams(sock):
            opened = self._opener.opened(datagram, self._gate, now)
            if opened is None:
                continue
            content, via = opened
            if (answer := self._service.receive(content, datagram.sender, now, via)) is not None:
                via.send(answer, datagram.sender)
        self._wake.set()

    def _work(self) -> None:
        """Do one slice of work."""
        begin, cost = self._clock.monotonic(), cpu_seconds()
        for via, address, datagram in self._service.outgoing(begin):
            if isinstance(via, Guest):
                self.desk.queue(via, datagram)
            else:
                assert isinstance(via, Via | SealedVia)
                via.send(datagram, address)
        self.desk.flush()
        cost, before = cpu_seconds(), cost
        self._service.sent(cost - before)
        while (now := self._clock.monotonic()) - begin < SLICE and (work := self._service.next(now)) is not None:
            work.run()
            cost, before = cpu_seconds(), cost
            self._service.done(work, cost - before, self._clock.monotonic())


class DaemonSource(FleetSource):
    """The daemon's fleet, used only by the daemon's own thread."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        super().__init__(fleet, clock, nullcontext())

    def values(self) -> Iterator[list[bytes]]:
        """The value lists for consoles of sqlalchemy-collectd, one datagram each."""
        # The hosts' own sums first: the original system sent them first, and consoles may rely on that.
        rows = sorted(self._fleet.host_rows(self._clock.monotonic()), key=lambda row: row.key[1] != "")
        interval = max(SNAPSHOT_INTERVAL, ceil(len(rows) * VALUES_OF_A_ROW / VALUES_PER_SECOND))
        for at in range(0, len(rows), ROWS_AT_ONCE):
            states = self._fleet.row_states(rows[at : at + ROWS_AT_ONCE], self._clock.monotonic())
            found: list[bytes] = []
            for host, program, state in states:
                instance = plugin_instance(program) if program else HOST_INSTANCE
                for values in value_lists(host, instance, state.row(), self._clock.wall_time()):
                    datagram = console_datagram(values._replace(interval=interval))
                    if datagram is not None:
                        found.append(datagram)
            yield found
