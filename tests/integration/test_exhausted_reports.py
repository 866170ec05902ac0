"""Descriptors or memory end at one call of the reporter, in virtual time: it reports again afterwards."""

import _socket
import socket
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from poolhouse.meter.reading import Counters, PoolReading
from poolhouse.report import stream
from poolhouse.report.destination import Destination
from poolhouse.report.dispatcher import Dispatcher
from poolhouse.report.examination import Examination
from poolhouse.report.protection import Protection
from poolhouse.report.reporter import REST_S
from poolhouse.report.roster import Roster
from poolhouse.report.route import LAST_RETRY_S, REFRESH_S, Route
from poolhouse.report.sealer import Sealer
from poolhouse.report.sender import Sender
from poolhouse.report.sockets import SystemNetwork, UdpSocket
from poolhouse.report.stream import Identity
from poolhouse.report.telling import Teller
from poolhouse.testing.clock import VirtualClock
from poolhouse.wire.message import ReportDatagram, decode_message
from poolhouse.wire.seal import Policy, open_datagram
from support.exhausted import OF_FILES, OF_MEMORY, Calls, Exhausted, each

#: Every call of a turn that can fail; of Python alone, where memory is most likely to end.
STEPS: Calls = [
    (_socket, "socket", OF_FILES | OF_MEMORY),
    (_socket, "getaddrinfo", OF_FILES | OF_MEMORY),
    (Route, "begin_lookup", OF_MEMORY),
    (Route, "found", OF_MEMORY),
    (Route, "not_found", OF_MEMORY),
    (Route, "reached", OF_MEMORY),
    (Sender, "renew", OF_MEMORY),
    (Sender, "_send", OF_MEMORY),
    (UdpSocket, "pending_error", OF_MEMORY),
    (UdpSocket, "is_ours", OF_MEMORY),
    (Sealer, "__call__", OF_MEMORY),
    (Sealer, "end_report", OF_MEMORY),
    (Roster, "read", OF_MEMORY),
    (Examination, "examine", OF_MEMORY),
    (Teller, "select", OF_MEMORY),
    (Teller, "note", OF_MEMORY),
    (stream, "encode_report", OF_MEMORY),
    (stream, "tell", OF_MEMORY),
]

#: Seconds between two reports; the shortage lasts until after the next lookup of the name.
INTERVAL, SHORTAGE = 30.0, REFRESH_S + 60.0


class Pool:
    checkouts = 0

    def is_gone(self) -> bool:
        return False

    def read(self, number: int) -> PoolReading:
        return PoolReading(0, "db", "QueuePool", counters=Counters(checkouts=self.checkouts))

    def after_fork(self) -> None:
        raise AssertionError("nobody forks here")


class World:
    """A reporter's turns in virtual time, and a real socket that receives its reports."""

    def __init__(self, stack: ExitStack) -> None:
        self.clock = VirtualClock()
        self.receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.setblocking(False)
        self.dispatcher = Dispatcher(
            self.clock, SystemNetwork(), lambda: Identity("1:abcdef", self.clock.monotonic()), lambda: None
        )
        self.pool = Pool()
        #: The checkouts that the newest report tells; ``None`` if none has come.
        self.newest: int | None = None
        destination = Destination(
            "127.0.0.1",
            self.receiver.getsockname()[1],
            "shop",
            "here",
            INTERVAL,
            protection=Protection("sign", "alice", "s3cret"),
        )
        self.dispatcher.stream(destination).add(self.pool)

    def live(self, seconds: float) -> None:
        """Let the reporter's thread do its turns for so long."""
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until:
            self.pool.checkouts += 1
            pause = REST_S
            with suppress(Exception):
                pause = self.dispatcher.turn()
            self.clock.advance(min(pause, until - self.clock.monotonic()))
            self._receive()

    def _receive(self) -> None:
        with suppress(BlockingIOError):
            while True:
                (payload,) = open_datagram(self.receiver.recv(2048), Policy("none", None)).payloads
                told = decode_message(payload.parts)
                if isinstance(told, ReportDatagram) and told.pool is not None:
                    self.newest = told.pool.counters.checkouts


@pytest.mark.parametrize("is_first", [True, False], ids=["at_the_start", "later"])
@pytest.mark.parametrize(("owner", "name", "error"), each(STEPS))
def test_reports_leave_again_when_the_shortage_is_over(owner: Any, name: str, error: Exception, is_first: bool):
    with ExitStack() as stack:
        world = World(stack)
        if not is_first:
            world.live(INTERVAL)
            assert world.newest is not None
        with Exhausted(owner, name, error):
            world.live(SHORTAGE)
        world.live(LAST_RETRY_S + INTERVAL)
        assert world.newest == world.pool.checkouts, "the newest report has everything"
        world.dispatcher.report_all(goodbye=True, timeout=0.0)
