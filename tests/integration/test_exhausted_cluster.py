"""Descriptors, threads or memory are exhausted while a node keeps its links, in virtual time.

Each costs one attempt: the other links stay, the log has one sentence, and the node is linked after the shortage.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from poolhouse.cluster.core import Cluster
from poolhouse.configuration.service import Node, Service
from poolhouse.daemon import cluster_part
from poolhouse.daemon.cluster_part import TICK_S, ClusterPart, Dialed
from poolhouse.daemon.server import Daemon
from poolhouse.fleet.limits import FleetLimits
from poolhouse.testing.clock import VirtualClock
from poolhouse.testing.loop import run
from support.exhausted import EXHAUSTED, Exhausted, words

NODES = tuple(Node(name, "127.0.0.1", 5800 + place) for place, name in enumerate("abc"))


class DialingNode:
    """Node a of three; b and c let it in at once, unless `trouble` is to be raised at their port."""

    def __init__(self, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.failed: list[str] = []
        self.trouble: dict[int, Exception] = {}
        #: Ports at which a link ends this many seconds after it began.
        self.lasting: dict[int, float] = {}
        self.dials: Counter[int] = Counter()
        self.part = ClusterPart(Service("default", NODES), NODES[0], "connmond 0", None, self._say)
        self._daemon = Daemon([self.part], FleetLimits().for_cluster(), clock)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.failed.append(f"{context['message']}"))
        monkeypatch.setattr(loop, "create_connection", self._connect)
        monkeypatch.setattr(Cluster, "tick", lambda *_: [])  # Silent links are not what this is about.
        self._end = asyncio.Event()
        self._task = asyncio.create_task(self._daemon.run(self._end))

    def _say(self, _: int, sentence: str) -> None:
        self.said.append(sentence)

    async def _connect(self, factory: Callable[[], Dialed], host: str, port: int, **_: Any) -> None:
        self.dials[port] += 1
        if port in self.trouble:
            raise self.trouble[port].with_traceback(None)
        dialed = factory()
        dialed.welcomed.set_result(None)
        self.part.join(NODES[port - 5800].name, dialed)
        if port in self.lasting:
            asyncio.get_running_loop().call_later(self.lasting[port], dialed.connection_lost, None)

    async def end(self) -> None:
        self._end.set()
        await self._task


@pytest.mark.parametrize("error", EXHAUSTED.values(), ids=EXHAUSTED)
def test_a_dial_that_finds_a_shortage_is_repeated_and_no_other_link_is_lost(monkeypatch, error):
    clock = VirtualClock()

    async def scenario() -> None:
        node = DialingNode(clock, monkeypatch)
        node.trouble[5802] = error
        await asyncio.sleep(30)
        assert node.said == ["node b is linked", f"node c is missing: 127.0.0.1:5802: {words(error)}"]
        assert node.dials[5801] == 1
        assert 20 < node.dials[5802] < 80  # Once a second at most, half of it by chance.
        del node.trouble[5802]
        await asyncio.sleep(1.1)
        assert node.said[2:] == ["node c is linked"]
        assert node.dials[5801] == 1
        assert node.failed == []
        await node.end()

    run(scenario(), clock)


def test_a_dial_for_which_there_is_no_memory_is_repeated(monkeypatch):
    clock = VirtualClock()

    async def scenario() -> None:
        with Exhausted(cluster_part, "Introduction", MemoryError()) as exhausted:
            node = DialingNode(clock, monkeypatch)
            await asyncio.sleep(10)
        assert exhausted.calls > 10
        said = [f"node {one.name} is missing: {one.address}: there is no memory left" for one in NODES[1:]]
        assert node.said == said
        await asyncio.sleep(1.1)
        assert sorted(node.said[2:]) == ["node b is linked", "node c is linked"]
        assert node.failed == []
        await node.end()

    run(scenario(), clock)


@pytest.mark.parametrize("name", ["tick", "ready", "step"])
def test_no_link_is_lost_where_memory_ends_in_the_part_s_own_turns(monkeypatch, name):
    clock = VirtualClock()

    async def scenario() -> None:
        node = DialingNode(clock, monkeypatch)
        await asyncio.sleep(1)
        monkeypatch.setattr(Cluster, "ready", lambda *_: True)
        monkeypatch.setattr(Cluster, "step", lambda *_: b"")
        with Exhausted(Cluster, name, MemoryError()) as exhausted:
            await asyncio.sleep(10 * TICK_S)
        assert exhausted.calls >= 9
        assert node.said == ["node b is linked", "node c is linked"]
        assert node.dials == {5801: 1, 5802: 1}
        assert set(node.failed) == {"links to other nodes have to wait"}
        await node.end()

    run(scenario(), clock)


def test_a_link_that_ends_for_want_of_memory_says_so(monkeypatch):
    clock = VirtualClock()

    async def scenario() -> None:
        node = DialingNode(clock, monkeypatch)
        await asyncio.sleep(1)
        link = node.part._links["c"]
        assert isinstance(link, Dialed)
        link.connection_lost(MemoryError())
        await asyncio.sleep(1.1)
        assert node.said[2:] == ["node c is missing: there is no memory left", "node c is linked"]
        await node.end()

    run(scenario(), clock)


def test_a_link_that_ends_soon_is_dialed_once_a_second_at_most_and_one_that_has_lasted_at_once(monkeypatch):
    """Two nodes of one name end each other's links, and each link begins with the whole ledger."""
    clock = VirtualClock()

    async def scenario() -> None:
        node = DialingNode(clock, monkeypatch)
        node.lasting = {5801: 0.01, 5802: 6.0}
        await asyncio.sleep(60)
        assert 55 <= node.dials[5801] <= 125
        assert node.dials[5802] == 10  # After rests of 0.2 s at most.
        await node.end()

    run(scenario(), clock)


def test_a_bug_in_one_dial_is_told_with_its_traceback_and_costs_no_other(monkeypatch):
    clock = VirtualClock()

    async def scenario() -> None:
        node = DialingNode(clock, monkeypatch)
        node.trouble[5802] = KeyError("a bug")
        await asyncio.sleep(2)
        assert node.said == ["node b is linked"]
        assert set(node.failed) == {"connecting to node c failed"}
        assert node.dials[5801] == 1
        await node.end()

    run(scenario(), clock)
