"""The nine metrics as instruments of OpenTelemetry's API, and their values at a collection.

Gauges and counters are observable: they are read at each collection. The API has no observable histogram, so the
first callback of each collection records the new durations, which count in that collection (decision 0026).
Nothing happens between collections, and nothing at a checkout.
"""

from collections.abc import Callable, Iterable, Mapping
from time import sleep
from typing import TYPE_CHECKING

from poolhouse.clock import monotonic
from poolhouse.copies import copy_of
from poolhouse.export.convention import COUNT, POOL_NAME, STATE, TIMEOUTS, Metric
from poolhouse.meter.histogram import CLASSIC_EXPONENTS
from poolhouse.otel.ledger import NUMBERS, TIMES, Ledger, Now, representatives
from poolhouse.report.native import Lock
from poolhouse.report.readings import Readings
from poolhouse.report.unsent import UNSENT
from poolhouse.safely import ERROR, Log

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

logger = Log("poolhouse.otel")

#: The histogram bounds that the SDK is advised to use: the same as for Prometheus, 122 µs to 64 s.
BOUNDS = tuple(2.0**exponent for exponent in CLASSIC_EXPONENTS)
#: The time that recording may take in one collection: at least and at most this many seconds, and in between this
#: share of the time since the last one. The SDK gives up a collection after ten seconds.
LEAST_S, MOST_S, SHARE = 0.1, 2.0, 0.1
#: This many durations are recorded before other threads get a turn of this many seconds.
_AT_ONCE, _TURN_S = 200, 0.0002
#: A collection that ended longer ago than this, in seconds, is never continued.
_STALE_S = 1.0


class Instruments:
    """The instruments of one meter, and the sums that they export.

    Attributes:
        is_on: Whether they export anything.
    """

    def __init__(self, meter: "Meter") -> None:
        """Make the instruments."""
        from opentelemetry.metrics import Observation

        self.is_on = True
        UNSENT.share(self.tell)
        self._observation: Callable[[float, Mapping[str, str]], Observation] = Observation
        self._has_failed = False
        #: The number of the latest collection; it continues in a forked child, whose callbacks remember numbers.
        self._collection = 0
        self.forget()
        self._histograms = {kind: _histogram(meter, metric) for kind, metric in TIMES.items()}
        self._observe(meter.create_observable_up_down_counter, COUNT, self._connections)
        for metric, source in NUMBERS.items():
            self._observe(meter.create_observable_up_down_counter, metric, self._numbers(source))
        self._observe(meter.create_observable_counter, TIMEOUTS, self._timeouts)

    def forget(self) -> None:
        """Start with nothing, as a forked child must."""
        self._turn = Lock()
        self._ledger = Ledger()
        #: The living pools as of the latest collection, and when that began and ended.
        self._now: dict[str, Now] = {}
        self._began = self._ended = monotonic()
        #: Durations that are being recorded, by the pools' name and the kind: a value, and how often.
        self._queues: dict[tuple[str, str], list[tuple[float, int]]] = {}

    def tell(self, readings: Readings) -> None:
        """Take the readings of the reporter, or of another reader; called in its thread."""
        if self.is_on and self._collection:
            self._ledger.tell(readings)

    # -- A collection ---------------------------------------------------------------------------------------------

    def _observe(
        self,
        create: Callable[..., object],
        metric: Metric,
        tell: Callable[[], Iterable[tuple[float, Mapping[str, str]]]],
    ) -> None:
        last = 0

        def callback(options: "CallbackOptions") -> "list[Observation]":
            nonlocal last
            if not self.is_on:
                return []
            try:
                last = self._collect(last)
                return [self._observation(value, attributes) for value, attributes in tell()]
            except Exception as error:
                self._complain(error)
                return []

        create(metric.name, [callback], metric.unit, metric.description)

    def _collect(self, last: int) -> int:
        """Begin a collection if the caller has already been in the latest one; returns the latest one's number.

        While one is under way in another thread, or under a signal handler, the previous figures are exported.
        """
        now = monotonic()
        if last < self._collection and now - self._ended < _STALE_S:
            return self._collection
        turn = self._turn
        if not turn.acquire(timeout=0):
            return self._collection
        try:
            elapsed, self._began = now - self._began, now
            self._ledger.settle(UNSENT.read(self.tell, self._complain))
            self._now = self._ledger.now()
            try:
                self._record(now + min(max(SHARE * elapsed, LEAST_S), MOST_S))
            except Exception as error:  # From the SDK, a view or a reader; the other metrics are still exported.
                self._queues.clear()
                self._complain(error)
            self._collection += 1
            self._ended = monotonic()
        finally:
            turn.release()
        return self._collection

    def _record(self, deadline: float) -> None:
        """Record new durations until the deadline; the rest is recorded at the next collection."""
        for key in list(self._ledger.grown):
            if key not in self._queues:  # Durations that wait longer grow in their histogram, not in a queue.
                self._queues[key] = representatives(self._ledger.grown.pop(key))
        recorded = 0
        for key, queue in list(self._queues.items()):
            name, kind = key
            attributes, record = {POOL_NAME: name}, self._histograms[kind].record
            while queue:
                value, number = queue.pop()
                now = min(number, _AT_ONCE)
                if now < number:
                    queue.append((value, number - now))
                for _ in range(now):
                    record(value, attributes)
                recorded += now
                if recorded >= _AT_ONCE:
                    recorded = 0
                    if monotonic() >= deadline:
                        return
                    sleep(_TURN_S)
            del self._queues[key]

    def _complain(self, error: Exception) -> None:
        """Log the first failure; later ones are probably the same."""
        if not self._has_failed:
            self._has_failed = True
            logger.log(ERROR, "poolhouse cannot export all metrics to OpenTelemetry", error=error)

    # -- Exported values ------------------------------------------------------------------------------------------

    def _connections(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        for name, now in self._now.items():
            for state in ("idle", "used", "detached"):
                yield getattr(now.gauges, state), {POOL_NAME: name, STATE: state}

    def _numbers(
        self, source: Callable[[Now], int | None]
    ) -> Callable[[], Iterable[tuple[float, Mapping[str, str]]]]:
        def numbers() -> Iterable[tuple[float, Mapping[str, str]]]:
            for name, now in self._now.items():
                if (value := source(now)) is not None:
                    yield value, {POOL_NAME: name}

        return numbers

    def _timeouts(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        for name, timeouts in copy_of(self._ledger.timeouts).items():
            yield timeouts, {POOL_NAME: name}


def _histogram(meter: "Meter", metric: Metric) -> "Histogram":
    try:
        return meter.create_histogram(
            metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=BOUNDS
        )
    except TypeError:  # An API without advice, before 1.30: the bounds are the SDK's, or a view's.
        return meter.create_histogram(metric.name, metric.unit, metric.description)
