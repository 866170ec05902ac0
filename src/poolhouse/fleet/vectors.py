"""The fields of a process's vectors (`poolhouse.fleet.packed`).

Gauges of a pool, a process, a program, a host and the fleet have the same fields: a sum is an addition, a process
that leaves is a subtraction.
"""

from poolhouse.fleet.packed import FIELD_BITS, Layout
from poolhouse.fleet.snapshot import Totals
from poolhouse.meter.reading import Counters, Gauges, Limits

#: The first fields are those whose largest sum is kept, in the order of `Peaks`: processes, connections, used,
#: waiting, the sum of the pools' own marks, checkouts of each process's last interval.
PEAKS = Layout(6)
#: Then idle, detached, pools, the three limits, pools at their limit, those of them with waiting callers; then how
#: many sources have no limit of each kind, send upper bounds, or send no marks.
GAUGES = Layout(19)
#: `Totals`, field by field.
COUNTS = Layout(len(Totals._fields))

#: One process, in the field of processes.
ONE_PROCESS = 1
USED_SHIFT = 2 * FIELD_BITS
WAITING_SHIFT = 3 * FIELD_BITS
CHECKOUTS_SHIFT = 5 * FIELD_BITS
FULL_SHIFT = 12 * FIELD_BITS
UNMARKED_SHIFT = 18 * FIELD_BITS
#: The position of each counter in a vector of counts.
COUNT_SHIFT = {name: place * FIELD_BITS for place, name in enumerate(Totals._fields)}
#: From here upwards: timeouts, acquire errors, connect errors.
TROUBLE_SHIFT = COUNT_SHIFT["timeouts"]
#: Every counter is sent.
ALL_SENT = (1 << len(Totals._fields)) - 1


class Knows:
    """Bits: the values that at least one source of a row has sent; all others are unknown, not 0.

    Plain ints, because an ``IntFlag`` costs half a microsecond per operation.
    """

    SUMS = 1
    WAITING = 2
    #: Each pool separately, so that its limit can be compared with its use.
    POOLS = 4
    #: A source without marks: while it exists, the sum of the others' marks is no upper bound.
    UNMARKED = 8
    CHECKOUTS = 16
    WAIT_TIMES = 32
    USE_TIMES = 64
    CREATE_TIMES = 128


def gauges_vector(
    pools: int, gauges: Gauges, limits: Limits, mark: int | None, checkouts: int, is_full: bool, is_bound: bool
) -> int:
    """The vector of one source.

    Args:
        pools: Living pools; if 0, the limits count for nothing.
        gauges: Connections open and in use, and waiting callers.
        limits: The limits of open connections.
        mark: The most connections in use since the source's previous report; ``None`` if it does not say.
        checkouts: Checkouts since then, for one interval.
        is_full: Whether this is a single pool with all its connections in use.
        is_bound: Whether `gauges` are upper bounds.
    """
    idle, used, detached, waiting = gauges
    max_open, max_idle, min_idle = limits if pools else (0, 0, 0)
    return GAUGES.pack(
        (
            0,
            idle + used + detached,
            used,
            waiting,
            mark or 0,
            checkouts,
            idle,
            detached,
            pools,
            max_open or 0,
            max_idle or 0,
            min_idle or 0,
            is_full,
            is_full and waiting > 0,
            max_open is None,
            max_idle is None,
            min_idle is None,
            is_bound,
            mark is None,
        )
    )


def open_and_most(gauges: int) -> tuple[int, int | None]:
    """From a vector of gauges: connections that are open, and how many may be; ``None`` if a pool has no limit."""
    numbers = GAUGES.unpack(gauges)
    return numbers[1], None if numbers[14] else numbers[9]


def counts_vector(counters: Counters) -> tuple[int, int]:
    """The vector of the known counters, and a bit for each of them."""
    if None not in counters:
        return COUNTS.pack(counters), ALL_SENT  # type: ignore[arg-type]
    sent = sum(1 << place for place, count in enumerate(counters) if count is not None)
    return COUNTS.pack(count or 0 for count in counters), sent


def fields_mask(sent: int) -> int:
    """All bits of the fields of these counters."""
    return sum(
        ((1 << FIELD_BITS) - 1) << (FIELD_BITS * place) for place in range(sent.bit_length()) if sent >> place & 1
    )
