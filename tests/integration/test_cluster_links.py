"""Links between nodes over real sockets: who is let in, who is not, and what the log says of it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from poolhouse.configuration.service import Certificate, Login, Node, Service
from poolhouse.daemon import cluster_part
from poolhouse.daemon.cluster_part import ClusterPart
from poolhouse.daemon.server import Daemon
from poolhouse.daemon.tcp import TcpListener
from poolhouse.fleet.limits import FleetLimits
from poolhouse.report.tls import client_context, server_context
from poolhouse.wire.session import Welcome
from support.asyncio_runs import run
from support.reporting import ModelProcess

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"
OURS = Certificate(str(CERTIFICATES / "node.pem"), str(CERTIFICATES / "node.key"))
LOGIN = Login("monitor", "s3cret")


class RunningNode:
    """A node in this event loop."""

    def __init__(self, service: Service, name: str, sock: socket.socket) -> None:
        self.said: list[str] = []
        certificate = service.certificate
        say = self._say
        self.cluster = ClusterPart(
            service,
            service.node(name),
            "connmond 0",
            None if certificate is None else client_context(certificate),
            say,
        )
        me = Welcome("connmond 0", service.name, name)
        context = None if certificate is None else server_context(certificate)
        listener = TcpListener([sock], me, service.login, context, say, {"node": self.cluster.desk})
        self._end = asyncio.Event()
        self.daemon = Daemon([self.cluster, listener], FleetLimits().for_cluster())
        self.fleet = self.daemon._hub.fleet
        self._task = asyncio.create_task(self.daemon.run(self._end))

    def _say(self, _: int, sentence: str) -> None:
        self.said.append(sentence)

    async def stop(self) -> None:
        self._end.set()
        await self._task

    def receive(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            self.daemon._hub.receive(datagram)

    @property
    def missing(self) -> list[str]:
        return [node.name for node in self.daemon.health().nodes if node.missing_for is not None]

    @property
    def checkouts(self) -> int:
        return self.fleet.snapshot(self.daemon._hub.clock.monotonic(), 0.0).fleet.totals.checkouts or 0


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - what changes has no event
            await asyncio.sleep(0.01)


def sockets(count: int) -> list[socket.socket]:
    return [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]


def named(socks: list[socket.socket], *names: str) -> tuple[Node, ...]:
    return tuple(Node(name, "127.0.0.1", sock.getsockname()[1]) for name, sock in zip(names, socks, strict=True))


def in_a_loop(test: Callable[[], Awaitable[None]]) -> None:
    run(test())


@pytest.mark.parametrize(("login", "certificate"), [(None, None), (LOGIN, None), (LOGIN, OURS)])
def test_nodes_link_and_show_what_one_of_them_received(login, certificate):
    async def scenario() -> None:
        socks = sockets(3)
        service = Service("default", named(socks, "a", "b", "c"), login, certificate)
        nodes = [RunningNode(service, name, sock) for name, sock in zip("abc", socks, strict=True)]
        await until(lambda: not any(node.missing for node in nodes))
        process = ModelProcess("1:abcdef", born=nodes[0].daemon._hub.clock.monotonic() + 1)
        process.pool.work(7)
        nodes[1].receive(process.report(process.born))
        await until(lambda: [node.checkouts for node in nodes] == [7, 7, 7])
        assert all(node.fleet.health(0.0).lost == 0 for node in nodes)
        assert nodes[0].said == ["node b is linked", "node c is linked"] or len(nodes[0].said) == 2
        await nodes[2].stop()
        await until(lambda: nodes[0].missing == nodes[1].missing == ["c"])
        assert nodes[0].said[-1].startswith("node c is missing: ")
        for node in nodes[:2]:
            await node.stop()
        for sock in socks:
            sock.close()

    in_a_loop(scenario)


def test_a_node_with_another_password_is_refused():
    async def scenario() -> None:
        socks = sockets(2)
        nodes = named(socks, "a", "b")
        one = RunningNode(Service("default", nodes, Login("monitor", "wrong")), "a", socks[0])
        other = RunningNode(Service("default", nodes, LOGIN), "b", socks[1])
        await until(lambda: one.said and other.said)
        assert one.said == [f"node b is missing: {nodes[1].address}: wrong user or password"]
        assert other.said[0] == "a connection from 127.0.0.1 is closed: wrong user or password"
        assert (one.missing, other.missing) == (["b"], ["a"])
        await one.stop()
        await other.stop()
        for sock in socks:
            sock.close()

    in_a_loop(scenario)


@pytest.mark.parametrize(
    ("name", "service", "words"),
    [
        ("a1", "default", "service 'default' has no node 'a1'; it has a, b"),
        ("a", "other", "this node serves 'default', not 'other'"),
    ],
)
def test_a_node_that_is_not_of_the_service_is_refused_with_a_line(name, service, words):
    async def scenario() -> None:
        socks = sockets(2)
        theirs = Service(service, named(socks, name, "b"))
        ours = Service("default", named(socks, "a", "b"))
        stranger, node = RunningNode(theirs, name, socks[0]), RunningNode(ours, "b", socks[1])
        await until(lambda: stranger.said and node.said)
        await asyncio.sleep(0)
        assert stranger.said == [f"node b is missing: {theirs.nodes[1].address}: {words}"]
        assert node.said == [f"a connection from 127.0.0.1 is closed: {words}"]
        assert node.missing == ["a"]
        await stranger.stop()
        await node.stop()
        for sock in socks:
            sock.close()

    in_a_loop(scenario)


def test_a_node_that_reaches_itself_or_another_says_so():
    """The address of one node leads to another: a mistake in the configuration, or in a name's addresses."""

    async def scenario() -> None:
        socks = sockets(2)
        right = Service("default", (*named(socks, "a", "b"), Node("c", "127.0.0.1", socks[1].getsockname()[1])))
        itself = Service("default", (right.nodes[0], Node("b", "127.0.0.1", socks[0].getsockname()[1])))
        one, other = RunningNode(itself, "a", socks[0]), RunningNode(right, "b", socks[1])
        await until(lambda: any("itself" in said for said in one.said))
        await one.stop()
        socks[0].close()
        again = socket.create_server(("127.0.0.1", 0))
        one = RunningNode(right, "a", again)
        await until(lambda: any("is node 'b'" in said for said in one.said))
        assert "node b is linked" in one.said
        assert one.missing == ["c"]
        await one.stop()
        await other.stop()
        for sock in (socks[1], again):
            sock.close()

    in_a_loop(scenario)


def test_a_node_that_says_nothing_is_given_up_and_tried_again():
    async def scenario() -> None:
        socks = sockets(2)
        service = Service("default", named(socks, "a", "b"))
        # Nobody accepts at b: the kernel does, and then nothing is said.
        one = RunningNode(service, "a", socks[0])
        await until(lambda: one.said)
        assert one.said == [f"node b is missing: {service.nodes[1].address} does not answer within 2 s"]
        other = RunningNode(service, "b", socks[1])
        await until(lambda: not one.missing and not other.missing)
        await one.stop()
        await other.stop()
        for sock in socks:
            sock.close()

    in_a_loop(scenario)


def test_a_node_that_returns_before_it_was_missed_takes_its_old_link_s_place():
    async def scenario() -> None:
        socks = sockets(2)
        service = Service("default", named(socks, "a", "b"))
        one, other = (RunningNode(service, name, sock) for name, sock in zip("ab", socks, strict=True))
        await until(lambda: not one.missing and not other.missing)
        again = socket.create_server(("127.0.0.1", 0))
        twin = RunningNode(service, "a", again)
        await until(lambda: not twin.missing)
        # The first is thrown out, comes back, and throws out the other: one link at a time.
        await until(lambda: other.said.count("node a is linked") >= 3)
        assert len(other.cluster._links) <= 1
        words = "comes and goes: perhaps two nodes have its name, or this node's"
        await until(lambda: f"node a {words}" in other.said)
        await until(lambda: f"node b {words}" in twin.said)
        for node in (one, twin, other):
            await node.stop()
        for sock in (*socks, again):
            sock.close()

    in_a_loop(scenario)


@pytest.mark.parametrize("others", ["nobody accepts", "another node answers", "nobody listens"])
def test_a_node_is_reached_at_any_address_of_its_name(others: str, monkeypatch: pytest.MonkeyPatch):
    async def scenario() -> None:
        socks = sockets(2)
        port = socks[1].getsockname()[1]
        ours = Service(
            "default", (*named(socks[:1], "a"), Node("b", "b.example", port), Node("c", "127.0.0.9", 9))
        )
        look_up_as(monkeypatch, {"b.example": ["127.0.0.2", "127.0.0.1"]})
        other: RunningNode | None = None
        if others != "nobody listens":
            socks.append(socket.create_server(("127.0.0.2", port)))
        if others == "another node answers":
            other = RunningNode(ours, "c", socks[2])
        nodes = [RunningNode(ours, name, sock) for name, sock in zip("ab", socks[:2], strict=True)]
        await until(lambda: "node b is linked" in nodes[0].said)
        assert not any("node b is missing" in said for said in nodes[0].said)
        for node in (*nodes, *filter(None, [other])):
            await node.stop()
        for sock in socks:
            sock.close()

    in_a_loop(scenario)


def test_a_node_that_no_address_of_its_name_leads_to_is_missing_for_the_reason_of_each(
    monkeypatch: pytest.MonkeyPatch,
):
    async def scenario() -> None:
        (sock,) = socks = sockets(1)
        silent = socket.create_server(("127.0.0.2", 0))
        port = silent.getsockname()[1]
        service = Service("default", (*named(socks, "a"), Node("b", "b.example", port), Node("c", "c.example", 9)))
        look_up_as(monkeypatch, {"b.example": ["127.0.0.2", "127.0.0.3"]})
        node = RunningNode(service, "a", sock)
        await until(lambda: len(node.said) == 2)
        assert sorted(node.said) == [
            f"node b is missing: b.example:{port} (127.0.0.2) does not answer within 2 s; "
            f"b.example:{port} (127.0.0.3): Connection refused",
            "node c is missing: c.example: Name or service not known",
        ]
        await node.stop()
        silent.close()
        sock.close()

    in_a_loop(scenario)


def look_up_as(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> None:
    """Names have these addresses, and others have none."""
    getaddrinfo = socket.getaddrinfo

    def told(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if not str(host).endswith(".example"):
            return getaddrinfo(host, port, *args, **kwargs)
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [found for address in names[host] for found in getaddrinfo(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", told)


def test_a_node_that_ends_calls_no_other_missing():
    async def scenario() -> None:
        socks = sockets(3)
        service = Service("default", named(socks, "a", "b", "c"))
        nodes = [RunningNode(service, name, sock) for name, sock in zip("abc", socks, strict=True)]
        await until(lambda: all(len(node.said) == 2 for node in nodes))
        await nodes[1].stop()  # It has connected to one of the others, and the third has connected to it.
        await until(lambda: nodes[0].missing == nodes[2].missing == ["b"])
        assert sorted(nodes[1].said) == ["node a is linked", "node c is linked"]
        for node in (nodes[0], nodes[2]):
            await node.stop()
        for sock in socks:
            sock.close()

    in_a_loop(scenario)


def test_a_node_that_never_connects_is_missing(monkeypatch: pytest.MonkeyPatch):
    async def scenario() -> None:
        monkeypatch.setattr(cluster_part, "EXPECTED_S", 0.0)
        socks = sockets(2)
        service = Service("default", named(socks, "a", "b"))
        other = RunningNode(service, "b", socks[1])
        await until(lambda: other.said)
        assert other.said == ["node a is missing: it has not connected to this node"]
        one = RunningNode(service, "a", socks[0])
        await until(lambda: "node a is linked" in other.said)
        for node in (one, other):
            await node.stop()
        for sock in socks:
            sock.close()

    in_a_loop(scenario)
