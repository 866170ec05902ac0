"""Each way of a report names the source whose share of the fleet it counts towards; a flood leaves others room."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path

import pytest

from poolhouse.admission.door import Demand, Door
from poolhouse.admission.sources import Sources
from poolhouse.daemon.part import Hub
from poolhouse.daemon.reports import ReportListener
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.freshness import WINDOW
from poolhouse.fleet.limits import FleetLimits
from poolhouse.testing.clock import VirtualClock
from poolhouse.wire.seal import sign
from support.reporting import ModelProcess

#: One address of the loopback network floods, from a network of ``--allow``; the other one is honest.
MALLORY, ALICE = "127.0.0.66", "127.0.0.1"
#: Sends a report's datagram from an address.
Send = Callable[[bytes, str], object]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def hub(clock: VirtualClock) -> Hub:
    fleet = Fleet(FleetLimits(processes=4), clock.monotonic())
    return Hub(fleet, clock, Sources([ip_network(f"{MALLORY}/32")]))


def a_process(hub: Hub, token: str, program: str) -> ModelProcess:
    process = ModelProcess(token, program)
    # Its clock is right, so that nobody asks whether a sealed report is new.
    process.clock_error = hub.clock.wall_time() - hub.clock.monotonic() - 1.7e9
    return process


def programs_beside_a_flood(hub: Hub, send: Send) -> set[str]:
    """The programs that are shown: each of a flood has reported twice when the honest one reports first."""
    flood = [a_process(hub, f"{number}:a", f"evil{number}") for number in range(10)]
    for _ in range(2):
        for process in flood:
            for datagram in process.report(hub.clock.monotonic()):
                send(datagram, MALLORY)
    for datagram in a_process(hub, "9:b", "shop").report(hub.clock.monotonic()):
        send(datagram, ALICE)
    snapshot = hub.fleet.snapshot(hub.clock.monotonic(), hub.clock.wall_time())
    return {row.name for row in snapshot.programs if row.processes}


EXPECTED = {"evil0", "evil1", "evil2", "shop"}


def test_over_tcp_it_is_the_network_of_the_address(hub: Hub) -> None:
    assert programs_beside_a_flood(hub, hub.receive) == EXPECTED
    assert "share" in dict(hub.fleet.health(hub.clock.monotonic()).over_limit)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def over_udp(
    clock: VirtualClock, hub: Hub, stack: ExitStack, door: Door | None, seal: Callable[[bytes, str], bytes]
) -> set[str]:
    receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver.bind((ALICE, 0))
    receiver.setblocking(False)
    senders = {}
    for address in (MALLORY, ALICE):
        senders[address] = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        senders[address].bind((address, 0))

    def send(datagram: bytes, address: str) -> None:
        senders[address].sendto(seal(datagram, address), receiver.getsockname())
        hub.read_reports()

    async def scenario() -> set[str]:
        listener = ReportListener([receiver], lambda level, text: None, door)
        listener.attach(hub)
        clock.advance(WINDOW + 1.0)  # Since when it knows every report that may be sent again.
        try:
            return programs_beside_a_flood(hub, send)
        finally:
            listener.detach()

    return asyncio.run(scenario())


def test_over_udp_too(clock: VirtualClock, hub: Hub, stack: ExitStack) -> None:
    assert over_udp(clock, hub, stack, None, lambda datagram, address: datagram) == EXPECTED


def test_with_an_authfile_it_is_the_user(clock: VirtualClock, hub: Hub, stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "auth"
    path.write_text("mallory: one\nalice: two\n")
    door = Door(Demand(str(path)))
    passwords = {MALLORY: (b"mallory", b"one"), ALICE: (b"alice", b"two")}
    sealed = over_udp(clock, hub, stack, door, lambda datagram, address: sign(datagram, *passwords[address]))
    assert sealed == EXPECTED
