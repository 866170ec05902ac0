"""Topics of the page: who is sent which frame, without a network."""

import asyncio

from poolhouse.daemon.http.frames import Wanted
from poolhouse.daemon.http.live import MOST_STREAMS, MOST_TOPICS, Had, Live, Topic, chunk
from poolhouse.daemon.part import Hub
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.testing.clock import VirtualClock
from poolhouse.views.address import Place

PROGRAMS = Wanted(Place("programs"))


class Reader:
    """A connection that takes what it is sent while it is ready."""

    def __init__(self, address: str = "10.0.0.1") -> None:
        self.address = address
        self.is_ready = True
        self.is_closed = False
        self.taken: list[bytes] = []

    def push(self, data: bytes) -> None:
        self.taken.append(data)

    def abort(self) -> None:
        self.is_closed = True


def hub() -> Hub:
    clock = VirtualClock()
    return Hub(Fleet(FleetLimits(), clock.monotonic()), clock)


def test_a_reader_that_is_slow_has_the_newest_frame_next_and_nothing_is_queued() -> None:
    topic, slow, quick = Topic(), Reader(), Reader()
    topic.readers.update({slow: Had(False), quick: Had(False)})
    for number in range(1, 6):
        slow.is_ready = number in (1, 5)
        topic.take(b"%d" % number)
        topic.push(slow), topic.push(quick)
    events = [chunk(b"event: frame\ndata: %d\n\n" % number) for number in range(1, 6)]
    assert quick.taken == events
    assert slow.taken == [events[0], events[4]]
    topic.push(slow)
    assert slow.taken == [events[0], events[4]]


def test_what_nobody_looks_at_is_not_made() -> None:
    async def scenario() -> tuple[int, int]:
        live, reader = Live(hub()), Reader()
        assert live.has_room(PROGRAMS, "10.0.0.1")
        assert live.open(PROGRAMS, reader)
        topic = await live.frame(PROGRAMS, "10.0.0.1")
        assert topic is not None
        live.leave(PROGRAMS, reader)
        live.leave(PROGRAMS, reader)
        assert live.streams == 0
        topic.wanted_until = 0.0
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            await task
        assert live.has_room(PROGRAMS, "10.0.0.1")
        assert live.open(PROGRAMS, reader)
        again = await live.frame(PROGRAMS, "10.0.0.1")
        assert again is not None
        live.close()
        return topic.number, again.number

    made, again = asyncio.run(scenario())
    assert made >= 1
    assert again == 1  # A topic of its own: the first one was forgotten.


def test_views_and_streams_have_bounds() -> None:
    async def scenario() -> None:
        live = Live(hub())
        wanted = [Wanted(Place("program", f"p{number}")) for number in range(MOST_TOPICS + 1)]
        assert [live.open(one, Reader()) for one in wanted] == [True] * MOST_TOPICS + [False]
        assert await live.frame(wanted[-1], "10.0.0.1") is None
        assert live.streams == MOST_TOPICS == MOST_STREAMS
        assert not live.has_room(wanted[0], "10.0.0.1")
        assert live.refused == 2
        live.close()
        assert not live.open(Wanted(Place("hosts")), Reader())

    asyncio.run(scenario())


def test_an_address_takes_places_of_one_that_has_more_and_of_no_other() -> None:
    async def scenario() -> None:
        live, mallory, alice = Live(hub()), "192.0.2.1", "10.0.0.1"
        wanted = [Wanted(Place("program", f"p{number}")) for number in range(MOST_TOPICS + 2)]
        flood = [Reader(mallory) for _ in wanted]
        kept, shared, late = Reader(alice), Reader(alice), Reader(alice)
        assert live.open(PROGRAMS, kept)
        assert [live.open(one, reader) for one, reader in zip(wanted, flood, strict=True)].count(True) == 127
        assert live.streams == MOST_STREAMS
        assert live.open(wanted[126], shared), "a stream of the flood makes room, and its view is shared"
        assert live.open(Wanted(Place("hosts")), late), "the newest view that nobody else reads makes room"
        assert await live.frame(Wanted(Place("lines")), alice) is not None
        assert not live.has_room(wanted[-1], mallory)
        assert [one.is_closed for one in (kept, shared, late)] == [False] * 3
        assert [number for number, reader in enumerate(flood[:127]) if reader.is_closed] == [124, 125, 126]
        live.close()

    asyncio.run(scenario())


def test_who_waits_for_a_frame_at_the_end_is_answered() -> None:
    async def scenario() -> Topic | None:
        live = Live(hub())
        waiting = asyncio.create_task(live.frame(PROGRAMS, "10.0.0.1"))
        await asyncio.sleep(0)
        live.close()
        return await waiting

    assert asyncio.run(scenario()) is None


def test_a_frame_that_cannot_be_made_is_told_to_the_loop_and_others_go_on() -> None:
    async def scenario() -> list[str]:
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        broken = Wanted(Place("nothing"))  # type: ignore[arg-type]
        live, reader = Live(hub()), Reader()
        live.open(broken, Reader())
        live.open(PROGRAMS, reader)
        assert await live.frame(PROGRAMS, "10.0.0.1") is not None
        live.close()
        assert len(reader.taken) == 2
        return told

    assert asyncio.run(scenario()) == ["a frame of /nothing failed"]
