"""The live views of the page: each is made once a second and sent to all its readers.

A view is a *topic*. It is made as long as it has readers: an open stream, or a page without one that keeps asking.
A slow reader of a stream gets the newest frame once it has read the one before; nothing is queued for it.

Topics and streams are bounded. When a bound is reached, the address that has the most of them loses its newest to
an address that has fewer.

Making frames takes at most a tenth of the time: if a frame of a large fleet costs more, it is made less often.
"""

import asyncio
import zlib
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from poolhouse.crowd import Crowd
from poolhouse.daemon.http.frames import Maker, Wanted
from poolhouse.daemon.part import Hub

#: The least and most seconds between two frames, and the share of the time that making them may take.
INTERVAL, LONGEST_INTERVAL, SHARE = 1.0, 10.0, 0.1
#: The most views and the most streams at a time.
MOST_TOPICS, MOST_STREAMS = 128, 128
#: Seconds for which a view is made after a single request.
WANTED_SECONDS = 5.0
#: Tells a browser to reopen a stream after this many milliseconds.
_HELLO = b"retry: 2000\n\n"
#: The beginning of a compressed stream (RFC 1952): a gzip member without time or name.
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"


class Reader(Hashable, Protocol):
    """The connection of one stream."""

    @property
    def address(self) -> str:
        """The other side's address, without a port."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether the network has taken everything that was pushed."""
        ...

    def push(self, data: bytes) -> None:
        """Send a part of the answer."""
        ...

    def abort(self) -> None:
        """Close the connection at once."""
        ...


class Event(NamedTuple):
    """An event as it is sent, plain and compressed. Neither form depends on what was sent before."""

    plain: bytes = b""
    packed: bytes = b""

    @classmethod
    def of(cls, name: str, data: bytes) -> "Event":
        """The event of this name."""
        text = b"event: %b\ndata: %b\n\n" % (name.encode(), data)
        return cls(chunk(text), chunk(packed(text)))


@dataclass(slots=True)
class Had:
    """What a stream has been sent: the number of its newest frame, and of the sample of its past."""

    is_packed: bool
    number: int = 0
    past_number: int = -1


class Topic:
    """A view with readers.

    Attributes:
        address: The address that was the first to ask for it.
        number: How many frames were made.
        past_number: The number of the sample from which its past was made.
        readers: The streams, and what each has been sent.
        wanted_until: Until when it is made without a stream.
    """

    def __init__(self, address: str = "") -> None:
        self.address = address
        self.number = 0
        self.past_number = -1
        self.readers: dict[Reader, Had] = {}
        self.wanted_until = 0.0
        self._frame = self._past = b""
        self._frame_event, self._past_event = Event(), Event()

    @property
    def text(self) -> bytes:
        """The newest frame with its past, as JSON; empty before the first."""
        return self._frame[:-1] + b',"past":' + self._past + b"}" if self._past else self._frame

    def take(self, frame: bytes) -> None:
        """Store a new frame."""
        self._frame = frame
        self.number += 1
        self._frame_event = Event.of("frame", frame)

    def take_past(self, past: bytes, number: int) -> None:
        """Store the past as of another sample; empty if there is none."""
        self._past = past
        self.past_number = number
        self._past_event = Event.of("past", past) if past else Event()

    def push(self, reader: Reader) -> None:
        """Send a stream the newest frame if it lacks it and is ready."""
        had = self.readers.get(reader)
        if had is None or had.number == self.number or not reader.is_ready:
            return
        events = (
            [self._frame_event] if had.past_number == self.past_number else [self._frame_event, self._past_event]
        )
        had.number, had.past_number = self.number, self.past_number
        reader.push(b"".join(event.packed if had.is_packed else event.plain for event in events))


class Live:
    """All topics.

    Attributes:
        refused: How many streams and views were refused, or closed to make room.
        interval: The present interval between frames, in seconds.
    """

    def __init__(self, hub: Hub) -> None:
        self.refused = 0
        self.interval = INTERVAL
        self._hub = hub
        self._topics: dict[Wanted, Topic] = {}
        #: The topics by the address that was the first to ask for each, and the streams by theirs.
        self._askers: Crowd[Wanted] = Crowd(MOST_TOPICS)
        self._streams: Crowd[Reader] = Crowd(MOST_STREAMS)
        #: The view of each stream.
        self._wanted: dict[Reader, Wanted] = {}
        self._task: asyncio.Task[None] | None = None
        self._made: asyncio.Event = asyncio.Event()
        self._hurry: asyncio.Event = asyncio.Event()
        self._is_closed = False

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    async def frame(self, wanted: Wanted, address: str) -> Topic | None:
        """The topic, with a frame; ``None`` if there are too many topics, or if the frame cannot be made.

        Args:
            wanted: The view.
            address: Who asks.
        """
        topic = self._obtain(wanted, address)
        if topic is None:
            self.refused += 1
            return None
        topic.wanted_until = self._hub.clock.monotonic() + max(WANTED_SECONDS, 2 * self.interval)
        if not topic.number:
            await self._made.wait()
        return topic if topic.number else None

    def has_room(self, wanted: Wanted, address: str) -> bool:
        """Whether there is room for one more stream to an address; a refusal is counted."""
        if self._streams.has_room_for(address) and self._obtain(wanted, address) is not None:
            return True
        self.refused += 1
        return False

    def open(self, wanted: Wanted, reader: Reader, *, is_packed: bool = False) -> bool:
        """Start a stream, as gzip if it `is_packed`. Returns whether there is room; if so, call `leave` later."""
        topic = self._obtain(wanted, reader.address)
        if topic is None or not self._has_stream_for(reader.address):
            return False
        self._streams.add(reader, reader.address)
        self._wanted[reader] = wanted
        topic.readers[reader] = Had(is_packed)
        reader.push(chunk(_GZIP_HEAD + packed(_HELLO) if is_packed else _HELLO))
        topic.push(reader)
        return True

    def leave(self, wanted: Wanted, reader: Reader) -> None:
        """End a stream; nothing happens if it has ended before."""
        self._streams.discard(reader)
        self._wanted.pop(reader, None)
        topic = self._topics.get(wanted)
        if topic is not None:
            topic.readers.pop(reader, None)

    def close(self) -> None:
        """Stop making frames."""
        self._is_closed = True
        self._made.set()
        if self._task is not None:
            self._task.cancel()

    def _obtain(self, wanted: Wanted, address: str) -> Topic | None:
        topic = self._topics.get(wanted)
        if topic is None:
            if self._is_closed or not self._has_topic_for(address):
                return None
            topic = self._topics[wanted] = Topic(address)
            self._askers.add(wanted, address)
        if not topic.number:
            self._hurry.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return topic

    def _has_stream_for(self, address: str) -> bool:
        """Whether there is room for another stream, perhaps that of the address that has the most."""
        if self.streams < MOST_STREAMS:
            return True
        reader = next(self._streams.of_largest_but(address), None)
        if reader is None:
            return False
        self._close(reader)
        return True

    def _has_topic_for(self, address: str) -> bool:
        """Whether there is room for another topic, perhaps that of the address that has the most.

        A topic that other addresses read too keeps its place.
        """
        if len(self._topics) < MOST_TOPICS:
            return True
        for wanted in self._askers.of_largest_but(address):
            topic = self._topics[wanted]
            if all(reader.address == topic.address for reader in topic.readers):
                for reader in list(topic.readers):
                    self._close(reader)
                self._drop(wanted)
                return True
        return False

    def _close(self, reader: Reader) -> None:
        self.refused += 1
        self.leave(self._wanted[reader], reader)
        reader.abort()

    def _drop(self, wanted: Wanted) -> None:
        del self._topics[wanted]
        self._askers.discard(wanted)

    async def _run(self) -> None:
        """Make frames as long as there are readers."""
        while self._topics:
            rest = await self._turn() / SHARE
            self.interval = min(LONGEST_INTERVAL, max(INTERVAL, rest))
            rest = min(self.interval, rest)
            # A view that is opened during this pause is made at its end, instead of one interval later.
            await asyncio.sleep(rest)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.interval - rest):
                    await self._hurry.wait()
            self._forget()

    async def _turn(self) -> float:
        """Make and send the frames of all topics. Returns the CPU seconds that this took."""
        self._hurry.clear()
        maker = Maker(self._hub)
        for wanted, topic in list(self._topics.items()):
            try:
                topic.take((await maker.frame(wanted)).encode())
                if topic.past_number != (number := self._hub.fleet.timelines.number):
                    topic.take_past((await maker.past(wanted)).encode(), number)
                for reader in list(topic.readers):
                    topic.push(reader)
                    await maker.pause()
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"a frame of {wanted.place.path} failed", "exception": error}
                )
        made, self._made = self._made, asyncio.Event()
        made.set()
        return maker.spent

    def _forget(self) -> None:
        """Forget topics without readers."""
        now = self._hub.clock.monotonic()
        for wanted, topic in list(self._topics.items()):
            if not topic.readers and topic.wanted_until <= now:
                self._drop(wanted)


def chunk(data: bytes) -> bytes:
    r"""A chunk of an answer as it is sent (RFC 9112, section 7.1).

    >>> chunk(b"data: 1\n\n")
    b'9\r\ndata: 1\n\n\r\n'
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


def packed(data: bytes) -> bytes:
    """A part of a compressed stream (RFC 1951), made once for all streams.

    It depends on nothing that was sent before, and ends at a byte boundary, so that any other part may follow.

    >>> zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed(b"one, ") + packed(b"two"))
    b'one, two'
    """
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
