"""Signs as bytes: the payloads of the parts of kind `poolhouse.wire.parts.SIGNS`.

A payload is one byte, the depth, and then sections: ``tag u8 | length u16 | payload``, big-endian; the length
excludes these three bytes. A reader skips tags that it does not know, and extra bytes at the end of a section of
fixed length. ``docs/reference/wire.md`` has every byte.

All values are absolute, so a reader keeps the newest state of each site, and any part may be lost. The depth says
for how many reports a reader keeps it: as many as it takes to send everything once. A site is identified by eight
bytes of its name's digest; the name itself is sent rarely (`poolhouse.report.telling`).
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from struct import Struct

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import (
    MOST_NUMBERS,
    OTHER_SITES,
    UNKNOWN_SITE,
    Finding,
    PoolSigns,
    ProcessSigns,
    SiteReading,
)
from poolhouse.wire.names import utf8_name

#: The depth of a payload with everything: it replaces whatever was sent before.
WHOLE = 1
#: Added to every other depth, because a report may be lost.
SPARE_DEPTH = 1

#: Tags of sections.
PROCESS, POOL, SITES, NAME, FINDING, TROUBLE = range(1, 7)
SECTION = Struct(">BH")
#: looks, late looks, stalled ms, longest stall ms, pools made, ids of the lines of the stalled loop and the fork.
PROCESS_NUMBERS = Struct(">5I2Q")
#: key, ids of the target and of the line that made the pool, looks, looks with callers waiting, sums of the
#: connections used and of the callers waiting.
POOL_NUMBERS = Struct(">I2Q2I2Q")
#: key, `ConnectErrors`, inherited, dead; sent if any of them is not 0.
TROUBLE_NUMBERS = Struct(">I9I2I")
#: A section of sites begins with the key of their pool.
SITES_KEY = Struct(">I")
#: flags, bytes of use times, id, open, oldest ms, returned, held ns, waited ns, busy and idle looks, idle line.
SITE_NUMBERS = Struct(">BBQHI3Q2IQ")
#: The flag of a site with these further numbers: collected, looks asking and ended.
HAS_TROUBLE = 1
SITE_TROUBLE = Struct(">3I")
#: key, ids of site and line, age ms, how many numbers (doubles, which follow), bytes of the cause after them.
FINDING_NUMBERS = Struct(">I2QIBB")
NAME_ID = Struct(">Q")
NUMBER = Struct(">d")

#: The most bytes of a name and of a cause's name, and the most findings that a process sends.
NAME_BYTES = 120
CAUSE_BYTES = 32
MOST_FINDINGS = 4
#: The scale at which use times are sent: 30 buckets, each twice as wide as the one before. Coarser ones have -1.
USE_SCALE = 0
#: The largest number in use times: it takes seven bytes.
LARGEST_IN_USE = (1 << 49) - 1
#: The flag in the first byte of use times that are at scale -1.
IS_COARSE = 0x80

_U8, _U16, _U32, _U64 = (1 << 8) - 1, (1 << 16) - 1, (1 << 32) - 1, (1 << 64) - 1
_ELLIPSIS = "…".encode()


@lru_cache(maxsize=1024)
def name_id(name: str) -> int:
    """The id of a name: eight bytes of its blake2b digest, the same in every process; 0 for no name.

    >>> f"{name_id('app/views.py:88 in checkout'):x}"
    '482d9bc1c58165dc'
    """
    if not name:
        return 0
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1


#: Names that every reader knows by their ids.
KNOWN_NAMES = {name_id(name): name for name in (UNKNOWN_SITE, OTHER_SITES)}


#: The signs of a pool, and one of its sites, with the pool's key.
KeyedSigns = tuple[int, PoolSigns]
KeyedSite = tuple[int, SiteReading]


class Selection:
    """Which pools, sites and names a report should send, in which order; afterwards, which of them it has sent.

    Attributes:
        pools: The pools' keys and signs; those at the end may not fit.
        sites: The sites with their pools' keys, the most important first; those at the end may not fit.
        told_before: How many reports ago, counting this one, each of the `pools` and then each of the `sites` was
            last sent, 0 for never: this matters for those that do not fit now. Empty if nothing was sent before.
        depth: The same for everything else.
        new_names: Names that are sent together with whatever uses them.
        names_in_turn: Names that are sent again.
        is_names_turn: Whether the first of `names_in_turn` precedes the sites without open holds, which may leave
            no room.
        may_add: Whether the report may add datagrams for the sites.
        told_pools, told_sites, told_names: Those that had room.
    """

    def __init__(
        self,
        pools: Sequence[KeyedSigns],
        sites: Sequence[KeyedSite],
        new_names: frozenset[str],
        names_in_turn: Sequence[str] = (),
        *,
        told_before: Sequence[int] = (),
        depth: int = 0,
        is_names_turn: bool = False,
        may_add: bool = True,
    ) -> None:
        self.pools = pools
        self.told_before = told_before
        self.depth = depth
        self.sites = sites
        self.new_names = new_names
        self.names_in_turn = names_in_turn
        self.is_names_turn = is_names_turn
        self.may_add = may_add
        self.told_pools: list[int] = []
        self.told_sites: list[KeyedSite] = []
        self.told_names: list[str] = []

    def depth_of(self, payloads: int) -> int:
        """For how many reports a reader has to keep earlier state, if this report sends so many payloads."""
        pools = len(self.pools)
        untold = (
            *self.told_before[len(self.told_pools) : pools],
            *self.told_before[pools + len(self.told_sites) :],
        )
        depth = max(self.depth, *untold, WHOLE if payloads == 1 else WHOLE + 1, WHOLE)
        return WHOLE if depth == WHOLE else min(depth + SPARE_DEPTH, _U8)


def all_sites(pools: Iterable[KeyedSigns]) -> list[KeyedSite]:
    """The sites of these pools: those with open holds first, then by connection-seconds."""
    sites = [(key, site) for key, signs in pools for site in signs.sites]
    return sorted(sites, key=lambda told: (not told[1].open, -told[1].held_s))


def all_names(
    process: ProcessSigns | None, findings: Iterable[Finding], pools: Iterable[KeyedSigns]
) -> dict[str, None]:
    """The names to which these refer, each once, except those that every reader knows."""
    names = dict.fromkeys(chain.from_iterable(_names_of_finding(finding) for finding in findings))
    for _, signs in pools:
        names |= dict.fromkeys((signs.target, signs.made_at))
        names |= dict.fromkeys(chain.from_iterable(map(_names_of_site, signs.sites)))
    if process is not None:
        names |= dict.fromkeys((process.stall_line, process.fork_line))
    return {name: None for name in names if name and name_id(name) not in KNOWN_NAMES}


def encode_signs(
    process: ProcessSigns | None, findings: Sequence[Finding], selection: Selection, rooms: Sequence[int]
) -> list[bytes]:
    """The payloads of a report's parts, the first with the process and its findings; none if there are no signs.

    Args:
        process: The process's own signs.
        findings: The process's findings; at most `MOST_FINDINGS` are sent.
        selection: The pools, sites and names to send; those that had room are noted in it.
        rooms: The most bytes of each payload.
    """
    if not rooms or (process is None and not findings and not selection.pools):
        return []
    writer = _Writer(rooms, selection)
    if process is not None:
        writer.tell([_section(PROCESS, _process(process))], (process.stall_line, process.fork_line))
    for finding in findings[:MOST_FINDINGS]:
        writer.tell([_section(FINDING, _finding(finding))], _names_of_finding(finding))
    for key, signs in selection.pools:
        if not writer.tell(list(_pool(key, signs)), (signs.target, signs.made_at)):
            break
        selection.told_pools.append(key)
    return writer.tell_sites()


class _Writer:
    """Fills one payload after another."""

    def __init__(self, rooms: Sequence[int], selection: Selection) -> None:
        self._rooms = rooms
        self._selection = selection
        self._told: dict[str, None] = {}
        #: Each payload's sections, its sites by their pools' keys, and the bytes left in the last one.
        self._sections: list[list[bytes]] = []
        self._sites: list[dict[int, list[bytes]]] = []
        self._left = 0
        self._turn_page()

    def tell(self, sections: list[bytes], names: Iterable[str] = ()) -> bool:
        """Add these sections, and those of the names that are new; False if there is no room."""
        due = self._due(names)
        sections = sections + list(map(_name, due))
        if not self._make_room(sum(map(len, sections))):
            return False
        self._sections[-1] += sections
        self._told |= dict.fromkeys(due)
        return True

    def tell_sites(self) -> list[bytes]:
        """Add the sites and the names in turn; return the payloads."""
        selection = self._selection
        awaits_names = selection.is_names_turn
        for key, site in selection.sites:
            if awaits_names and not site.open:
                awaits_names = False
                self._tell_names(selection.names_in_turn[:1])
            if not self._tell_site(key, site):
                break
            selection.told_sites.append((key, site))
        self._tell_names(selection.names_in_turn)
        selection.told_names += self._told
        depth = bytes([selection.depth_of(len(self._sections))])
        return [
            depth
            + b"".join(sections)
            + b"".join(_section(SITES, SITES_KEY.pack(key) + b"".join(rows)) for key, rows in sites.items())
            for sections, sites in zip(self._sections, self._sites, strict=True)
        ]

    def _tell_site(self, key: int, site: SiteReading) -> bool:
        row = _site(site)
        due = self._due(_names_of_site(site))
        names = list(map(_name, due))
        if not self._make_room(len(row) + sum(map(len, names)), key):
            return False
        self._sites[-1].setdefault(key, []).append(row)
        self._sections[-1] += names
        self._told |= dict.fromkeys(due)
        return True

    def _tell_names(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._told and self.tell([_name(name)]):
                self._told[name] = None

    def _due(self, names: Iterable[str]) -> list[str]:
        new = self._selection.new_names
        return [name for name in dict.fromkeys(names) if name in new and name not in self._told]

    def _make_room(self, size: int, key: int | None = None) -> bool:
        """Reserve this many bytes, in the next payload if this one is full; False if there is no room.

        `key` is the key of the pool, if the bytes are those of a site: the pool's section may need its header too.
        """
        header = SECTION.size + SITES_KEY.size if key is not None else 0
        needed = size if key in self._sites[-1] else size + header
        if needed > self._left:
            if len(self._sections) == len(self._rooms):
                return False
            self._turn_page()
            needed = size + header
        self._left -= needed
        return self._left >= 0

    def _turn_page(self) -> None:
        self._left = self._rooms[len(self._sections)] - 1
        self._sections.append([])
        self._sites.append({})


def _section(tag: int, payload: bytes) -> bytes:
    return SECTION.pack(tag, len(payload)) + payload


def _process(signs: ProcessSigns) -> bytes:
    return PROCESS_NUMBERS.pack(
        _clamped(signs.looks, _U32),
        _clamped(signs.late_looks, _U32),
        _clamped(round(signs.stalled_s * 1e3), _U32),
        _clamped(round(signs.longest_stall_s * 1e3), _U32),
        _clamped(signs.pools_made, _U32),
        name_id(signs.stall_line),
        name_id(signs.fork_line),
    )


def _pool(key: int, signs: PoolSigns) -> Iterator[bytes]:
    numbers = POOL_NUMBERS.pack(
        _clamped(key, _U32),
        name_id(signs.target),
        name_id(signs.made_at),
        _clamped(signs.looks, _U32),
        _clamped(signs.looks_waiting, _U32),
        _clamped(signs.used_sum, _U64),
        _clamped(signs.waiting_sum, _U64),
    )
    yield _section(POOL, numbers)
    trouble = (*signs.connect_errors, signs.inherited, signs.dead)
    if any(trouble):
        counts = TROUBLE_NUMBERS.pack(_clamped(key, _U32), *(_clamped(count, _U32) for count in trouble))
        yield _section(TROUBLE, counts)


def _site(site: SiteReading) -> bytes:
    use = b"" if site.use is None else encode_use(site.use)
    looks = site.looks
    trouble = site.collected, looks.asks, looks.ended
    has_trouble = any(trouble)
    numbers = SITE_NUMBERS.pack(
        HAS_TROUBLE * has_trouble,
        len(use),
        name_id(site.site),
        _clamped(site.open, _U16),
        _clamped(round(site.oldest_s * 1e3), _U32),
        _clamped(site.returned, _U64),
        _clamped(round(site.held_s * 1e9), _U64),
        _clamped(round(site.waited_s * 1e9), _U64),
        _clamped(looks.busy, _U32),
        _clamped(looks.idle, _U32),
        name_id(site.idle_line),
    )
    further = SITE_TROUBLE.pack(*(_clamped(number, _U32) for number in trouble)) if has_trouble else b""
    return numbers + further + use


def _finding(finding: Finding) -> bytes:
    numbers = finding.numbers[:MOST_NUMBERS]
    cause = utf8_name(finding.cause, CAUSE_BYTES)
    head = FINDING_NUMBERS.pack(
        _clamped(finding.pool, _U32),
        name_id(finding.site),
        name_id(finding.line),
        _clamped(round(finding.age_s * 1e3), _U32),
        len(numbers),
        len(cause),
    )
    return head + b"".join(map(NUMBER.pack, numbers)) + cause


def _name(name: str) -> bytes:
    text = utf8_name(name, 4 * NAME_BYTES)
    if len(text) > NAME_BYTES:  # Keep the end: it has the line and the function.
        text = _ELLIPSIS + text[len(_ELLIPSIS) - NAME_BYTES :].decode("utf-8", "ignore").encode()
    return _section(NAME, NAME_ID.pack(name_id(name)) + text)


def encode_use(use: Histogram) -> bytes:
    """Use times in at most 255 bytes: the first bucket, the count of zeros, the longest in µs, and the counts.

    After the first byte, each number is a varint: seven bits a byte, the lowest first, with the highest bit set on
    all but the last byte. The sum is not sent.
    """
    if use.scale > USE_SCALE:
        use = use.copy()
        use.downscale(USE_SCALE)
    counts = use.counts
    filled = [place for place, count in enumerate(counts) if count] or [0]
    first, last = filled[0], filled[-1]
    numbers = (use.zero, -(-use.max_ns // 1000), *counts[first : last + 1])
    head = bytes([first | IS_COARSE * (use.scale < USE_SCALE)])
    return head + b"".join(_varint(_clamped(number, LARGEST_IN_USE)) for number in numbers)


def _varint(number: int) -> bytes:
    pieces = bytearray()
    while number > 0x7F:
        pieces.append(number & 0x7F | 0x80)
        number >>= 7
    pieces.append(number)
    return bytes(pieces)


def _names_of_site(site: SiteReading) -> tuple[str, ...]:
    return site.site, site.idle_line


def _names_of_finding(finding: Finding) -> tuple[str, ...]:
    return finding.site, finding.line


def _clamped(number: int, top: int) -> int:
    return min(max(number, 0), top)
