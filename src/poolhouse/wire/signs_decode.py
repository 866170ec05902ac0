"""Decodes signs from the payloads of their parts: first with ids of names, then, given the names, as readings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from struct import error as struct_error
from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.meter.histogram import Histogram, bucket_count
from poolhouse.meter.signs import (
    MOST_NUMBERS,
    ConnectErrors,
    Finding,
    Looks,
    PoolSigns,
    ProcessSigns,
    SiteReading,
)
from poolhouse.wire.signs import (
    CAUSE_BYTES,
    FINDING,
    FINDING_NUMBERS,
    HAS_TROUBLE,
    IS_COARSE,
    KNOWN_NAMES,
    LARGEST_IN_USE,
    NAME,
    NAME_BYTES,
    NAME_ID,
    NUMBER,
    POOL,
    POOL_NUMBERS,
    PROCESS,
    PROCESS_NUMBERS,
    SECTION,
    SITE_NUMBERS,
    SITE_TROUBLE,
    SITES,
    SITES_KEY,
    TROUBLE,
    TROUBLE_NUMBERS,
    USE_SCALE,
)

_NO_TROUBLE = (0, 0, 0)

#: The names that a receiver has got so far, by their ids.
Names = Mapping[int, str]


class RawSite(NamedTuple):
    """A `SiteReading` as it is sent."""

    #: The id of the site's name.
    id: int
    open: int
    oldest_ms: int
    returned: int
    held_ns: int
    waited_ns: int
    busy: int
    idle: int
    #: The id of the line where most of the idle looks found the site's holders; 0 for none.
    idle_id: int
    collected: int
    asks: int
    ended: int
    #: The site's use times, for `decode_use`; empty if they are not known.
    use: bytes

    def reading(self, names: Names) -> SiteReading:
        """The reading.

        Raises:
            PacketError: If the site's use times are malformed.
        """
        return SiteReading(
            name_of(self.id, names),
            self.open,
            self.oldest_ms / 1e3,
            self.returned,
            self.collected,
            self.held_ns / 1e9,
            self.waited_ns / 1e9,
            Looks(self.busy, self.idle, self.asks, self.ended),
            name_of(self.idle_id, names),
            decode_use(self.use) if self.use else None,
        )


class RawSigns(NamedTuple):
    """The signs in the parts of one process."""

    #: The fields of `wire.signs.PROCESS_NUMBERS`.
    process: tuple[int, ...] | None
    #: The fields of `POOL_NUMBERS` and of `TROUBLE_NUMBERS`, by the pools' keys.
    pools: dict[int, tuple[int, ...]]
    trouble: dict[int, tuple[int, ...]]
    #: The sites of each pool by their ids.
    sites: dict[int, dict[int, RawSite]]
    findings: list[tuple[str, tuple[int, ...], tuple[float, ...]]]

    def process_signs(self, names: Names) -> ProcessSigns | None:
        """The process's own signs; ``None`` if there are none."""
        if self.process is None:
            return None
        looks, late, stalled, longest, made, stall_line, fork_line = self.process
        lines = name_of(stall_line, names), name_of(fork_line, names)
        return ProcessSigns(looks, late, stalled / 1e3, longest / 1e3, *lines, made)

    def pool_signs(self, key: int, names: Names) -> PoolSigns | None:
        """The signs of the pool of this key; ``None`` if there are none.

        Raises:
            PacketError: If a site's use times are malformed.
        """
        numbers, sites = self.pools.get(key), self.sites.get(key, {})
        if numbers is None and not sites:
            return None
        _, target, made_at, looks, looks_waiting, used_sum, waiting_sum = numbers or (key, *[0] * 6)
        _, *errors, inherited, dead = self.trouble.get(key, (key, *[0] * 11))
        readings = [site.reading(names) for site in sites.values()]
        return PoolSigns(
            name_of(target, names),
            name_of(made_at, names),
            looks,
            looks_waiting,
            used_sum,
            waiting_sum,
            ConnectErrors(*errors),
            inherited,
            dead,
            tuple(sorted(readings, key=lambda site: -site.held_s)),
        )

    def process_findings(self, names: Names) -> tuple[Finding, ...]:
        """The process's findings."""
        return tuple(
            Finding(cause, key, name_of(site, names), name_of(line, names), age / 1e3, numbers)
            for cause, (key, site, line, age), numbers in self.findings
        )


def name_of(name: int, names: Names) -> str:
    """The name of this id; the id's digits in brackets until the name has arrived.

    >>> name_of(0, {}), name_of(0x2a0573ce4a3571ee, {}), name_of(7, {7: "app/a.py:1 in f"})
    ('', '[2a0573ce4a3571ee]', 'app/a.py:1 in f')
    """
    if not name:
        return ""
    return names.get(name) or KNOWN_NAMES.get(name) or f"[{name:016x}]"


def depth_of(payload: bytes) -> int:
    """For how many reports, the payload's own included, a reader keeps the state; 0 for an empty payload."""
    return payload[0] if payload else 0


class Told(NamedTuple):
    """The part of a payload that is decoded as soon as it arrives."""

    names: list[tuple[int, str]]
    #: Whether the process has findings; ``None`` if the payload has no section of the process.
    has_findings: bool | None


def told_names(payload: bytes) -> list[tuple[int, str]]:
    """The names in a payload.

    Raises:
        PacketError: As `scanned`.
    """
    return scanned(payload).names


def scanned(payload: bytes) -> Told:
    """The names in a payload, after a check that its sections fill it; fast enough for every arriving payload.

    Raises:
        PacketError: If they do not, or if a name is not text or too long; ``offset`` counts from the payload's
            first byte.
    """
    names: list[tuple[int, str]] = []
    has_process = has_findings = False
    at, size, header = 1, len(payload), SECTION.unpack_from
    while at < size:  # `_sections` inlined, for speed.
        if at + SECTION.size > size:
            raise PacketError("section's header cut short", at)
        tag, length = header(payload, at)
        at += SECTION.size
        end = at + length
        if end > size:
            raise PacketError(f"section {tag} of {length} bytes cut short", at)
        if tag == NAME:
            names.append(_told_name(payload, at, end))
        elif tag == PROCESS:
            has_process = True
        elif tag == FINDING:
            has_findings = True
        at = end
    return Told(names, has_findings if has_process or has_findings else None)


def decode_signs(payloads: Iterable[bytes]) -> RawSigns:
    """The signs in payloads of one process, the newest first: a newer state of a site hides the older ones.

    The findings are those of the newest payload with a section of the process.

    Raises:
        PacketError: If a payload is malformed.
    """
    process: tuple[int, ...] | None = None
    pools: dict[int, tuple[int, ...]] = {}
    trouble: dict[int, tuple[int, ...]] = {}
    all_sites: dict[int, dict[int, RawSite]] = {}
    findings: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = []
    for payload in payloads:
        is_first = process is None
        for tag, at, end in _sections(payload):
            try:
                if tag == SITES:
                    key, rows = _sites(payload, at, end)
                    sites = all_sites.setdefault(key, {})
                    for site in rows:
                        sites.setdefault(site.id, site)
                elif tag == POOL:
                    numbers = POOL_NUMBERS.unpack_from(payload[at:end])
                    pools.setdefault(numbers[0], numbers)
                elif tag == TROUBLE:
                    numbers = TROUBLE_NUMBERS.unpack_from(payload[at:end])
                    trouble.setdefault(numbers[0], numbers)
                elif tag == PROCESS and is_first:
                    process = PROCESS_NUMBERS.unpack_from(payload[at:end])
                elif tag == FINDING and is_first:
                    findings.append(_finding(payload[at:end]))
            except (struct_error, UnicodeDecodeError) as error:
                raise PacketError(f"section {tag}: {error}", at) from None
    return RawSigns(process, pools, trouble, all_sites, findings)


def decode_sites(payloads: Sequence[bytes]) -> list[RawSite]:
    """All sites of all pools in payloads of one process, the newest payload first; each site of a pool once.

    Raises:
        PacketError: If a payload is malformed.
    """
    found = [
        (key, site)
        for payload in payloads
        for tag, at, end in _sections(payload)
        if tag == SITES
        for key, sites in (_sites(payload, at, end),)
        for site in sites
    ]
    if len(payloads) == 1:
        return [site for _, site in found]
    # The first of each wins: it is the newest.
    return list({(key, site.id): site for key, site in reversed(found)}.values())


def decode_targets(payloads: Iterable[bytes]) -> dict[int, int]:
    """The id of each pool's target, by the pool's key, from payloads of one process, the newest first.

    Raises:
        PacketError: If a payload is malformed.
    """
    targets: dict[int, int] = {}
    for payload in payloads:
        for tag, at, end in _sections(payload):
            if tag == POOL:
                if end - at < POOL_NUMBERS.size:
                    raise PacketError("pool cut short", at)
                numbers = POOL_NUMBERS.unpack_from(payload, at)
                targets.setdefault(numbers[0], numbers[1])
    return targets


def decode_use(data: bytes) -> Histogram:
    """The use times of a site. The sum is not sent, so it is estimated from the buckets' middles.

    Raises:
        PacketError: If the use times are malformed.
    """
    first = data[0] & ~IS_COARSE
    scale = USE_SCALE - 1 if data[0] & IS_COARSE else USE_SCALE
    numbers, number, shift = [], 0, 0
    for byte in data[1:]:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < IS_COARSE:
            numbers.append(number)
            number, shift = 0, 0
    if (
        shift
        or len(numbers) < 2
        or max(numbers) > LARGEST_IN_USE
        or first + len(numbers) - 2 > bucket_count(scale)
    ):
        raise PacketError("not the use times of a site")
    use = Histogram(scale)
    use.zero, longest_us, *counts = numbers
    use.max_ns = longest_us * 1000
    use.counts[first : first + len(counts)] = counts
    use.estimate_sum()
    return use


def _sections(payload: bytes) -> Iterator[tuple[int, int, int]]:
    """Tag, begin and end of each section."""
    at, size = 1, len(payload)
    while at < size:
        if at + SECTION.size > size:
            raise PacketError("section's header cut short", at)
        tag, length = SECTION.unpack_from(payload, at)
        at += SECTION.size
        if at + length > size:
            raise PacketError(f"section {tag} of {length} bytes cut short", at)
        yield tag, at, at + length
        at += length


def _told_name(payload: bytes, at: int, end: int) -> tuple[int, str]:
    begin = at + NAME_ID.size
    if not 0 < end - begin <= NAME_BYTES:
        raise PacketError(f"a name of {end - begin} bytes", at)
    try:
        return NAME_ID.unpack_from(payload, at)[0], payload[begin:end].decode()
    except UnicodeDecodeError as error:
        raise PacketError(f"name that is not text: {error}", at) from None


def _sites(payload: bytes, at: int, end: int) -> tuple[int, list[RawSite]]:
    """The key of the pool, and its sites."""
    if end - at < SITES_KEY.size:
        raise PacketError("sites without their pool", at)
    (key,) = SITES_KEY.unpack_from(payload, at)
    at += SITES_KEY.size
    unpack, size, make = SITE_NUMBERS.unpack_from, SITE_NUMBERS.size, RawSite._make
    found = []
    while at < end:
        use_at = at + size
        if use_at > end:
            raise PacketError("site cut short", at)
        numbers = unpack(payload, at)
        trouble = _NO_TROUBLE
        if numbers[0] & HAS_TROUBLE:
            if use_at + SITE_TROUBLE.size > end:
                raise PacketError("site cut short", at)
            trouble = SITE_TROUBLE.unpack_from(payload, use_at)
            use_at += SITE_TROUBLE.size
        at = use_at + numbers[1]
        if at > end:
            raise PacketError("use times cut short", use_at)
        found.append(make((*numbers[2:], *trouble, payload[use_at:at])))
    return key, found


def _finding(data: bytes) -> tuple[str, tuple[int, ...], tuple[float, ...]]:
    *ids, count, cause_bytes = FINDING_NUMBERS.unpack_from(data)
    cause_at = FINDING_NUMBERS.size + count * NUMBER.size
    if count > MOST_NUMBERS or cause_bytes > CAUSE_BYTES or cause_at + cause_bytes > len(data):
        raise PacketError(f"finding of {count} numbers and a cause of {cause_bytes} bytes")
    numbers = (NUMBER.unpack_from(data, FINDING_NUMBERS.size + n * NUMBER.size)[0] for n in range(count))
    cause = data[cause_at : cause_at + cause_bytes].decode()
    return cause, tuple(ids), tuple(number if isfinite(number) else 0.0 for number in numbers)
