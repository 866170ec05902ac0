"""One node among others, without sockets: who is asked, what is passed on, who is missing."""

import pytest

from poolhouse.cluster.core import BATCH_BYTES, PULSE_S, SILENCE_S, Cluster
from poolhouse.cluster.queue import ReportQueue
from poolhouse.errors import PacketError
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.intake import Way
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.snapshot import NodeState
from poolhouse.wire.framing import MAGIC, Frame, Kind, Unframer
from poolhouse.wire.ledger import Pulse, encode_pulse
from support.reporting import ModelProcess

WALL = 1.7e9
NAMES = ("a", "b", "c")


class Node:
    def __init__(self, name: str, began: float = 0.0, limits: FleetLimits | None = None) -> None:
        self.name = name
        self.fleet = Fleet((limits or FleetLimits()).for_cluster(), began)
        self.cluster = Cluster(self.fleet, name, NAMES, began)

    def receive(self, datagrams: list[bytes], now: float) -> None:
        for datagram in datagrams:
            assert self.fleet.receive(datagram, now, WALL, Way.TCP) is None

    def checkouts(self, now: float) -> int:
        return self.fleet.snapshot(now, WALL).fleet.totals.checkouts or 0

    def sends(self, name: str, now: float) -> list[Frame]:
        """The frames of everything that this node has for another one."""
        reader, found = Unframer(), []
        list(reader.feed(MAGIC))
        while data := self.cluster.step(name, now):
            found += reader.feed(data)
        return found


def link(one: Node, other: Node, now: float) -> None:
    one.cluster.link(other.name, now)
    other.cluster.link(one.name, now)


def talk(now: float, *nodes: Node) -> list[Kind]:
    """Pass frames between linked nodes until there are none; their kinds."""
    by_name = {node.name: node for node in nodes}
    kinds: list[Kind] = []
    for _ in range(50):
        quiet = True
        for node in nodes:
            for name in by_name.keys() - {node.name}:
                if node.cluster.is_linked(name):
                    for frame in node.sends(name, now):
                        quiet = False
                        kinds.append(frame.kind)
                        by_name[name].cluster.receive(node.name, frame, now, WALL)
        if quiet:
            return kinds
    raise AssertionError("they do not come to rest")


def a_process(token: str = "1:abcdef", **how) -> ModelProcess:
    return ModelProcess(**{"token": token, "born": 1.0, **how})


def test_a_report_reaches_every_linked_node_once():
    a, b, c = map(Node, NAMES)
    link(a, b, 0.0)
    link(a, c, 0.0)
    link(b, c, 0.0)
    talk(0.0, a, b, c)
    process = a_process()
    process.pool.work(5)
    a.receive(process.report(1.0), 1.0)
    kinds = talk(1.0, a, b, c)
    assert kinds.count(Kind.REPORT) == 4  # Two datagrams to two nodes; nobody passes them on again.
    assert [node.checkouts(1.0) for node in (a, b, c)] == [5, 5, 5]
    assert b.fleet.snapshot(1.0, WALL).fleet.processes == 1


def test_a_node_that_comes_back_is_told_what_it_missed():
    a, b = Node("a"), Node("b")
    link(a, b, 0.0)
    talk(0.0, a, b)
    a.cluster.lose("b", 2.0)
    b.cluster.lose("a", 2.0)
    processes = [a_process(f"{n}:abcdef") for n in range(120)]
    for process in processes:
        process.pool.work(2)
        a.receive(process.report(3.0), 3.0)
    assert a.cluster.step("b", 3.0) == b""
    link(a, b, 4.0)
    kinds = talk(4.0, a, b)
    assert kinds.count(Kind.LEDGER) == 3  # 120 entries in pieces of 50.
    assert b.checkouts(4.0) == 240


def test_nodes_agree_within_two_intervals_after_a_minute_apart():
    """Meanwhile each side takes the other's processes for ended."""
    interval, parted, healed = 2.0, 10.0, 70.0
    nodes = a, b, c = [Node(name) for name in NAMES]
    for one, other in ((a, b), (a, c), (b, c)):
        link(one, other, 0.0)
    processes = [a_process(f"{n}:abcdef", born=1.0 + n * interval / 30) for n in range(30)]
    done, now, agreed = 0, 0.0, None

    def shown(node: Node) -> tuple[int, int]:
        fleet = node.fleet.snapshot(now, WALL).fleet
        return fleet.processes, fleet.totals.checkouts or 0

    for step in range(760):
        now = step / 10
        if now in (parted, healed):
            for one in (b, c):
                if now == parted:
                    a.cluster.lose(one.name, now)
                    one.cluster.lose("a", now)
                else:
                    link(a, one, now)
        for place, process in enumerate(processes):
            if now >= process.born and (step - int(process.born * 10)) % int(interval * 10) == 0:
                process.pool.work(3)
                done += 3
                nodes[place % 3].receive(process.report(now), now)
        for node in nodes:
            node.fleet.expire(now)
            assert node.cluster.tick(now) == []
        talk(now, *nodes)
        if now == healed - 0.1:
            assert [shown(node)[0] for node in nodes] == [10, 20, 20]
        if now >= healed and agreed is None and [shown(node) for node in nodes] == [(30, done)] * 3:
            agreed = now
    assert agreed is not None
    assert agreed <= healed + 2 * interval
    assert [shown(node) for node in nodes] == [(30, done)] * 3


def test_nodes_say_who_is_missing_since_when():
    a = Node("a", 10.0)
    assert a.fleet.health(15.0).nodes == (
        NodeState("a", True, None),
        NodeState("b", False, 5.0),
        NodeState("c", False, 5.0),
    )
    a.cluster.link("b", 15.0)
    assert a.fleet.health(16.0).nodes[1] == NodeState("b", False, None)
    a.cluster.lose("b", 20.0)
    assert a.fleet.health(21.5).nodes[1] == NodeState("b", False, 1.5)


def test_a_sign_of_life_is_due_each_second_and_a_silent_link_is_given_up():
    a = Node("a")
    a.cluster.link("b", 0.0)
    assert [frame.kind for frame in a.sends("b", 0.0)] == [Kind.PULSE]
    assert not a.cluster.ready("b", PULSE_S / 2)
    assert a.cluster.ready("b", PULSE_S)
    assert a.cluster.tick(PULSE_S) == []
    assert a.cluster.tick(SILENCE_S - 0.1) == []
    assert a.cluster.tick(SILENCE_S) == ["b"]
    a.cluster.receive("b", Frame(Kind.PULSE, encode_pulse(Pulse(0.0, False))), 3.0, WALL)
    assert a.cluster.tick(SILENCE_S) == []


def test_a_node_that_stood_still_calls_nobody_silent_before_it_has_read_what_they_sent():
    a = Node("a")
    a.cluster.link("b", 0.0)
    assert a.cluster.tick(1.0) == []
    # Stopped, or on a machine that was: what the other node sent in this time waits to be read.
    assert a.cluster.tick(60.0) == []
    assert a.cluster.tick(61.0) == []
    # Nothing has come since.
    assert a.cluster.tick(62.0) == ["b"]


def test_a_node_that_began_later_asks_one_that_did_not_before_the_others():
    a, b, c = Node("a"), Node("b"), Node("c", 100.0)
    link(a, b, 90.0)
    talk(90.0, a, b)
    link(a, c, 100.0)
    link(b, c, 100.0)
    for other in (a, b):
        for frame in other.sends("c", 100.0):
            c.cluster.receive(other.name, frame, 100.0, WALL)
    assert c.cluster.is_behind
    asked = {name: [frame.kind for frame in c.sends(name, 100.0)].count(Kind.ASK) for name in ("a", "b")}
    assert asked == {"a": 1, "b": 0}
    # It is lost before it has told everything: the other is asked.
    c.cluster.lose("a", 100.0)
    a.cluster.lose("c", 100.0)
    talk(100.0, b, c)
    assert not c.cluster.is_behind


def test_what_was_forgotten_before_a_node_began_is_taken_from_one_node_only():
    a, b = Node("a"), Node("b")
    link(a, b, 0.0)
    talk(0.0, a, b)
    process = a_process()
    process.pool.work(5)
    a.receive(process.report(2.0), 2.0)
    talk(2.0, a, b)
    for node in (a, b):
        node.fleet.expire(20.0)
        node.fleet.expire(86_500.0)
        assert not node.fleet._processes
    c = Node("c", 86_501.0)
    link(a, c, 86_501.0)
    link(b, c, 86_501.0)
    kinds = talk(86_501.0, a, b, c)
    assert Kind.ROWS in kinds
    assert [node.checkouts(86_501.0) for node in (a, b, c)] == [5, 5, 5]


def test_losses_are_told_once_a_second():
    a, b = Node("a"), Node("b")
    link(a, b, 0.0)
    talk(0.0, a, b)
    process = a_process()
    for second in range(2, 40, 2):
        datagrams = process.report(second)
        if second not in (10, 20):
            for datagram in datagrams:
                a.fleet.receive(datagram, second, WALL, Way.UDP)
        assert Kind.LEDGER not in talk(second, a, b)
    a.cluster.tick(40.0)
    assert talk(40.0, a, b).count(Kind.LEDGER) == 1
    assert [node.fleet._processes["web1", "nova", "1:abcdef"].lost for node in (a, b)] == [4, 4]


def test_a_node_that_does_not_read_gets_the_newest_reports_and_then_what_it_missed():
    a, b, c = (Node(name) for name in NAMES)
    for other in (b, c):
        link(a, other, 0.0)
    talk(0.0, a, b, c)
    process = a_process(pools=2)
    for second in range(2, 20, 2):
        process.pools[0].work(1)
        if second < 10:
            process.pools[1].work(1)
        if second == 10:
            process.pools[1].close()
        a.receive(process.report(second), second)
        a.sends("c", second)  # Which reads, and b does not.
    kinds = talk(20.0, a, b)
    assert kinds.count(Kind.REPORT) == 2
    assert a.checkouts(20.0) == b.checkouts(20.0) == 13


def test_reports_that_are_gathered_all_leave_and_bring_no_entry_of_the_ledger():
    a, b = Node("a"), Node("b")
    link(a, b, 0.0)
    talk(0.0, a, b)
    process = a_process(pools=2)
    for second in (2.0, 4.0, 6.0):
        process.pools[0].work(1)
        a.receive(process.report(second), second)
    a.cluster.tick(6.0)
    kinds = talk(6.0, a, b)
    assert kinds.count(Kind.REPORT) == 6
    assert Kind.LEDGER not in kinds
    assert b.checkouts(6.0) == 3


def test_what_is_gathered_is_bounded_where_nobody_reads():
    a = Node("a")
    a.cluster.link("b", 0.0)
    process, most = a_process(), 0
    for second in range(2, 2000, 2):
        a.receive(process.report(second), second)
        peer = a.cluster._peers["b"]
        most = max(most, a.cluster._arrived_bytes + len(peer.batch_bytes) + peer.queue.bytes)
    assert BATCH_BYTES < most < 2 * BATCH_BYTES + 16_384
    assert peer.queue.bytes + a.cluster._arrived_bytes < BATCH_BYTES


def test_frames_that_no_node_sends_end_the_link():
    a = Node("a")
    a.cluster.link("b", 0.0)
    for frame in (Frame(Kind.HELLO, b""), Frame(Kind.PULSE, b"\x63"), Frame(Kind.LEDGER, b"\x01\x00\x01")):
        with pytest.raises(PacketError):
            a.cluster.receive("b", frame, 0.0, WALL)


def test_a_ledger_that_was_not_asked_for_is_not_taken():
    a, b = Node("a"), Node("b")
    b.receive(a_process().report(1.0), 1.0)
    b.cluster.link("a", 1.0)
    b.cluster.receive("a", Frame(Kind.ASK, b""), 1.0, WALL)
    a.cluster.link("b", 1.0)
    for frame in b.sends("a", 1.0):
        if frame.kind is not Kind.PULSE:
            a.cluster.receive("b", frame, 1.0, WALL)
    assert not a.fleet._processes


def a_known(node: Node, token: str):
    node.receive(a_process(token).report(1.0), 1.0)
    return node.fleet._processes["web1", "nova", token]


def test_a_queue_keeps_the_newest_report_of_each_process():
    node, dropped = Node("a"), []
    queue = ReportQueue(dropped.append)
    one, other = a_known(node, "1:abcdef"), a_known(node, "2:abcdef")
    queue.put(one, 1, b"a1")
    queue.put(one, 1, b"b1")
    queue.put(other, 7, b"c7")
    assert dropped == []
    queue.put(one, 2, b"a2")
    queue.put(one, 1, b"b1")
    assert dropped == [one, one]
    assert queue.bytes == 4
    assert queue.take(100) == [b"a2", b"c7"]
    assert (queue.bytes, bool(queue)) == (0, False)


def test_a_queue_drops_the_oldest_when_it_is_full():
    node, dropped = Node("a"), []
    queue = ReportQueue(dropped.append, most_bytes=25)
    processes = [a_known(node, f"{n}:abcdef") for n in range(3)]
    for process in processes:
        queue.put(process, 1, bytes(10))
    assert dropped == processes[:1]
    assert queue.bytes == 20
    assert len(queue.take(1)) == 1
