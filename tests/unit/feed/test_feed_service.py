"""A server and its consoles without a socket: what is made, what is sent, and what is sent again."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from poolhouse.feed.protocol.datagrams import (
    HELO,
    Ask,
    Chunk,
    Cookie,
    Missing,
    decode_datagram,
    encode_datagram,
)
from poolhouse.feed.protocol.service import MOST_REQUESTS, MOST_SENT_AGAIN, VALUES_PER_SECOND, ConsoleService
from poolhouse.feed.protocol.subscribers import Subscribers
from poolhouse.feed.protocol.subscription import Subscription
from poolhouse.fleet.snapshot import Health, Holder, ProcessRow, Row, Snapshot

NONCE = b"console1"
#: A token that is long and cannot be compressed away: a hundred of them are some hundred chunks.
LONG = "".join(random.Random(1).choices("0123456789abcdef", k=15_000))


@dataclass
class FakeSource:
    """A fleet of programs with so many processes each; a step of its sums, and each row, may cost time."""

    processes_of: dict[str, int] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    value_lists: list[bytes] = field(default_factory=list)

    def sums(self) -> Iterator[Snapshot | None]:
        self.asked.append(None)
        yield None
        yield Snapshot(1.7e9, Row("", used=3), (Row("shop", used=3),), (), Health())

    def processes(self, program: str) -> "FakeProcesses":
        self.asked.append(program)
        return FakeProcesses(program, self.processes_of.get(program, 0))

    def values(self) -> Iterator[list[bytes]]:
        for at in range(0, len(self.value_lists), 10):
            yield self.value_lists[at : at + 10]


@dataclass
class FakeProcesses:
    program: str
    number: int

    def __len__(self) -> int:
        return self.number

    def holders(self) -> Iterator[list[Holder] | None]:
        yield []

    def rows(self, with_times: bool, most: int) -> Iterator[ProcessRow | None]:
        for number in range(most):
            token = f"{number}:{LONG if self.program == 'huge' else ''}"
            yield ProcessRow("web1", self.program, token, Row(token), 1.0, 0, ())
            yield None


class Server:
    """A service in virtual time: each step costs `cost` seconds."""

    def __init__(self, source: FakeSource, cost: float = 0.0) -> None:
        self.now = 1000.0
        self.cost = cost
        self.service = ConsoleService(
            source, "connmond", lambda: ("web1:25827",), Subscribers(b"sixteen bytes or more"), self.now
        )

    def run(self, seconds: float) -> list[tuple[int, bytes]]:
        """What is sent meanwhile, each datagram with the console's port."""
        end, sent = self.now + seconds, []
        while self.now < end:
            sent += [(address[1], datagram) for _, address, datagram in self.service.outgoing(self.now)]
            work = self.service.next(self.now)
            if work is not None:
                work.run()
                self.now += self.cost
                self.service.done(work, self.cost, self.now)
            else:
                due = self.service.next_due(self.now)
                assert due > self.now
                self.now = min(due, end)
        return sent

    def take(self, datagram: bytes, port: int) -> bytes | None:
        return self.service.receive(datagram, ("127.0.0.1", port), self.now)

    def ask(self, port: int, program: str | None) -> None:
        answer = decode_datagram(self.take(encode_datagram(Ask(NONCE)), port) or b"")
        assert isinstance(answer, Cookie)
        assert self.take(encode_datagram(Ask(NONCE, answer.cookie, program)), port) is None


def converse(
    server: Server, console: Subscription, seconds: float, loss: float = 0.0, seed: int = 1
) -> list[Snapshot]:
    """The snapshots that arrive; datagrams to the console are lost with this probability."""
    luck = random.Random(seed)
    end, snapshots = server.now + seconds, []
    while server.now < end:
        for datagram in console.due(server.now):
            if (answer := server.take(datagram, 1)) is not None:
                console.receive(answer, server.now)
        for port, datagram in server.run(0.01):
            if port == 1 and luck.random() >= loss:
                found = console.receive(datagram, server.now)
                if found is not None:
                    snapshots.append(found)
    return snapshots


def test_consoles_that_see_the_same_are_sent_the_same_frame():
    source = FakeSource({"shop": 3})
    server = Server(source)
    for port, program in enumerate([None, "shop", None, "shop"], 1):
        server.ask(port, program)
    sent = server.run(0.5)
    assert sorted(port for port, _ in sent) == [1, 2, 3, 4]
    assert source.asked == [None, "shop"]


def test_a_console_is_told_how_often_it_hears():
    server = Server(FakeSource({"slow": 400}), cost=0.002)
    console = Subscription(NONCE, server.now, "slow")
    snapshots = converse(server, console, 40.0)
    period = 40.0 / len(snapshots)
    assert console.server is not None
    assert console.server.interval == pytest.approx(period, abs=1.5)
    assert console.server.interval > 3
    assert [len(one.processes) for one in snapshots] == [400] * len(snapshots)


def test_a_program_that_is_too_large_for_a_frame_is_cut_and_the_rest_arrives():
    server = Server(FakeSource({"huge": 300}))
    snapshots = converse(server, Subscription(NONCE, server.now, "huge"), 3.0)
    assert {len(one.processes) for one in snapshots} == {150}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_frames_of_hundreds_of_chunks_arrive_though_one_datagram_of_a_hundred_is_lost(seed):
    """Of frames of 300 chunks, one in twenty would arrive if nothing was sent again."""
    server = Server(FakeSource({"huge": 100}))
    console = Subscription(NONCE, server.now, "huge")
    server.ask(2, "huge")
    assert len(server.run(0.9)) > 200
    snapshots = converse(server, console, 10.0, loss=0.01, seed=seed)
    whole = [one for one in snapshots if len(one.processes) == 100]
    assert len(whole) >= 8


def test_a_server_that_does_not_know_missing_is_asked_once_a_frame_and_never_after_its_introduction():
    server = Server(FakeSource({"huge": 100}))
    console = Subscription(NONCE, server.now, "huge")
    requests = []

    class Old:
        """Refuses what is no `Ask`, and does not say that it sends again."""

        def handle(self, datagram: bytes) -> None:
            message = None if datagram == HELO else decode_datagram(datagram)
            if isinstance(message, Missing):
                requests.append(message.frame)
            elif (answer := server.take(datagram, 1)) is not None:
                console.receive(answer, server.now)

    old, frames, introduced = Old(), set(), False
    service_server = server.service._server
    server.service._server = lambda topic: replace_introduction(service_server(topic))  # type: ignore[method-assign]
    luck = random.Random(1)
    while server.now < 1010.0:
        for datagram in console.due(server.now):
            old.handle(datagram)
        for _, datagram in server.run(0.01):
            message = decode_datagram(datagram)
            if isinstance(message, Chunk):
                frames.add(message.frame)
            if introduced or luck.random() >= 0.01:
                introduced |= console.receive(datagram, server.now) is not None
    assert len(requests) == len(set(requests)) <= len(frames)
    assert requests


def replace_introduction(server):
    return server._replace(sends_again=False)


def test_a_console_that_never_says_missing_is_served_as_ever():
    server = Server(FakeSource({"shop": 3}))
    server.ask(1, "shop")
    frames = {decode_datagram(datagram).frame for _, datagram in server.run(3.0)}  # type: ignore[union-attr]
    assert len(frames) == 3


def test_saying_missing_makes_no_amplifier():
    server = Server(FakeSource({"huge": 100}))
    server.ask(1, "huge")
    sent = [decode_datagram(datagram) for _, datagram in server.run(0.9)]
    (frame,) = {one.frame for one in sent if isinstance(one, Chunk)}
    parts = len(sent)
    cookie = server.take(encode_datagram(Ask(NONCE)), 1)
    assert cookie is not None
    valid = decode_datagram(cookie)
    assert isinstance(valid, Cookie)
    everything = Missing(NONCE, valid.cookie, frame, ((0, 65_535),))
    again = 0
    for _ in range(3 * MOST_REQUESTS):
        server.take(encode_datagram(everything), 1)
        again += len(server.run(0.001))
    assert again <= MOST_SENT_AGAIN * parts
    forged = everything._replace(cookie=bytes(16))
    refused = server.service.subscribers.refused.total()
    server.take(encode_datagram(forged), 1)
    assert server.service.subscribers.refused.total() == refused + 1
    server.take(encode_datagram(everything), 2)  # The cookie of another port.
    assert server.service.subscribers.refused.total() == refused + 2


def test_a_console_of_the_earlier_system_is_sent_values_no_faster_than_it_can_read():
    source = FakeSource(value_lists=[b"value %d" % number for number in range(5000)])
    server = Server(source)
    server.take(HELO, 7)
    sent = server.run(1.0)
    assert 0.8 * VALUES_PER_SECOND <= len(sent) <= 1.1 * VALUES_PER_SECOND
    sent += server.run(1.6)
    assert [datagram for _, datagram in sent[:5000]] == source.value_lists


def test_a_step_that_raises_costs_its_frame_only():
    source = FakeSource()
    server = Server(source)
    sums, failed = source.sums, []

    def failing() -> Iterator[Snapshot | None]:
        if not failed:
            failed.append(True)
            raise RuntimeError("a bug")
        yield from sums()

    source.sums = failing  # type: ignore[method-assign]
    server.ask(1, None)
    with pytest.raises(RuntimeError):
        server.run(0.5)
    assert len(server.run(2.5)) >= 2


def test_a_console_that_leaves_costs_nothing_any_more():
    server = Server(FakeSource({"huge": 100}), cost=0.001)
    server.ask(1, "huge")
    server.run(0.1)
    server.now += 31.0
    assert server.run(5.0) == []
    assert not server.service._steps
    assert not server.service._sent


def over_a_connection(server: Server, port: int, program: str | None = None) -> None:
    asked = encode_datagram(Ask(NONCE, program=program))
    server.service.receive(asked, ("127.0.0.1", port), server.now, "connection", is_proven=True)


def test_a_console_to_which_nothing_can_be_sent_is_sent_nothing_and_others_are_served_as_before():
    source = FakeSource({"huge": 20})
    server = Server(source)
    stuck = ("connection", ("127.0.0.1", 1))
    over_a_connection(server, 1, "huge")
    over_a_connection(server, 2)
    server.service.held.add(stuck)
    sent = server.run(10.0)
    assert {port for port, _ in sent} == {2}
    assert len(sent) >= 9  # One frame a second, each of one chunk.
    # Its frame was made once, and the next one is not, before the first has left.
    assert source.asked.count("huge") == 1
    server.service.held.discard(stuck)
    parts = [datagram for port, datagram in server.run(0.5) if port == 1]
    first = decode_datagram(parts[0])
    assert isinstance(first, Chunk)
    assert len(parts) >= first.parts > 1
