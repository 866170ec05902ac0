"""The fleet for Prometheus, as text in one of its two formats.

Sources: Prometheus' exposition formats (text 0.0.4), OpenMetrics 1.0. All samples of a metric must be together, so
the numbers of all rows are collected, and written metric by metric.

The bounds of histograms are powers of two, which are also bounds of the buckets that durations are counted in (see
`poolhouse.meter.histogram`): every number is exact, and none is interpolated.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple, TypeVar

from poolhouse.export.families import (
    HOST_LABEL,
    LINES,
    OWN,
    POOL_LABEL,
    ROW_FAMILIES,
    SERVICE_LABEL,
    VERDICTS,
    Family,
    Figures,
    RowTimes,
    escaped,
    pools_name,
    sample_name,
)
from poolhouse.export.labelled import Labelled, Labels
from poolhouse.export.prometheus_formats import OPEN_METRICS, TEXT, Format
from poolhouse.fleet.distribution import Distribution
from poolhouse.fleet.rows import Counted
from poolhouse.meter.histogram import CLASSIC_EXPONENTS, ZERO_EXPONENT

T = TypeVar("T")

#: The bounds of histograms are 2**-13 s (122 µs) to 2**6 s (64 s).
LEAST_EXPONENT, MOST_EXPONENT = CLASSIC_EXPONENTS[0], CLASSIC_EXPONENTS[-1]
#: The samples of a histogram: its bounds, infinity, sum and count.
SAMPLES_OF_TIMES = MOST_EXPONENT - LEAST_EXPONENT + 4
#: For how many rows one number is written at once, and for how many one histogram.
_ROWS_AT_ONCE, _TIMES_AT_ONCE = 250, 25
#: How many lines and verdicts are converted to text at once.
_LABELLED_AT_ONCE = 250
#: Stands for the row's labels in a prepared text; no name or number contains it.
_LABELS = b"\0"


class Exposition(Labelled):
    """One answer: rows, lines and verdicts are added, and then it is read once as text.

    Attributes:
        samples: How many samples its rows have.
    """

    def __init__(self, form: Format) -> None:
        """Start without rows."""
        super().__init__(_label_text)
        self.samples = 0
        self._form = form
        self._rows: list[_Numbers] = []

    def add(self, host: str | None, service: str, counted: Counted) -> None:
        """Add a row.

        Args:
            host: The host, if the row is of one.
            service: The program.
            counted: The row.
        """
        text = f'{SERVICE_LABEL}="{escaped(service)}"'
        if host is not None:
            text = f'{HOST_LABEL}="{escaped(host)}",{text}'
        row = counted.row
        numbers = [source(row) for source in _SOURCES]
        times = [_numbers_of(times_of(counted)) for times_of in _TIMES_SOURCES]
        self.samples += len(numbers) - numbers.count(None)
        self.samples += SAMPLES_OF_TIMES * (len(times) - times.count(None))
        of_pools = f'{text},{POOL_LABEL}="{escaped(pools_name(counted))}"'
        self._rows.append(_Numbers(text.encode(), of_pools.encode(), numbers, times))

    def chunks(self, own: Figures) -> Iterator[bytes]:
        """The whole text, in pieces that take less than a millisecond each.

        Args:
            own: The daemon's figures.
        """
        prepared = _PREPARED[self._form]
        for family in ROW_FAMILIES:
            yield _head(family, self._form)
            writers = prepared[family.name]
            at_once = _TIMES_AT_ONCE if isinstance(family, RowTimes) else _ROWS_AT_ONCE
            for at in range(0, len(self._rows), at_once):
                rows = self._rows[at : at + at_once]
                yield b"".join(chain.from_iterable([writer(rows) for writer in writers]))
        lines, verdicts = list(self.lines.items()), list(self.verdicts.items())
        for of_line in LINES:
            yield from self._told(of_line, of_line.source, lines)
        for of_verdict in VERDICTS:
            yield from self._told(of_verdict, of_verdict.source, verdicts)
        for figure in OWN:
            yield _head(figure, self._form)
            name = sample_name(figure)
            for labels, value in figure.source(own):
                if value is not None:
                    yield f"{name}{f'{{{labels}}}' if labels else ''} {value!r}\n".encode()
        if self._form.is_open:
            yield b"# EOF\n"

    def _told(
        self, family: Family, source: Callable[[T], float], told: Sequence[tuple[bytes, T]]
    ) -> Iterator[bytes]:
        """A number of lines, or of verdicts."""
        yield _head(family, self._form)
        template = sample_name(family).encode() + b"{%b} %a\n"
        for at in range(0, len(told), _LABELLED_AT_ONCE):
            some = told[at : at + _LABELLED_AT_ONCE]
            yield b"".join([template % (labels, source(one)) for labels, one in some])


class _Numbers(NamedTuple):
    """One row: its labels without and with the pools' name, its numbers, and those of its histograms."""

    labels: bytes
    of_pools: bytes
    numbers: list[float | None]
    times: list["_TimesNumbers | None"]


class _TimesNumbers(NamedTuple):
    """One histogram: the scale, and the numbers in the order in which they are written."""

    is_coarse: bool
    numbers: tuple[float, ...]


def _numbers_of(times: Distribution | None) -> _TimesNumbers | None:
    if times is None:
        return None
    up_to, seconds = times.up_to_powers(), times.sum_ns / 1e9
    total = up_to[-1]
    is_coarse = times.scale < 0
    bounds = up_to[_FIRST_COARSE : _LAST_COARSE + 1] if is_coarse else up_to[_FIRST : _LAST + 1]
    return _TimesNumbers(is_coarse, (*bounds, total, seconds, total))


#: Where the bounds stand in `Distribution.up_to_powers`, and where at scale -1.
_FIRST, _LAST = LEAST_EXPONENT - ZERO_EXPONENT, MOST_EXPONENT - ZERO_EXPONENT
_FIRST_COARSE, _LAST_COARSE = (_FIRST + 1) // 2, _LAST // 2

_NUMBER_FAMILIES = tuple(family for family in ROW_FAMILIES if not isinstance(family, RowTimes))
_TIMES_FAMILIES = tuple(family for family in ROW_FAMILIES if isinstance(family, RowTimes))
_SOURCES = tuple(source for family in _NUMBER_FAMILIES for _, source in family.sources)
_TIMES_SOURCES = tuple(family.source for family in _TIMES_FAMILIES)


def _label_text(labels: Labels) -> bytes:
    return ",".join([f'{name}="{escaped(value)}"' for name, value in labels]).encode()


def _head(family: Family, form: Format) -> bytes:
    name = family.name if form.is_open else sample_name(family)
    description = family.description.replace("\\", r"\\").replace("\n", r"\n")
    unit = f"# UNIT {name} {family.unit}\n" if form.is_open and family.unit else ""
    return f"# HELP {name} {description}\n# TYPE {name} {family.kind}\n{unit}".encode()


#: Writes the lines of some rows that are of one family; none where the values are not known.
_Writer = Callable[[list[_Numbers]], list[bytes]]


def _number_writer(template: bytes, place: int, is_of_pools: bool) -> _Writer:
    labels = _Numbers._fields.index("of_pools" if is_of_pools else "labels")

    def lines(rows: list[_Numbers]) -> list[bytes]:
        return [template % (row[labels], value) for row in rows if (value := row.numbers[place]) is not None]

    return lines


def _times_writer(name: str, place: int, form: Format) -> _Writer:
    """All but the numbers and the labels is prepared."""
    exponents = range(LEAST_EXPONENT, MOST_EXPONENT + 1)
    every = _prepared(name, form, list(exponents))
    #: At scale -1 there are bounds at powers of four only.
    every_other = _prepared(name, form, [exponent for exponent in exponents if exponent % 2 == 0])

    def lines(rows: list[_Numbers]) -> list[bytes]:
        return [
            ((every_other if times.is_coarse else every) % times.numbers).replace(_LABELS, row.of_pools)
            for row in rows
            if (times := row.times[place]) is not None
        ]

    return lines


def _prepared(name: str, form: Format, exponents: list[int]) -> bytes:
    labels = _LABELS.decode()
    bounds = [_bound(2.0**exponent, form) for exponent in exponents]
    buckets = "".join(f'{name}_bucket{{{labels},le="{bound}"}} %d\n' for bound in (*bounds, "+Inf"))
    return f"{buckets}{name}_sum{{{labels}}} %a\n{name}_count{{{labels}}} %d\n".encode()


def _bound(value: float, form: Format) -> str:
    """A bound as Go writes it, where OpenMetrics does not ask for a fraction.

    >>> _bound(1.0, TEXT), _bound(1.0, OPEN_METRICS), _bound(2.0**-13, TEXT)
    ('1', '1.0', '0.0001220703125')
    """
    return repr(value) if form.is_open else repr(value).removesuffix(".0")


def _prepare(form: Format) -> dict[str, list[_Writer]]:
    """What writes each family of rows, by its name."""
    writers: dict[str, list[_Writer]] = {}
    place = 0
    for family in _NUMBER_FAMILIES:
        for more, _ in family.sources:
            number = "%a" if family.unit else "%d"
            template = f"{sample_name(family)}{{%b{',' if more else ''}{more}}} {number}\n".encode()
            writers.setdefault(family.name, []).append(_number_writer(template, place, family.of_pools))
            place += 1
    for place, times in enumerate(_TIMES_FAMILIES):
        writers[times.name] = [_times_writer(times.name, place, form)]
    return writers


_PREPARED: Final = {form: _prepare(form) for form in (TEXT, OPEN_METRICS)}
