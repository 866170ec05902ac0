"""The collector; imported if prometheus-client is installed."""

import os
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

from poolhouse.attach.late import attach_for
from poolhouse.export import convention
from poolhouse.export.convention import Metric, prometheus_name
from poolhouse.meter.histogram import CLASSIC_EXPONENTS, Histogram
from poolhouse.otel.ledger import NUMBERS, TIMES
from poolhouse.prometheus.sums import SUMS, Figures
from poolhouse.safely import ERROR, Log

#: The variable by which several processes share their counts.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

_POOL, _STATE = prometheus_name(convention.POOL_NAME), prometheus_name(convention.STATE)

_logger = Log("poolhouse.prometheus")


def prepare() -> None:
    """Have every pool measured, and warn of what a collector cannot do here."""
    SUMS.begin()
    attach_for("poolhouse.prometheus")
    if os.environ.get(MULTIPROCESS):
        _logger.warning(
            "poolhouse exports the pools of the answering process only: %s is set, and its shared files do not "
            "include them. Let Prometheus scrape connmond, which has the sums",
            MULTIPROCESS,
        )


class PoolCollector(Collector):
    """Exports the pools of this process whenever a registry asks."""

    def __init__(self) -> None:
        self._has_failed = False

    def describe(self) -> Iterable[MetricFamily]:
        """The metrics without samples, so that a registry refuses a second collector of the same names."""
        return _families(Figures({}, {}, {}))

    def collect(self) -> Iterable[MetricFamily]:
        """The present metrics. An error is logged once, and costs only its samples."""
        try:
            return _families(SUMS.figures(self._complain))
        except Exception as error:
            self._complain(error)
            return self.describe()

    def _complain(self, error: Exception) -> None:
        """Log the first failure; later ones are probably the same."""
        if not self._has_failed:
            self._has_failed = True
            _logger.log(ERROR, "poolhouse cannot export all metrics to Prometheus", error=error)


def _families(figures: Figures) -> list[MetricFamily]:
    count = GaugeMetricFamily(*_head(convention.COUNT), labels=[_POOL, _STATE])
    for name, now in figures.now.items():
        for state in ("idle", "used", "detached"):
            count.add_metric([name, state], getattr(now.gauges, state))
    found: list[MetricFamily] = [count]
    for metric, number_of in NUMBERS.items():
        gauges = GaugeMetricFamily(*_head(metric), labels=[_POOL])
        for name, now in figures.now.items():
            if (value := number_of(now)) is not None:
                gauges.add_metric([name], value)
        found.append(gauges)
    timeouts = CounterMetricFamily(*_head(convention.TIMEOUTS), labels=[_POOL])
    for name, number in figures.timeouts.items():
        timeouts.add_metric([name], number)
    found.append(timeouts)
    for kind, metric in TIMES.items():
        times = HistogramMetricFamily(*_head(metric), labels=[_POOL])
        for (name, of_kind), histogram in figures.times.items():
            if of_kind == kind:
                times.add_metric([name], _buckets(histogram), histogram.sum_ns / 1e9)
        found.append(times)
    return found


def _head(metric: Metric) -> tuple[str, str]:
    """Name and description of a metric."""
    return prometheus_name(metric.name, metric.unit), metric.description


def _buckets(times: Histogram) -> list[tuple[str, float]]:
    """The buckets with their bounds, and exact counts."""
    up_to = times.up_to_powers()
    buckets = [(str(2.0**power), float(up_to[power])) for power in CLASSIC_EXPONENTS if power in up_to]
    return [*buckets, ("+Inf", float(times.count))]
