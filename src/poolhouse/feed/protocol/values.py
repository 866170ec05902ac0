"""A fleet, as far as collectd's value lists describe it.

sqlalchemy-collectd's server, or ours towards its consoles, sends thirteen or more values about a program on a
host, or about a host, with the plugin ``sqlalchemy``: ``count-checkedout``, ``derive-checkouts`` and so on, each
in a datagram of its own. This module adds them up to the same `Snapshot` that our own protocol carries whole; what
is not sent stays ``None``.

Three rules. The values of one moment arrive one after the other: they count together once the sender has paused,
so that half of them is never taken for a maximum. Rates are differences by the receiver's clock; a total that
falls (a restarted server) starts again and gives no rate. A sender that is silent for five intervals is gone.
"""

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

from poolhouse.defaults import GONE_INTERVALS, STALE_INTERVALS
from poolhouse.fleet.snapshot import Health, Peaks, Rates, Row, Snapshot, Totals
from poolhouse.wire.layout import DERIVES
from poolhouse.wire.names import utf8_name
from poolhouse.wire.values import ValueList

PLUGIN = "sqlalchemy"
#: The plugin instance that sums a host's programs.
HOST = "host"

#: Type instances of type ``count``, with the field of `Row` for each. ``connections`` is not here because a row
#: adds it up from its parts.
GAUGES = {
    "numprocs": "processes",
    "numpools": "pools",
    "checkedin": "idle",
    "checkedout": "used",
    "detached": "detached",
    "waiting": "waiting",
    "max": "max_open",
    "maxidle": "max_idle",
    "minidle": "min_idle",
}
#: Seconds without another value of a row after which its latest values count.
SETTLED = 0.25
#: The limits of a sender's interval, in seconds; an interval outside is replaced by the nearer limit.
INTERVALS = (1.0, 3600.0)
DEFAULT_INTERVAL = 10.0
#: Rows of one program on one host, or of one host.
MAX_SERIES = 10_000


class _Counter:
    """A total as last sent, with its sum and its rate."""

    __slots__ = ("at", "rate", "total", "value")

    def __init__(self, value: int, at: float) -> None:
        self.value = self.total = value
        self.at = at
        self.rate: float | None = None

    def update(self, value: int, now: float, interval: float) -> None:
        if value < self.value:
            self.value, self.at, self.rate = value, now, None
        elif now - self.at >= interval / 4:  # Closer values, the second after a delay, would give a wrong rate.
            self.rate = (value - self.value) / (now - self.at)
            self.total += value - self.value
            self.value, self.at = value, now


class _Series:
    """The values of one program on one host, or of one host."""

    __slots__ = ("counters", "gauges", "heard", "incoming", "interval")

    def __init__(self, heard: float, interval: float) -> None:
        self.heard = heard
        self.interval = interval
        self.gauges: dict[str, int] = {}
        self.counters: dict[str, _Counter] = {}
        #: Values since the sender's last pause; ``None`` for a value that is no longer known.
        self.incoming: dict[str, int | None] = {}

    def settle(self) -> None:
        """Make the latest values count."""
        for name, value in self.incoming.items():
            if value is None:
                self.gauges.pop(name, None)
            else:
                self.gauges[name] = value
        self.incoming.clear()


class PartialFleet:
    """The fleet described by value lists; bounded, not thread-safe."""

    def __init__(self, now: float) -> None:
        """Start with nothing known; `now` is in monotonic seconds, as everywhere here."""
        self._began = now
        self._series: dict[tuple[str, str], _Series] = {}
        self._peaks: dict[tuple[str, str], Peaks] = {}
        self._received = 0
        self._refused = 0
        self._over_limit = 0

    def receive(self, values: ValueList, now: float) -> bool:
        """Take one value list. False if it is not ours, or beyond the limit."""
        self._received += 1
        host, plugin, instance, kind, name = values.identifier
        known = {"count": GAUGES, "derive": DERIVES}.get(kind)
        if plugin != PLUGIN or known is None or len(values.values) != 1 or not host or not instance:
            self._refused += 1
            return False
        key = (_clean(host), _clean(instance))
        interval = min(max(values.interval or DEFAULT_INTERVAL, INTERVALS[0]), INTERVALS[1])
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                self._refused += 1
                self._over_limit += 1
                return False
            series = self._series[key] = _Series(now, interval)
        if name in series.incoming or now - series.heard >= SETTLED:
            series.settle()
        series.heard, series.interval = now, interval
        number = _whole(values.values[0])
        if name not in known:
            return True  # ``connections``, and whatever a later server adds.
        if kind == "count":
            series.incoming[name] = number
        elif number is not None:
            _count(series, name, number, now)
        return True

    def snapshot(self, now: float, wall_time: float) -> Snapshot:
        """Everything that is known and has not gone."""
        for key, series in list(self._series.items()):
            if now - series.heard >= GONE_INTERVALS * series.interval:
                del self._series[key]
            elif now - series.heard >= SETTLED:
                series.settle()
        programs, hosts = self._grouped()
        rows = {("", ""): self._row("", [one for group in (hosts or programs).values() for one in group], now)}
        rows |= {("program", name): self._row(name, group, now) for name, group in sorted(programs.items())}
        rows |= {("host", name): self._row(name, group, now) for name, group in sorted(hosts.items())}
        self._peaks = {key: _higher(self._peaks.get(key, Peaks()), row) for key, row in rows.items()}
        told = {key: row._replace(peaks=self._peaks[key]) for key, row in rows.items()}
        over_limit = (("rows", self._over_limit),) if self._over_limit else ()
        return Snapshot(
            wall_time=wall_time,
            fleet=told["", ""],
            programs=tuple(row for (kind, _), row in told.items() if kind == "program"),
            hosts=tuple(row for (kind, _), row in told.items() if kind == "host"),
            health=Health(self._received, self._refused, 0, 0, now - self._began, over_limit),
        )

    def _grouped(self) -> tuple[dict[str, list[_Series]], dict[str, list[_Series]]]:
        """The series of each program and of each host."""
        programs: dict[str, list[_Series]] = {}
        hosts: dict[str, list[_Series]] = {}
        for (host, instance), series in self._series.items():
            if instance == HOST:
                hosts.setdefault(host, []).append(series)
            else:
                programs.setdefault(_program(instance), []).append(series)
        return programs, hosts

    def _row(self, name: str, group: list[_Series], now: float) -> Row:
        gauges: dict[str, Any] = {
            field_name: _sum(series.gauges.get(sent) for series in group) for sent, field_name in GAUGES.items()
        }
        newest = max(group, key=lambda series: series.heard, default=None)
        age = None if newest is None else now - newest.heard
        return Row(
            name=name,
            **gauges,
            totals=Totals(**_each_counter(group, lambda counter: counter.total)),
            rates=Rates(**_each_counter(group, lambda counter: counter.rate)),
            interval_checkouts=_sum(_interval_checkouts(series) for series in group),
            age=age,
            interval=None if newest is None else newest.interval,
            is_stale=newest is not None and age is not None and age >= STALE_INTERVALS * newest.interval,
        )


def _count(series: _Series, name: str, number: int, now: float) -> None:
    counter = series.counters.get(name)
    if counter is None:
        series.counters[name] = _Counter(number, now)
    else:
        counter.update(number, now, series.interval)


def _interval_checkouts(series: _Series) -> int | None:
    counter = series.counters.get("checkouts")
    return None if counter is None or counter.rate is None else round(counter.rate * series.interval)


def _each_counter(group: list[_Series], read: Callable[[_Counter], Any]) -> dict[str, Any]:
    """The result of `read` for each counter, summed over the group."""
    return {
        field_name: _sum(read(series.counters[sent]) for series in group if sent in series.counters)
        for sent, field_name in DERIVES.items()
    }


def _higher(peaks: Peaks, row: Row) -> Peaks:
    """The maxima, including this row's values."""
    seen = Peaks(row.processes, row.connections, row.used, row.waiting, None, row.interval_checkouts)
    pairs = ([n for n in pair if n is not None] for pair in zip(peaks, seen, strict=True))
    return Peaks(*(max(pair, default=None) for pair in pairs))


def _sum(values: Iterable[Any]) -> Any:
    """The sum of the known values; ``None`` if none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _whole(value: float) -> int | None:
    """A plausible count, or ``None``: collectd sends NaN for an unknown value."""
    return round(value) if isfinite(value) and 0 <= value < 1 << 63 else None


def _program(instance: str) -> str:
    """The program of a plugin instance: ``host`` is sent as ``host_``, ``host_`` as ``host__``.

    >>> _program("host_"), _program("hosting_")
    ('host', 'hosting_')
    """
    return instance[:-1] if instance.endswith("_") and instance.rstrip("_") == HOST else instance


def _clean(name: str) -> str:
    """A name that is safe to show in a terminal."""
    return utf8_name(name).decode()
