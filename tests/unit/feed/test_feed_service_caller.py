"""A console and the nodes of a service in virtual time: which is asked when, and what is said of it."""

import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhouse.configuration.service import Certificate, Login, Node, Service
from poolhouse.daemon.reception import Failures, Reception, Refused
from poolhouse.errors import SettingError
from poolhouse.feed.fallback import Fallback
from poolhouse.feed.link import Link
from poolhouse.feed.protocol.chunks import datagrams
from poolhouse.feed.protocol.datagrams import Ask, decode_datagram
from poolhouse.feed.protocol.frame import Frame, Server, encode_frame
from poolhouse.feed.service_caller import LAST_REST_S, LOGIN_REST_S, ServiceCaller
from poolhouse.fleet.snapshot import Health, Row, Snapshot
from poolhouse.report.route import Address
from poolhouse.wire.framing import Kind, frame
from poolhouse.wire.session import Welcome

CHUNKS = encode_frame(
    Frame(Server("connmond 0.1.0"), Snapshot(1.7e9, Row("", used=3), (Row("shop", used=3),), (), Health()))
)


@dataclass
class FakeNode:
    """A node that lets consoles in and answers each Ask with a frame.

    Attributes:
        state: ``up``, ``down`` (refuses), ``away`` (no answer to a connection), or ``stopped`` (says nothing).
        connections: Those there are now.
    """

    name: str
    state: str = "up"
    login: Login | None = None
    connections: list["FakeSocket"] = field(default_factory=list)
    tried: list[float] = field(default_factory=list)

    def go(self, state: str) -> None:
        self.state = state
        if state in ("down", "away"):
            for sock in self.connections:
                sock.is_lost = True
            self.connections.clear()


class FakeSocket:
    """A connection to a `FakeNode`."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.is_lost = False
        self.is_closed = False
        self._arrived: deque[bytes] = deque()
        self._reception: Reception | None = None
        self._waiting = b""

    def fileno(self) -> int:
        return id(self)

    def is_ours(self) -> bool:
        return True

    def is_connected(self) -> bool:
        return self.node.state in ("up", "stopped")

    def send(self, data: bytes) -> int:
        self._check()
        self._waiting += data
        self._answer()
        return len(data)

    def receive(self, size: int) -> bytes:
        self._check()
        self._answer()
        if self._arrived:
            return self._arrived.popleft()
        if self.is_lost:
            return b""
        raise BlockingIOError

    def close(self) -> None:
        self.is_closed = True
        if self in self.node.connections:
            self.node.connections.remove(self)

    def _check(self) -> None:
        assert not self.is_closed, "a closed socket is used"
        if self.is_lost and not self._arrived:
            raise ConnectionResetError(104, "Connection reset by peer")

    def _answer(self) -> None:
        if self.node.state != "up" or self.is_lost:
            return
        if self._reception is None:
            me = Welcome("connmond 0.1.0", "default", self.node.name)
            self._reception = Reception(me, bytes(16), self.node.login, Failures(), "10.0.0.7", 0.0)
        said, self._waiting = self._waiting, b""
        asked = []
        try:
            asked = list(self._reception.receive(said, 0.0))
        except Refused:
            self.is_lost = True
        if self._reception.outgoing:
            self._arrived.append(bytes(self._reception.outgoing))
            self._reception.outgoing.clear()
        for one in asked:
            message = decode_datagram(one.payload)
            assert isinstance(message, Ask)
            for datagram in datagrams(CHUNKS, message.nonce, 1):
                self._arrived.append(frame(Kind.FEED, datagram))


class FakeNetwork:
    """Names and nodes; each name has as many addresses as it is given nodes."""

    def __init__(self, names: dict[str, list[FakeNode]]) -> None:
        self.names = names
        self.now = 0.0

    def look_up(self, host: str, port: int) -> list[Address]:
        if host not in self.names:
            raise OSError(-2, "Name or service not known")
        return [Address(2, (host, number)) for number in range(len(self.names[host]))]

    def connect(self, address: Address) -> FakeSocket:
        node = self.names[address.sockaddr[0]][address.sockaddr[1]]
        node.tried.append(self.now)
        if node.state == "down":
            raise ConnectionRefusedError(111, "Connection refused")
        sock = FakeSocket(node)
        node.connections.append(sock)
        return sock


class World:
    """A console of a service whose nodes are called a, b, c and so on."""

    def __init__(
        self, *states: str, login: Login | None = None, known: Login | None = None, seed: int = 1
    ) -> None:
        self.nodes = [FakeNode(chr(97 + number), state, login) for number, state in enumerate(states)]
        self.network = FakeNetwork({node.name: [node] for node in self.nodes})
        named = tuple(Node(node.name, node.name, 5800) for node in self.nodes)
        service = Service("default", named, known)
        self.caller = ServiceCaller(service, self.network, random.Random(seed).random)
        self.snapshots: list[float] = []
        self.now = 0.0

    def run(self, seconds: float) -> Link:
        """Do what the feed's thread does."""
        end = self.now + seconds
        while True:
            self.network.now = self.now
            for sock in self.caller.sockets:
                if self.caller.receive(sock, self.now) is not None:
                    self.snapshots.append(self.now)
            if self.caller.step(self.now) is not None:
                self.snapshots.append(self.now)
            if self.now >= end:
                return self.caller.link()
            # A connection's answer is seen by poll; here by looking often.
            self.now = min(end, max(self.now + 0.005, min(self.caller.next_due, self.now + 0.05)))

    @property
    def shown(self) -> FakeNode:
        return next(node for node in self.nodes if node.connections)


def test_a_node_is_shown_with_its_service():
    world = World("up")
    link = world.run(1.0)
    assert (link.phase, link.service, link.node, link.address) == ("connected", "default", "a", "a:5800")
    assert (link.server, link.error, link.next_try) == ("connmond 0.1.0", None, None)
    assert world.snapshots


def test_nodes_are_tried_in_random_order():
    first = set()
    for seed in range(20):
        world = World("up", "up", "up", seed=seed)
        world.run(0.5)
        first.add(world.shown.name)
    assert first == {"a", "b", "c"}


@pytest.mark.parametrize("how", ["down", "away", "stopped"])
def test_when_the_node_is_lost_another_one_is_shown(how):
    world = World("up", "up", "up")
    world.run(1.0)
    lost = world.shown
    lost.go(how)
    # A lost connection is seen at once; silence after twice 3.5 s. A restless node may be tried in between.
    link = world.run(8.0 if how == "stopped" else 0.5)
    assert link.phase == "connected"
    assert link.node != lost.name
    assert world.snapshots[-1] > 1.0


def test_a_node_that_accepts_and_says_nothing_is_left_within_five_seconds():
    world = World("stopped", "up", seed=next(seed for seed in range(99) if first_of(seed) == "a"))
    world.run(4.9)
    assert world.snapshots == []
    link = world.run(0.5)
    assert (link.phase, link.node) == ("connected", "b")


def first_of(seed: int) -> str:
    world = World("stopped", "stopped", seed=seed)
    world.run(0.1)
    return world.shown.name


def test_when_none_answers_each_reason_is_named_with_its_nodes():
    world = World("down", "stopped", "down")
    link = world.run(6.0)
    reasons = dict(reversed(one.split(": ", 1)) for one in (link.error or "").split("; "))
    assert sorted(reasons.pop("Connection refused").split(", ")) == ["a", "c"]
    assert reasons == {"it did not answer within 5 s": "b"}


def test_when_none_answers_for_one_reason_it_is_named_once_with_the_next_try():
    world = World("down", "down")
    link = world.run(0.2)
    assert (link.phase, link.address, link.node) == ("refused", "service 'default'", None)
    assert link.error == "Connection refused"
    assert link.next_try is not None
    assert world.now < link.next_try <= 1.0


def test_one_node_that_refuses_is_called_by_its_address():
    world = World("down")
    link = world.run(0.2)
    assert (link.phase, link.address, link.error) == ("refused", "a:5800", "Connection refused")


def test_a_name_that_is_not_known_is_unresolved():
    world = World("up")
    world.network.names.clear()
    link = world.run(0.2)
    assert (link.phase, link.error) == ("unresolved", "Name or service not known")


def test_between_rounds_it_rests_ever_longer_up_to_a_bound():
    world = World("down", "down")
    world.run(60.0)
    for node in world.nodes:
        gaps = [later - earlier for earlier, later in zip(node.tried, node.tried[1:], strict=False)]
        assert gaps[0] < 2.0
        # Half a rest at least, for the jitter takes at most half; a look takes 50 ms here.
        assert all(LAST_REST_S / 2 <= gap <= LAST_REST_S + 0.2 for gap in gaps[-5:])


def test_a_key_tries_at_once():
    world = World("down")
    world.run(30.0)
    tried = len(world.nodes[0].tried)
    world.caller.retry(world.now)
    world.run(0.1)
    assert len(world.nodes[0].tried) == tried + 1


def test_a_daemon_that_comes_back_is_shown_again():
    world = World("up")
    world.run(1.0)
    world.nodes[0].go("down")
    assert world.run(20.0).phase == "refused"
    world.nodes[0].go("up")
    assert world.run(LAST_REST_S + 1.0).phase == "connected"
    assert world.snapshots[-1] > 21.0


def test_each_address_of_a_node_is_tried_once():
    world = World("down")
    other = FakeNode("a6")
    world.network.names["a"].append(other)
    link = world.run(0.2)
    assert (link.phase, link.node) == ("connected", "a6")


def test_a_login_that_is_missing_is_said_and_not_tried_often():
    world = World("up", login=Login("monitor", "s3cret"))
    link = world.run(1.0)
    assert (link.login, link.phase) == ("missing", "refused")
    world.run(LOGIN_REST_S - 2.0)
    assert len(world.nodes[0].tried) == 1


def test_a_login_that_is_wrong_is_said_and_not_tried_often():
    world = World("up", login=Login("monitor", "s3cret"), known=Login("monitor", "guess"))
    link = world.run(1.0)
    assert (link.login, link.error) == ("wrong", "wrong user or password")
    world.run(LOGIN_REST_S - 2.0)
    assert len(world.nodes[0].tried) == 1


def test_a_login_that_is_right_is_shown():
    login = Login("monitor", "s3cret")
    world = World("up", login=login, known=login)
    assert world.run(1.0).phase == "connected"
    assert world.snapshots


def test_a_certificate_that_cannot_be_read_is_said_before_anything_is_sent(tmp_path):
    (tmp_path / "broken.pem").write_text("no certificate")
    service = Service("default", (Node("a", "a", 5800),), None, Certificate(str(tmp_path / "broken.pem")))
    with pytest.raises(SettingError, match=r"ssl_certfile: .*cannot be used"):
        ServiceCaller(service, FakeNetwork({}), random.Random(1).random)


def test_what_a_node_says_of_itself_commands_no_terminal():
    world = World("up")
    world.nodes[0].name = "\x1b[2Jnode"
    assert world.run(1.0).node == "·[2Jnode"


CHANGES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["up", "down", "away", "stopped"]), st.floats(0.0, 12.0)),
    max_size=8,
)


@settings(max_examples=40)
@given(CHANGES, st.integers(0, 1000))
def test_whatever_becomes_of_the_nodes_one_that_is_up_is_shown_in_the_end(changes, seed):
    world = World("up", "down", "stopped", seed=seed)
    for number, state, seconds in changes:
        world.nodes[number].go(state)
        world.run(seconds)
        assert sum(len(node.connections) for node in world.nodes) <= 1
    world.nodes[0].go("up")
    for node in world.nodes[1:]:
        node.go("stopped")
    before = world.now
    # One silence (7 s), the rest (5 s), two nodes that say nothing (5 s each).
    link = world.run(23.0)
    assert (link.phase, link.node) == ("connected", "a")
    assert world.snapshots[-1] > before


class SecondSource:
    """Another source, which answers when it is told."""

    def __init__(self) -> None:
        self.sockets: list[FakeSocket] = []
        self.next_due = 1e9
        self.heard_at: float | None = None
        self.asked: list[str | None] = []
        self.is_prepared = self.is_closed = False

    def prepare(self, now: float) -> None:
        self.is_prepared = True

    def ask(self, program: str | None, now: float) -> None:
        self.asked.append(program)

    def retry(self, now: float) -> None: ...

    def step(self, now: float) -> None:
        assert not self.is_closed

    def receive(self, sock: object, now: float) -> None: ...

    def summed(self, now: float, wall_time: float) -> None: ...

    def link(self) -> Link:
        return Link("listening", "localhost:25828", heard_at=self.heard_at)

    def close(self) -> None:
        self.is_closed = True


def with_fallback(world: World) -> tuple[Fallback, list[SecondSource]]:
    made: list[SecondSource] = []

    def make() -> SecondSource:
        made.append(SecondSource())
        return made[-1]

    fallback = Fallback(world.caller, make, "UDP localhost:25828")
    world.caller = fallback  # type: ignore[assignment]
    return fallback, made


def test_the_second_source_begins_only_if_the_first_does_not_answer():
    world = World("up")
    fallback, made = with_fallback(world)
    assert world.run(1.0).phase == "connected"
    world.nodes[0].go("down")
    world.run(10.0)
    assert made == []
    assert fallback.link().phase == "refused"


def test_the_second_source_says_why_it_is_there_and_is_kept_once_it_answers():
    world = World("down")
    fallback, (*none,) = with_fallback(world)
    fallback.ask("shop", 0.0)
    link = world.run(1.0)
    assert (link.phase, none) == ("listening", [])
    assert link.note == "nothing answers on TCP a:5800, so this is UDP localhost:25828"
    second = fallback._second
    assert isinstance(second, SecondSource)
    assert (second.is_prepared, second.asked) == (True, ["shop"])
    second.heard_at = world.now
    world.nodes[0].go("up")
    tried = len(world.nodes[0].tried)
    assert world.run(10.0).phase == "listening"
    assert len(world.nodes[0].tried) == tried


def test_the_first_source_is_kept_if_it_answers_after_all():
    world = World("down")
    fallback, made = with_fallback(world)
    world.run(1.0)
    world.nodes[0].go("up")
    link = world.run(6.0)
    assert (link.phase, link.note) == ("connected", "")
    (second,) = made
    assert second.is_closed
    assert fallback._second is None
    assert world.snapshots


def test_a_node_that_demands_a_login_has_answered():
    world = World("up", login=Login("monitor", "s3cret"))
    _, made = with_fallback(world)
    assert world.run(2.0).login == "missing"
    assert made == []
