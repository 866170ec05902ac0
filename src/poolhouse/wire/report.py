"""A process's report, and the datagrams it becomes.

A report is a set of numbered datagrams, each complete for the pool that it describes, so any of them may be lost.
A datagram begins with one *earlier list*, which is all that the earlier server (PyPI's sqlalchemy-collectd) reads:
the process's sums as ``sqlalchemy_pool`` in the first datagram and ``sqlalchemy_totals`` in every other. Then
comes one *private part* with the report's head and at most one pool, and perhaps a part with signs.
``docs/reference/wire.md`` has every byte.

The earlier server reads 1,024 bytes of a datagram and fails if a part's header is cut there. That cannot happen:
an earlier list has at most 458 bytes, the private part's header follows at once, and a private part without a pool
has at most 176 bytes before the header of the signs.
"""

from collections.abc import Iterator
from math import ceil, nan
from struct import Struct
from typing import Literal, NamedTuple

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import MARKS, REST, Counters, Gauges, Limits, Mark, PoolReading
from poolhouse.meter.signs import Finding, PoolSigns, ProcessSigns
from poolhouse.meter.signs_sum import summed_signs
from poolhouse.wire.histogram import COARSEST_SCALE, encode_histogram
from poolhouse.wire.layout import LEGACY_COUNTERS, POOL, in_order_of_totals
from poolhouse.wire.names import ascii_name, utf8_identity, utf8_name
from poolhouse.wire.parts import (
    DERIVE,
    GAUGE,
    HEADER,
    HOST,
    INTERVAL,
    PAYLOAD_BYTES,
    PLUGIN,
    PLUGIN_INSTANCE,
    PRIVATE,
    SIGNS,
    TIME,
    TYPE,
    TYPE_INSTANCE,
    number_part,
    string_part,
    values_part,
)
from poolhouse.wire.signs import KeyedSigns, Selection, all_names, all_sites, encode_signs

#: The layout of the private part. A reader skips a part whose version it does not know.
VERSION = 1

#: The most bytes of the token; of host and program in UTF-8; of a pool's class and name.
TOKEN_BYTES = 32
UTF8_BYTES = 64
KIND_BYTES = 40
POOL_NAME_BYTES = 127

#: The most datagrams that a report adds for its signs alone.
MOST_ADDED = 2

#: Bits of the private part's flags.
GOODBYE, HAS_POOL, IS_BOUND = 1, 2, 4

#: version, flags, place, datagrams, sequence, number, uptime, wall time, interval, host's and program's bytes.
HEAD = Struct(">BBHHIIdddBB")

#: The values for "not known" in limits and counters; numbers that are sent are smaller.
UNKNOWN_LIMIT = (1 << 32) - 1
UNKNOWN_COUNT = (1 << 64) - 1

#: The process's sums in the earlier lists, and how many of their values are the earlier system's own.
POOL_TYPE, TOTALS_TYPE = b"sqlalchemy_pool", b"sqlalchemy_totals"
SEED_GAUGES, SEED_DERIVES = 5, len(LEGACY_COUNTERS)
_GAUGES = Struct("<9d")
_DERIVES = Struct(f">{len(Counters._fields)}q")


class ReportSums(NamedTuple):
    """The sums of all pools of a process, including pools that are no longer reported."""

    #: Living pools.
    pools: int = 0
    gauges: Gauges = Gauges()
    #: Each limit is ``None`` if one of the living pools has no such limit.
    limits: Limits = Limits()
    counters: Counters = Counters()


class Report(NamedTuple):
    """One complete, absolute statement of a process about its pools."""

    host: str
    program: str
    #: ``<pid>:<6 hex>``, new in every process and after every fork.
    token: str
    #: Which report of its process this is, from 1.
    number: int
    #: The number of its first datagram; a process numbers its datagrams consecutively across reports.
    sequence: int
    #: Seconds since the process used one of its pools for the first time.
    uptime: float
    #: Seconds since the epoch.
    wall_time: float
    #: Seconds between reports.
    interval: float
    #: True in a process's last report.
    goodbye: bool
    sums: ReportSums
    pools: tuple[PoolReading, ...]
    #: The process's own signs, besides those of its pools; ``None`` if it does not observe itself.
    signs: ProcessSigns | None = None
    #: The problems that the process found in itself.
    findings: tuple[Finding, ...] = ()
    #: The signs of pools that are no longer among `pools`; ``None`` if they had none.
    past_signs: PoolSigns | None = None

    def pool_signs(self) -> list[KeyedSigns]:
        """The signs of its pools; those under `REST` include `past_signs`."""
        signs = {pool.key: pool.signs for pool in self.pools if pool.signs is not None}
        rest = summed_signs((signs.pop(REST, None), self.past_signs))
        return [*signs.items(), *([(REST, rest)] if rest is not None else [])]


def encode_report(
    report: Report,
    detail: Literal["full", "plain"] = "full",
    selection: Selection | None = None,
    payload_bytes: int = PAYLOAD_BYTES,
) -> list[bytes]:
    """The report's datagrams, at least two, of at most `payload_bytes` each.

    Names are cut and numbers clamped to what fits. If histograms make a datagram too long, they are sent at a
    coarser scale, with exact counts. Nothing is raised as long as the report's times are finite.

    Args:
        report: The report. Its datagrams are numbered ``sequence``, ``sequence + 1``, …
        detail: With ``"plain"`` the two earlier lists only, without private parts.
        selection: The sites and names to send, as far as there is room; ``None`` for all.
        payload_bytes: `PAYLOAD_BYTES`, or up to 120 bytes less if a seal needs the room.
    """
    pool_list, totals_list = _legacy_lists(report)
    if detail == "plain":
        return [pool_list, totals_list]
    names = [b"" if name.isascii() else utf8_identity(name, UTF8_BYTES) for name in (report.host, report.program)]
    least = max(2, len(report.pools))
    #: Datagrams without a pool, except the first, which begins with another list.
    free = least - max(1, len(report.pools))
    room = payload_bytes - len(totals_list) - 2 * HEADER.size - HEAD.size - sum(map(len, names))
    signs = _signs(report, selection, free, room)
    count = least + max(0, len(signs) - free)
    datagrams = []
    for place in range(count):
        earlier = totals_list if place else pool_list
        pool = report.pools[place] if place < len(report.pools) else None
        head = HEAD.pack(
            VERSION,
            GOODBYE * report.goodbye + (HAS_POOL + IS_BOUND * pool.is_bound if pool else 0),
            place & 0xFFFF,
            count & 0xFFFF,
            (report.sequence + place) & 0xFFFFFFFF,
            report.number & 0xFFFFFFFF,
            report.uptime,
            report.wall_time,
            report.interval,
            *map(len, names),
        )
        room = payload_bytes - len(earlier) - HEADER.size - len(head) - sum(map(len, names))
        numbers, strings = _pool(pool, room) if pool else (b"", b"")
        payload = b"".join((head, numbers, *names, strings))
        datagram = earlier + HEADER.pack(PRIVATE, HEADER.size + len(payload)) + payload
        if place and not pool and signs:
            told = signs.pop(0)
            datagram += HEADER.pack(SIGNS, HEADER.size + len(told)) + told
        datagrams.append(datagram)
    return datagrams


def _signs(report: Report, selection: Selection | None, free: int, room: int) -> list[bytes]:
    """The payloads of the signs, for the `free` datagrams and at most `MOST_ADDED` further ones."""
    if selection is None:
        pools = report.pool_signs()
        selection = Selection(pools, all_sites(pools), frozenset(all_names(report.signs, report.findings, pools)))
    added = MOST_ADDED if selection.may_add else not free
    return encode_signs(report.signs, report.findings, selection, [room] * (free + added))


def _legacy_lists(report: Report) -> tuple[bytes, bytes]:
    """The process's sums as the earlier system's two lists, each with all eight parts."""
    sums, gauges, counters = report.sums, report.sums.gauges, report.sums.counters
    pool_values = (sums.pools, gauges.used, gauges.idle, gauges.detached, gauges.connections, gauges.waiting)
    limits = (nan if limit is None else limit for limit in sums.limits)
    totals: list[int | None] = list(in_order_of_totals(counters))
    known = [0 if total is None else total for total in totals[:SEED_DERIVES]]
    known += [-1 if total is None else total for total in totals[SEED_DERIVES:]]
    identity = (
        string_part(HOST, ascii_name(report.host))
        + string_part(PLUGIN, b"sqlalchemy")
        + string_part(PLUGIN_INSTANCE, ascii_name(report.program))
        + string_part(TYPE_INSTANCE, ascii_name(report.token, TOKEN_BYTES))
        + number_part(TIME, int(report.wall_time))
        + number_part(INTERVAL, max(1, ceil(report.interval)))
    )
    pool_part = values_part(bytes([GAUGE] * 9), _GAUGES.pack(*pool_values, *limits))
    top = (1 << 63) - 1
    totals_part = values_part(bytes([DERIVE] * len(known)), _DERIVES.pack(*(min(total, top) for total in known)))
    return (
        identity + string_part(TYPE, POOL_TYPE) + pool_part,
        identity + string_part(TYPE, TOTALS_TYPE) + totals_part,
    )


def _pool(pool: PoolReading, room: int) -> tuple[bytes, bytes]:
    """One pool in at most `room` bytes: its numbers, then its strings and histograms."""
    kind = utf8_name(pool.kind, KIND_BYTES)
    name = utf8_name(pool.name, POOL_NAME_BYTES)
    room -= POOL.size + len(kind)
    histograms = _fitted((pool.wait, pool.use, pool.create), room - len(name))
    # Only needed if names have their greatest length, every bucket counts more than 2**32, and a seal takes room.
    while sum(map(len, histograms)) > room:
        histograms[histograms.index(max(histograms, key=len))] = b""
    name = utf8_name(pool.name, min(POOL_NAME_BYTES, room - sum(map(len, histograms))))
    marks = pool.marks[:MARKS]
    fixed = POOL.pack(
        *_all_clamped((pool.key, pool.pools)),
        *(UNKNOWN_LIMIT if limit is None else _clamped(limit, UNKNOWN_LIMIT - 1) for limit in pool.limits),
        *_all_clamped(pool.gauges),
        *(UNKNOWN_COUNT if n is None else _clamped(n, UNKNOWN_COUNT - 1) for n in pool.counters),
        *_all_clamped(pool.peak),
        len(marks),
        *(number for mark in marks for number in _all_clamped(mark)),
        *[0] * (len(Mark._fields) * (MARKS - len(marks))),
        len(kind),
        len(name),
        *map(len, histograms),
    )
    return fixed, b"".join((kind, name, *histograms))


def _fitted(histograms: tuple[Histogram | None, ...], room: int) -> list[bytes]:
    """The histograms' bytes, in `room` bytes if possible: the longest is coarsened by one scale until they fit."""
    encoded = [b"" if histogram is None else encode_histogram(histogram) for histogram in histograms]
    coarse = list(histograms)
    while sum(map(len, encoded)) > room:
        finer = {i: told for i, told in enumerate(coarse) if told and told.scale > COARSEST_SCALE}
        if not finer:
            break
        longest = max(finer, key=lambda i: len(encoded[i]))
        coarse[longest] = coarser = finer[longest].copy()
        coarser.downscale(coarser.scale - 1)
        encoded[longest] = encode_histogram(coarser)
    return encoded


def _clamped(number: int, top: int) -> int:
    return min(max(number, 0), top)


def _all_clamped(numbers: tuple[int, ...]) -> Iterator[int]:
    return (_clamped(number, UNKNOWN_LIMIT) for number in numbers)
