"""How connmond shares its time among consoles, in virtual time."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from poolhouse.daemon.consoles import BUDGET, SHARE, Consoles
from poolhouse.feed.protocol.chunks import unpack
from poolhouse.feed.protocol.datagrams import Chunk, decode_datagram
from poolhouse.feed.protocol.frame import Server, decode_frame
from poolhouse.feed.protocol.subscribers import Subscriber
from poolhouse.feed.wayback import Via
from poolhouse.fleet.snapshot import Health, Row, Snapshot


@dataclass
class Time:
    """A clock that stands still but for what costs time."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall_time(self) -> float:
        return 1.7e9 + self.now


@dataclass
class SlowFleet:
    """A fleet whose snapshots take a while."""

    time: Time
    cost: float
    asked: list[str | None] = field(default_factory=list)

    def snapshot(self, now: float, wall_time: float, program: str | None = None) -> Snapshot:
        self.asked.append(program)
        self.time.now += self.cost
        return Snapshot(wall_time, Row(""), (), (), Health(), program=program)


@dataclass(frozen=True)
class Outlet:
    """A socket that remembers to whom something was sent."""

    sent: Counter[Any]

    def sendmsg(self, buffers: Any, ancillary: Any, flags: int, address: Any) -> None:
        self.sent[address] += 1

    def __hash__(self) -> int:
        return 0


def consoles_of(programs: list[str | None], sent: Counter[Any]) -> list[Subscriber]:
    via = Via(Outlet(sent), ())  # type: ignore[arg-type]
    return [Subscriber(("127.0.0.1", port), via, 1e9, b"console1", one) for port, one in enumerate(programs, 1)]


def serve(rounds: int, programs: list[str | None], cost: float) -> tuple[Counter[int], SlowFleet]:
    """How many datagrams each console was sent, by its port."""
    sent: Counter[Any] = Counter()
    time = Time()
    fleet = SlowFleet(time, cost)
    subscribers = consoles_of(programs, sent)

    async def run() -> None:
        served = Consoles(fleet, Server("connmond"), time)  # type: ignore[arg-type]
        for _ in range(rounds):
            served.serve(subscribers)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            time.now += 1.0

    asyncio.run(run())
    return Counter({port: number for (_, port), number in sent.items()}), fleet


def test_consoles_that_see_the_same_share_one_snapshot() -> None:
    sent, fleet = serve(1, [None, "shop", None, "shop"], cost=0.0)
    assert sent == {1: 1, 2: 1, 3: 1, 4: 1}
    assert fleet.asked == [None, "shop"]


def test_however_many_programs_are_asked_for_reports_are_read_in_time() -> None:
    programs: list[str | None] = [f"program{number}" for number in range(12)]
    sent, fleet = serve(1, programs, cost=0.06)
    assert len(fleet.asked) == 4  # The fourth began within the budget of 0.2 s.
    assert BUDGET == 0.2
    assert sum(sent.values()) == 4


def test_those_that_wait_longest_are_served_first() -> None:
    programs: list[str | None] = [f"program{number}" for number in range(12)]
    sent, _ = serve(6, programs, cost=0.06)
    assert set(sent.values()) == {2}
    assert len(sent) == 12


def test_a_program_whose_snapshot_takes_long_is_told_less_often() -> None:
    sent, fleet = serve(20, ["huge", "huge"], cost=0.7)
    elapsed = fleet.time.now - Time().now
    assert 0.5 * SHARE * elapsed < 0.7 * len(fleet.asked) < SHARE * elapsed
    assert sent == {1: len(fleet.asked), 2: len(fleet.asked)}


def test_a_console_is_told_how_often_it_hears() -> None:
    time = Time()
    served = Consoles(SlowFleet(time, 0.7), Server("connmond"), time)  # type: ignore[arg-type]
    heard: list[float] = []

    class Console:
        def sendmsg(self, buffers: list[bytes], ancillary: Any, flags: int, address: Any) -> None:
            chunk = decode_datagram(buffers[0])
            assert isinstance(chunk, Chunk)
            heard.append(decode_frame(unpack(chunk.payload)).server.interval)

    via = Via(Console(), ())  # type: ignore[arg-type]

    async def run() -> None:
        served.serve([Subscriber(("127.0.0.1", 1), via, 1e9, b"console1", "huge")])
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(run())
    assert heard == [4.0]
