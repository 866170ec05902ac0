"""The lines of a program that hold its connections: sums over its processes.

The sites of living processes are decoded on request. The sites of processes that have left are added to their
program's past. If a process returns, its sites are subtracted again, because its new reports include them. If it
was forgotten meanwhile, its first reading of each site is subtracted.

Names arrive rarely and are kept for the program: the same line has the same id in every process.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.fleet.names import clean_text
from poolhouse.fleet.signs import Signs
from poolhouse.fleet.snapshot import Holder
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import OTHER_SITES, Looks, SiteReading
from poolhouse.wire.signs import name_id
from poolhouse.wire.signs_decode import RawSite, decode_sites, decode_use, name_of

#: The most names and past sites of one program that are kept.
MOST_NAMES, MOST_SITES = 512, 256
#: How many lines of each program are included in the fleet's.
TOP_LINES = 5
#: The sizes in bytes of a program's holders, of a name and of a past site; measured with tracemalloc.
HOLDERS_BYTES, NAME_BYTES, SITE_BYTES = 600, 240, 450

_OTHER = name_id(OTHER_SITES)


class SiteSum:
    """The sum of one site over several processes and pools."""

    __slots__ = (
        "asks",
        "busy",
        "collected",
        "ended",
        "held",
        "id",
        "idle",
        "idle_line",
        "idle_most",
        "oldest_ms",
        "open",
        "process",
        "processes",
        "returned",
        "uses",
        "waited",
    )

    def __init__(self, name: int) -> None:
        self.id = name
        self.open = self.oldest_ms = self.returned = self.collected = self.held = self.waited = 0
        self.busy = self.idle = self.asks = self.ended = 0
        self.idle_line = self.idle_most = 0
        self.processes = 0
        #: The process that was added last.
        self.process: object = None
        #: Use times, encoded as in reports.
        self.uses: list[bytes] = []

    def add(self, site: RawSite, process: object) -> None:
        """Add one pool's reading of the site; all pools of a process must come one after the other."""
        _, is_open, oldest, returned, held, waited, busy, idle, line, collected, asks, ended, use = site
        if is_open:
            self.open += is_open
            if oldest > self.oldest_ms:
                self.oldest_ms = oldest
        self.returned += returned
        self.held += held
        self.waited += waited
        self.busy += busy
        if idle:
            self.idle += idle
            if idle > self.idle_most:
                self.idle_line, self.idle_most = line, idle
        if collected or asks or ended:
            self.collected += collected
            self.asks += asks
            self.ended += ended
        if process is not self.process:
            self.process = process
            self.processes += 1
        if use:
            self.uses.append(use)

    def reading(self, names: Mapping[int, str], with_use: bool) -> SiteReading:
        """The reading; without use times, at a fraction of the cost."""
        use: Histogram | None = None
        for data in self.uses if with_use else ():
            with suppress(PacketError):
                more = decode_use(data)
                if use is None:
                    use = more
                else:
                    use.add(more)
        return SiteReading(
            name_of(self.id, names),
            self.open,
            self.oldest_ms / 1e3,
            self.returned,
            self.collected,
            self.held / 1e9,
            self.waited / 1e9,
            Looks(self.busy, self.idle, self.asks, self.ended),
            name_of(self.idle_line, names),
            use,
        )


class Line(NamedTuple):
    """The figures of one line of a program for exporters, at a fraction of the cost of a `Holder`."""

    program: str
    site: str
    #: Connections that it holds now, and how long it has held the oldest of them, in seconds.
    open: int = 0
    oldest_s: float = 0.0
    #: Connection-seconds, including those of processes that have left.
    held_s: float = 0.0


class PastSite(NamedTuple):
    """One site's figures from processes that have left."""

    #: Collected, returned, held ns, waited ns, looks that found a holder busy, idle, asking or ended.
    numbers: tuple[int, ...] = (0,) * 8
    use: Histogram | None = None


class Back:
    """A process that was forgotten and has returned, with the ids of the sites that it has reported since.

    It reports all sites within a number of parts: the largest in each, the others in turn.
    """

    __slots__ = ("parts", "sites")

    def __init__(self) -> None:
        self.sites: set[int] = set()
        self.parts = 32


class Holders:
    """The names and the past of one program.

    Attributes:
        names: The names that its processes sent, by id, the one sent longest ago first.
        past: The sites of processes that have left. Both are replaced as a whole, never changed.
    """

    __slots__ = ("names", "past")

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.past: dict[int, PastSite] = {}

    @property
    def size(self) -> int:
        """Their approximate size in bytes."""
        return HOLDERS_BYTES + NAME_BYTES * len(self.names) + SITE_BYTES * len(self.past)

    def learn(self, told: Iterable[tuple[int, str]]) -> int:
        """Store the names; return how many others had to be forgotten for them."""
        names, forgotten = self.names.copy(), 0
        for key, name in told:
            known = names.pop(key, None)
            if known is None and len(names) >= MOST_NAMES:
                del names[next(iter(names))]
                forgotten += 1
            names[key] = known if known is not None and known == name else clean_text(name)
        self.names = names
        return forgotten

    def retire(self, signs: Signs) -> int:
        """Add the sites of a process that leaves; return how many were merged into the sum of others."""
        beyond, past = 0, self.past.copy()
        for site in _sites(signs):
            place = site.id
            if place not in past and len(past) >= MOST_SITES:
                place = _OTHER
                beyond += 1
            past[place] = _plus(past.get(place, PastSite()), site, 1)
        self.past = past
        return beyond

    def bring_back(self, signs: Signs) -> None:
        """Subtract the sites of a process that returns."""
        self._take_out(_sites(signs))

    def take_back(self, signs: Signs, back: Back) -> None:
        """Subtract what a forgotten process reports now, once for each site."""
        told = [site for site in _sites(signs) if site.id not in back.sites]
        self._take_out(told)
        back.sites = back.sites | {site.id for site in told}
        back.parts -= 1

    def _take_out(self, sites: Iterable[RawSite]) -> None:
        past = self.past.copy()
        for site in sites:
            place = site.id if site.id in past else _OTHER
            if place in past:
                past[place] = _plus(past[place], site, -1)
        self.past = past

    def state(self, program: str, processes: list[Signs]) -> "HoldersState":
        """The present holders.

        Args:
            program: The program's name.
            processes: The signs of its living processes.
        """
        return HoldersState(program, processes, self.names, self.past)


class HoldersState(NamedTuple):
    """The holders of one program at one instant: taken at once, and summed later."""

    program: str
    processes: list[Signs]
    names: Mapping[int, str]
    past: dict[int, PastSite]

    def steps(self, most: int, with_use: bool = True) -> Iterator[list[Holder] | None]:
        """The `most` largest sites, in small steps: ``None`` after each process, and finally the list.

        Those with open holds come first, then those with the most connection-seconds. Without use times, at a
        fraction of the cost.
        """
        sums: dict[int, SiteSum] = {}
        for signs in self.processes:
            for site in _sites(signs):
                found = sums.get(site.id)
                if found is None:
                    name = site.id if len(sums) < 2 * MOST_SITES else _OTHER
                    found = sums.get(name) or sums.setdefault(name, SiteSum(name))
                found.add(site, signs)
            yield None
        for name in self.past:
            sums.setdefault(name, SiteSum(name))
        ordered = sorted(sums.values(), key=self._weight, reverse=True)
        yield [self._holder(one, with_use) for one in ordered[:most]]

    def lines(self, most: int) -> Iterator[list[Line] | None]:
        """The `most` largest sites in the same order and steps, without what exporters do not need."""
        sums: dict[int, list[int]] = {}
        for signs in self.processes:
            for site in _sites(signs):
                found = sums.get(site.id)
                if found is None and len(sums) >= 2 * MOST_SITES:
                    found = sums.setdefault(_OTHER, [0, 0, 0])
                if found is None:
                    sums[site.id] = [site.open, site.held_ns, site.oldest_ms]
                else:
                    found[0] += site.open
                    found[1] += site.held_ns
                    found[2] = max(found[2], site.oldest_ms)
            yield None
        for name, past in self.past.items():
            sums.setdefault(name, [0, 0, 0])[1] += past.numbers[2]
        ordered = sorted(sums.items(), key=_open_and_held, reverse=True)
        names = self.names
        yield [
            Line(self.program, name_of(name, names), is_open, oldest / 1e3, held / 1e9)
            for name, (is_open, held, oldest) in ordered[:most]
        ]

    def _weight(self, one: SiteSum) -> tuple[int, int]:
        return one.open, one.held + self._past_of(one).numbers[2]

    def _past_of(self, one: SiteSum) -> PastSite:
        return self.past.get(one.id) or PastSite()

    def _holder(self, one: SiteSum, with_use: bool) -> Holder:
        reading, past = one.reading(self.names, with_use), self._past_of(one)
        collected, returned, held, waited, *looks = past.numbers
        use = past.use if with_use else None
        if use is not None and reading.use is not None:
            use = use.copy()
            use.add(reading.use)
        return Holder(
            self.program,
            one.processes,
            reading._replace(
                site=clean_text(reading.site),
                returned=reading.returned + returned,
                collected=reading.collected + collected,
                held_s=reading.held_s + held / 1e9,
                waited_s=reading.waited_s + waited / 1e9,
                looks=Looks(*(now + then for now, then in zip(reading.looks, looks, strict=True))),
                use=use or reading.use,
            ),
        )


def _open_and_held(item: tuple[int, list[int]]) -> list[int]:
    return item[1]


def _sites(signs: Signs) -> list[RawSite]:
    """The sites of all pools of one process; empty if its payloads are malformed."""
    try:
        return decode_sites(signs.payloads)
    except PacketError:
        return []


def _plus(past: PastSite, site: RawSite, sign: int) -> PastSite:
    numbers = (
        site.collected,
        site.returned,
        site.held_ns,
        site.waited_ns,
        site.busy,
        site.idle,
        site.asks,
        site.ended,
    )
    use = past.use
    with suppress(PacketError):
        if site.use:
            more = decode_use(site.use)
            use = Histogram(more.scale) if use is None else use.copy()
            if sign > 0:
                use.add(more)
            else:
                use.subtract(more)
    return PastSite(tuple(max(0, a + sign * b) for a, b in zip(past.numbers, numbers, strict=True)), use)
