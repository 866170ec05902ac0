"""Rows of the fleet as collectd's values: sqlalchemy-collectd's thirteen names, and more in the same style.

Every type used stands in the ``types.db`` that collectd brings along and carries one value:

==================== ======= ============================================================================
type                 kind    what it is used for
==================== ======= ============================================================================
``count``            GAUGE   what is true now: connections, pools, processes, callers
``derive``           DERIVE  what has happened so far; never falls while the aggregator lives
``duration``         GAUGE   quantiles of the last minute, in seconds
``total_time_in_ms`` DERIVE  sums of all wait, use and create times, and of the holds of a line
==================== ======= ============================================================================
"""

from collections.abc import Iterator
from math import isfinite
from typing import Literal

from poolhouse.fleet.names import plugin_instance
from poolhouse.fleet.snapshot import Holder, Row
from poolhouse.wire.encode import encode_alone
from poolhouse.wire.layout import DERIVES
from poolhouse.wire.values import DERIVE, GAUGE, Identifier, ValueList

#: The plugin of every value.
PLUGIN_NAME = "sqlalchemy"
#: The plugin instance of a host's sum.
HOST_INSTANCE = "host"

#: Type instances of ``count`` and their fields of `Row`: the earlier system's, and all.
LEGACY_COUNTS = {
    "checkedin": "idle",
    "checkedout": "used",
    "connections": "connections",
    "detached": "detached",
    "numpools": "pools",
    "numprocs": "processes",
}
COUNTS = LEGACY_COUNTS | {
    "waiting": "waiting",
    "max": "max_open",
    "maxidle": "max_idle",
    "minidle": "min_idle",
}

#: The type instances of ``derive`` that the earlier system has; `poolhouse.wire.layout.DERIVES` are all.
LEGACY_DERIVES = dict(list(DERIVES.items())[:7])

#: Fields of `Times`, each sent as three quantiles and one sum.
TIMES = ("wait", "use", "create")
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

#: The most characters of a type instance that holds a line's name: collectd keeps 127 bytes.
MOST_CHARACTERS = 120
#: The largest DERIVE; collectd's Python interface raises an error for a number that does not fit.
MAX_DERIVE = (1 << 63) - 1


def value_lists(
    host: str, plugin_instance: str, row: Row, wall_time: float, which: Literal["all", "earlier"] = "all"
) -> Iterator[ValueList]:
    """The values of one row, without those that are not known; collectd fills in the interval.

    Args:
        host: The host of the row.
        plugin_instance: `poolhouse.fleet.names.plugin_instance` of a program, or `HOST_INSTANCE`.
        row: The sums.
        wall_time: Seconds since the epoch.
        which: ``"earlier"`` for sqlalchemy-collectd's thirteen only: its connmon plugin fails at the types
            ``duration`` and ``total_time_in_ms`` when they are forwarded to it.
    """
    for kind, type_name, type_instance, value in _known_values(row, which):
        identifier = Identifier(host, PLUGIN_NAME, plugin_instance, type_name, type_instance)
        yield ValueList(identifier, wall_time, None, bytes([kind]), (value,))


def holder_lists(holder: Holder, wall_time: float) -> Iterator[ValueList]:
    """The values of one line of a program, under the host on which collectd runs: the line is a sum over hosts.

    ``count-open-LINE`` and ``total_time_in_ms-held-LINE``, and ``duration-oldest-LINE`` while a connection is out.
    A long name loses its beginning.
    """
    site = holder.site
    name = site.site.replace("/", "_")
    values: list[tuple[int, str, str, int | float]] = [
        (GAUGE, "count", "open", float(site.open)),
        (DERIVE, "total_time_in_ms", "held", min(round(site.held_s * 1000), MAX_DERIVE)),
    ]
    if site.open:
        values.append((GAUGE, "duration", "oldest", site.oldest_s))
    for kind, type_name, what, value in values:
        instance = f"{what}-{name[len(what) + 1 - MOST_CHARACTERS :]}"
        identifier = Identifier("", PLUGIN_NAME, plugin_instance(holder.program), type_name, instance)
        yield ValueList(identifier, wall_time, None, bytes([kind]), (value,))


def _known_values(row: Row, which: str) -> Iterator[tuple[int, str, str, int | float]]:
    for name, field in (LEGACY_COUNTS if which == "earlier" else COUNTS).items():
        if (count := getattr(row, field)) is not None:
            yield GAUGE, "count", name, float(count)
    for name, field in (LEGACY_DERIVES if which == "earlier" else DERIVES).items():
        if (total := getattr(row.totals, field)) is not None:
            yield DERIVE, "derive", name, min(total, MAX_DERIVE)
    for name in TIMES if which == "all" else ():
        recent, since_start = getattr(row.recent, name), getattr(row.since_start, name)
        for suffix, q in QUANTILES.items():
            if recent is not None and (seconds := recent.quantile(q)) is not None:
                yield GAUGE, "duration", f"{name}-{suffix}", seconds
        if since_start is not None:
            yield DERIVE, "total_time_in_ms", name, min(since_start.sum_ns // 1_000_000, MAX_DERIVE)


def console_datagram(values: ValueList) -> bytes | None:
    """The value list in the form that sqlalchemy-collectd's console accepts; ``None`` if it would not.

    It accepts the types ``count`` and ``derive`` with one value each, one list per datagram. It prints anything
    else over its own screen, and a gauge that is not a number ends it.
    """
    if values.identifier.type not in ("count", "derive") or len(values.values) != 1:
        return None
    if not isfinite(values.values[0]):
        return None
    try:
        return encode_alone(values)
    except ValueError:  # A types.db of the user's own may give these types other kinds of values.
        return None
