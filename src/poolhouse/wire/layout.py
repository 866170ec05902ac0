"""The place of each number of a pool on the wire: the only definition.

`POOL` packs and unpacks all of a pool's numbers in one call; the names below it are their indices in the result.
At the end: the order of the counters in the earlier system's list, and their names in collectd.
"""

from itertools import accumulate
from operator import itemgetter
from struct import Struct

from poolhouse.meter.reading import MARKS, Counters, Gauges, Limits, Mark

_MARK = len(Mark._fields)

#: The numbers in their order: name, `struct` code, how many.
_NUMBERS = (
    ("key", "I", 1),
    ("pools", "I", 1),
    ("limits", "I", len(Limits._fields)),
    ("gauges", "I", len(Gauges._fields)),
    # Adding a counter requires a new version of the private part, because readers check the part's length.
    ("counters", "Q", len(Counters._fields)),
    ("peak", "I", _MARK),
    ("mark_count", "B", 1),
    ("marks", "I", _MARK * MARKS),
    ("text_bytes", "B", 2),
    ("histogram_bytes", "H", 3),
)
POOL = Struct(">" + "".join(f"{count}{code}" for _, code, count in _NUMBERS))

_ENDS = tuple(accumulate(count for _, _, count in _NUMBERS))
_PLACES = {name: slice(end - count, end) for (name, _, count), end in zip(_NUMBERS, _ENDS, strict=True)}

KEY = _PLACES["key"].start
POOLS = _PLACES["pools"].start
LIMITS = _PLACES["limits"]
GAUGES = _PLACES["gauges"]
COUNTERS = _PLACES["counters"]
PEAK = _PLACES["peak"]
MARK_COUNT = _PLACES["mark_count"].start
#: Each mark's place, newest first; unused ones are zero.
EACH_MARK = tuple(
    slice(first, first + _MARK) for first in range(_PLACES["marks"].start, _PLACES["marks"].stop, _MARK)
)
#: Bytes of the class, the name, and the wait, use and create histogram, which follow in this order.
SIZES = slice(_PLACES["text_bytes"].start, _PLACES["histogram_bytes"].stop)

#: The earlier system's counters in the order of its ``sqlalchemy_totals``; ours appends the other counters.
LEGACY_COUNTERS = ("checkouts", "invalidated", "connects", "disconnects")
_TOTALS = (*LEGACY_COUNTERS, *(name for name in Counters._fields if name not in LEGACY_COUNTERS))
#: From `Counters` to the values of ``sqlalchemy_totals``, and back.
in_order_of_totals = itemgetter(*map(Counters._fields.index, _TOTALS))
in_order_of_counters = itemgetter(*map(_TOTALS.index, Counters._fields))

#: The counter of each type instance of collectd's type ``derive``.
DERIVES = {name.replace("_", ""): name for name in Counters._fields}
