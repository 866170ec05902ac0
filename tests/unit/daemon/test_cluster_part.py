"""What a node writes to the others, in virtual time."""

import asyncio

from poolhouse.configuration.service import Node, Service
from poolhouse.daemon.cluster_part import GATHER_S, ClusterPart
from poolhouse.daemon.part import Hub
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.testing.clock import VirtualClock
from poolhouse.testing.loop import run
from poolhouse.wire.framing import MAGIC, Frame, Kind, Unframer
from support.reporting import ModelProcess

NODES = tuple(Node(name, "127.0.0.1", 5800 + place) for place, name in enumerate("ab"))


class WrittenLink:
    """The link to a node that reads everything."""

    def __init__(self) -> None:
        self.writes: list[list[Frame]] = []
        self._reader = Unframer()
        list(self._reader.feed(MAGIC))

    def send(self, frames: bytes) -> None:
        self.writes.append(list(self._reader.feed(frames)))

    def end(self, *, abort: bool = False) -> None:
        """Nothing is left to end."""


def test_reports_of_the_same_moment_travel_in_one_write_and_none_waits_for_long() -> None:
    clock = VirtualClock()
    link = WrittenLink()

    async def scenario() -> None:
        part = ClusterPart(Service("default", NODES), NODES[0], "connmond 0", None, lambda level, text: None)
        hub = Hub(Fleet(FleetLimits().for_cluster(), clock.monotonic()), clock)
        part.attach(hub)
        part.join("b", link)
        await asyncio.sleep(0.1)
        link.writes.clear()
        for number in range(50):
            for datagram in ModelProcess(f"{number}:abcdef").report(clock.monotonic()):
                hub.receive(datagram)
            await asyncio.sleep(0)  # The loop reads one datagram after the other.
        await asyncio.sleep(GATHER_S)

    run(scenario(), clock)
    reports = [write for write in link.writes if any(one.kind is Kind.REPORT for one in write)]
    assert sum(len(write) for write in reports) == 100  # Two datagrams of each of fifty processes.
    assert len(reports) <= 3  # A write has at most 64 KiB; each of them would be fifty.
