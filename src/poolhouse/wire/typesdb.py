"""collectd's ``types.db``: the values of each type.

Source: collectd 5.12 ``types.db(5)`` and ``src/daemon/types_list.c``.
"""

from math import inf, isnan
from typing import NamedTuple

from poolhouse.errors import SettingError
from poolhouse.wire.parts import ABSOLUTE, COUNTER, DERIVE, GAUGE

_KINDS = {"COUNTER": COUNTER, "GAUGE": GAUGE, "DERIVE": DERIVE, "ABSOLUTE": ABSOLUTE}


class DataSource(NamedTuple):
    """One value of a type."""

    name: str
    #: `COUNTER`, `GAUGE`, `DERIVE` or `ABSOLUTE`.
    kind: int
    #: Numbers outside these bounds are not valid values; infinite if there is no bound.
    minimum: float
    maximum: float


def parse_types_db(text: str) -> dict[str, tuple[DataSource, ...]]:
    """The types of a ``types.db``; if a type is defined twice, the last definition counts, as in collectd.

    >>> parse_types_db("percent  value:GAUGE:0:100.1")
    {'percent': (DataSource(name='value', kind=1, minimum=0.0, maximum=100.1),)}

    Raises:
        SettingError: If a line is malformed; the message has its number.
    """
    types = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, *sources = line.replace(",", " ").split() or ["#"]
        if name.startswith("#"):
            continue
        try:
            types[name] = tuple(map(_data_source, sources))
        except (KeyError, ValueError):
            sources = []
        if not sources:
            raise SettingError("types.db", f"line {number} is not a type and its data sources: {line!r}")
    return types


def _data_source(text: str) -> DataSource:
    name, kind, least, most = text.split(":")
    minimum = -inf if least == "U" else float(least)
    maximum = inf if most == "U" else float(most)
    if isnan(minimum) or isnan(maximum):
        raise ValueError(text)
    return DataSource(name, _KINDS[kind.upper()], minimum, maximum)
