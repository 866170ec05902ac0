"""Clients of a service's nodes in virtual time: what each has done, and its reports.

Their datagrams are put together from one that was encoded, since thousands of schedules send many.
"""

from functools import lru_cache
from struct import Struct

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from poolhouse.wire.histogram import encode_histogram
from poolhouse.wire.layout import COUNTERS, GAUGES, KEY, POOL, POOLS, SIZES
from poolhouse.wire.parts import HEADER, PRIVATE
from poolhouse.wire.report import GOODBYE, HEAD, Report, ReportSums, encode_report

INTERVAL = 2.0
WALL = 1.7e9
#: A pool is told in so many reports after its end.
FAREWELLS = 5
#: The counters that clients use: checkouts, and connects.
CHECKOUTS, CONNECTS = 0, 1


def _template() -> tuple[bytes, bytes]:
    """One datagram up to its private part, and the bytes of its pool: all clients' datagrams are made of it."""
    empty = Histogram()
    pool = PoolReading(7, "db:5432/shop", "QueuePool", limits=Limits(10, 5, 0), counters=Counters(), use=empty)
    report = Report("web1", "nova", "1:abcdef", 1, 1, 1.0, WALL, INTERVAL, False, ReportSums(), (pool,))
    return encode_report(report)[0], encode_histogram(empty)


class Client:
    """One process: what it has done, and its reports."""

    def __init__(
        self, name: int, host: str, program: str, born: float, before: int, is_plain: bool, times: bool
    ) -> None:
        self.token = f"{name}:{name:06x}"
        self.host, self.program, self.born = host, program, born
        self.is_plain = is_plain
        #: Whether it tells its durations: reading them is most of a schedule's time.
        self.tells_times = times
        self.number = self.sequence = 0
        self.keys = 0
        #: By key: checkouts, connections in use, and how often its end was told (-1: it lives).
        self.pools: dict[int, list[int]] = {}
        self.ended = 0
        self.is_alive = True
        self.told_at = 0.0
        #: What it had done before the service began to count.
        self.before = before
        self.open_pool()
        self.pools[1][0] = before

    def open_pool(self) -> None:
        self.keys += 1
        self.pools[self.keys] = [0, 0, -1]

    def end_pool(self, key: int) -> None:
        self.pools[key][1:] = 0, 0

    @property
    def done(self) -> int:
        """All its checkouts."""
        return self.ended + sum(pool[0] for pool in self.pools.values())

    @property
    def living_done(self) -> int:
        """The checkouts of the pools that live."""
        return sum(pool[0] for pool in self.pools.values() if pool[2] < 0)

    @property
    def used(self) -> int:
        return sum(pool[1] for pool in self.pools.values())

    def report(self, now: float, goodbye: bool = False) -> list[bytes]:
        """The datagrams of its next report."""
        self.number += 1
        if self.is_plain:
            return self._plain(now)
        found = []
        count = len(self.pools)
        for place, (key, (done, used, told)) in enumerate(self.pools.items()):
            found.append(
                self._datagram(place, max(1, count), now, goodbye, key, done, 0 if goodbye else used, told < 0)
            )
        if not found:
            found.append(self._datagram(0, 1, now, goodbye, 0, 0, 0, False))
        self.sequence += len(found)
        for key, pool in list(self.pools.items()):
            if pool[2] >= 0:
                pool[2] += 1
                if pool[2] > FAREWELLS:
                    self.ended += pool[0]
                    del self.pools[key]
        return found

    def _datagram(
        self, place: int, count: int, now: float, goodbye: bool, key: int, done: int, used: int, is_open: bool
    ) -> bytes:
        private = HEAD.pack(
            1,
            (GOODBYE if goodbye else 0) | (2 if key else 0),
            place,
            count,
            self.sequence + place,
            self.number,
            now - self.born,
            WALL + now,
            INTERVAL,
            0,
            0,
        )
        if key:
            private += _pool(key, is_open and not goodbye, used, done, self.tells_times)
        head = _head(self.host, self.program, self.token)
        return head + HEADER.pack(PRIVATE, HEADER.size + len(private)) + private

    def _plain(self, now: float) -> list[bytes]:
        counters = Counters(checkouts=self.done, connects=self.done // 3, disconnects=0, invalidated=0)
        sums = ReportSums(1, Gauges(1, self.used, 0, 0), Limits(10, 5, 0), counters)
        return encode_report(
            Report(
                self.host, self.program, self.token, self.number, 0, now - self.born, WALL + now, INTERVAL, False,
                sums, (),
            ),
            "plain",
        )  # fmt: skip


_HISTOGRAM = Struct(">bQQQ")


def _private_at(datagram: bytes) -> int:
    at = 0
    while True:
        kind, length = HEADER.unpack_from(datagram, at)
        if kind == PRIVATE:
            return at
        at += length


_DATAGRAM, _EMPTY = _template()
_POOL_AT = _private_at(_DATAGRAM) + HEADER.size + HEAD.size
_NUMBERS = POOL.unpack_from(_DATAGRAM, _POOL_AT)
_STRINGS = _DATAGRAM[_POOL_AT + POOL.size : len(_DATAGRAM) - len(_EMPTY)]


@lru_cache(10_000)
def _pool(key: int, is_open: bool, used: int, done: int, tells_times: bool) -> bytes:
    """The bytes of a pool's reading."""
    numbers = list(_NUMBERS)
    numbers[KEY], numbers[POOLS] = key, int(is_open)
    numbers[GAUGES] = (1, used, 0, 0) if is_open else (0, 0, 0, 0)
    counters = [0] * len(Counters._fields)
    counters[CHECKOUTS], counters[CONNECTS] = done, done // 3
    numbers[COUNTERS] = counters
    if not tells_times:
        numbers[SIZES] = *_NUMBERS[SIZES][:2], 0, 0, 0
        return POOL.pack(*numbers) + _STRINGS
    return POOL.pack(*numbers) + _STRINGS + _HISTOGRAM.pack(3, done, 1000 * done, 1000 if done else 0)


@lru_cache(10_000)
def _head(host: str, program: str, token: str) -> bytes:
    """The earlier list of every datagram of a process: of it only the names are read."""
    datagram = encode_report(Report(host, program, token, 1, 1, 1.0, WALL, INTERVAL, False, ReportSums(), ()))[0]
    return datagram[: _private_at(datagram)]
