"""Requests consoles: what each of them is sent, and how fast."""

import asyncio
from collections.abc import Hashable, Iterable
from itertools import chain, count
from math import ceil

from poolhouse.clock import Clock
from poolhouse.export.collectd import HOST_INSTANCE, console_datagram, value_lists
from poolhouse.feed.protocol.chunks import datagrams
from poolhouse.feed.protocol.frame import Frame, Server, encode_frame
from poolhouse.feed.protocol.subscribers import LIFETIME, Subscriber
from poolhouse.feed.wayback import Via
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.names import plugin_instance

#: Datagrams that are sent before the console is given time to read them, and that time in seconds: a socket's
#: buffer of the usual size holds about 180 of them.
BURST = 32
PAUSE = 0.002
#: Seconds that may go into snapshots at once: reports are read in time however many programs are asked for.
BUDGET = 0.2
#: The share of the time that may go into the snapshots of one program: one of thousands of processes is told less
#: often, and its consoles are told how often.
SHARE = 0.2
#: Value lists that a console of the earlier system is sent in a second: of a large fleet it hears less often.
VALUES_PER_SECOND = 2_000


class Consoles:
    """Sends each console what it asked for. Times are monotonic seconds."""

    def __init__(self, fleet: Fleet, server: Server, clock: Clock) -> None:
        self._fleet = fleet
        self._server = server
        self._clock = clock
        self._frames = count()
        self._values_due = 0.0
        #: What is being sent to a console; it is sent nothing more meanwhile.
        self._sending: dict[Hashable, asyncio.Task[None]] = {}
        #: When each console was sent a snapshot last.
        self._served: dict[Hashable, float] = {}
        #: Until when a program whose snapshot took long is not told again.
        self._rests: dict[str | None, float] = {}

    def serve(self, consoles: Iterable[Subscriber]) -> None:
        """Send these consoles the fleet as it is, in the background.

        Those that wait longest come first; those for whom no time is left are to be served next time. Consoles of
        the earlier system are sent nothing before their interval is over.
        """
        now, wall_time = self._clock.monotonic(), self._clock.wall_time()
        free = [one for one in consoles if _key(one) not in self._sending]
        earlier = [one for one in free if one.nonce is None]
        if earlier and now >= self._values_due:
            values = self._values(now, wall_time)
            for console in earlier:
                self._send(console, values)
        self._served = {key: at for key, at in self._served.items() if at > now - LIFETIME}
        self._rests = {program: until for program, until in self._rests.items() if until > now}
        packed: dict[str | None, list[bytes]] = {}
        for console in sorted(free, key=lambda one: self._served.get(_key(one), 0.0)):
            if console.nonce is None or console.program in self._rests.keys() - packed.keys():
                continue
            if console.program not in packed:
                if self._clock.monotonic() - now > BUDGET:
                    continue
                packed[console.program] = self._packed(console.program, wall_time)
            self._served[_key(console)] = now
            self._send(console, datagrams(packed[console.program], console.nonce, next(self._frames)))

    def _packed(self, program: str | None, wall_time: float) -> list[bytes]:
        """The fleet as it is, with the processes of a program."""
        now = self._clock.monotonic()
        snapshot = self._fleet.snapshot(now, wall_time, program)
        cost = self._clock.monotonic() - now
        interval = max(self._server.interval, ceil(cost / SHARE))
        if interval > self._server.interval:
            # The next tick may come a little early.
            self._rests[program] = now + interval - self._server.interval / 2
        return encode_frame(Frame(self._server._replace(interval=interval), snapshot))

    def _values(self, now: float, wall_time: float) -> list[bytes]:
        """The value lists for consoles of the earlier system, a datagram each."""
        rows = chain(
            ((row.name, HOST_INSTANCE, row) for row in self._fleet.hosts(now)),
            ((host, plugin_instance(program), row) for host, program, row in self._fleet.host_programs(now)),
        )
        lists = [values for host, instance, row in rows for values in value_lists(host, instance, row, wall_time)]
        interval = max(self._server.interval, ceil(len(lists) / VALUES_PER_SECOND))
        self._values_due = now + interval - self._server.interval / 2  # The next tick may come a little early.
        told = (console_datagram(values._replace(interval=interval)) for values in lists)
        return [datagram for datagram in told if datagram is not None]

    def _send(self, console: Subscriber, sent: Iterable[bytes]) -> None:
        key = _key(console)
        task = asyncio.get_running_loop().create_task(_send_slowly(console, sent))
        self._sending[key] = task
        task.add_done_callback(lambda _: self._sending.pop(key))


def _key(console: Subscriber) -> Hashable:
    return console.via, console.address


async def _send_slowly(console: Subscriber, sent: Iterable[bytes]) -> None:
    assert isinstance(console.via, Via)
    for number, datagram in enumerate(sent, 1):
        console.via.send(datagram, console.address)
        if number % BURST == 0:
            await asyncio.sleep(PAUSE)
