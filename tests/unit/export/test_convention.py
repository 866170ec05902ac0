"""The convention's metrics are those of OpenTelemetry's own package of semantic conventions."""

from typing import Any

import pytest
from opentelemetry.semconv._incubating.attributes import db_attributes
from opentelemetry.semconv._incubating.metrics import db_metrics, process_metrics

from poolhouse.export.convention import (
    METRICS,
    POOL_NAME,
    PROCESS_CPU_TIME,
    PROCESS_FILE_DESCRIPTORS,
    PROCESS_MEMORY_USAGE,
    STATE,
    Metric,
)


class Meter:
    """Remembers what is made."""

    def __init__(self) -> None:
        self.made: list[Metric] = []

    def create_up_down_counter(self, name: str, unit: str, description: str) -> None:
        self.made.append(Metric(name, "updowncounter", unit, description))

    def create_counter(self, name: str, unit: str, description: str) -> None:
        self.made.append(Metric(name, "counter", unit, description))

    def create_histogram(self, name: str, unit: str, description: str) -> None:
        self.made.append(Metric(name, "histogram", unit, description))


@pytest.mark.parametrize(
    ("module", "metric"),
    [(db_metrics, metric) for metric in METRICS]
    + [(process_metrics, metric) for metric in (PROCESS_CPU_TIME, PROCESS_MEMORY_USAGE, PROCESS_FILE_DESCRIPTORS)],
)
def test_name_instrument_unit_and_description_are_those_of_the_convention(module: Any, metric: Metric) -> None:
    meter = Meter()
    getattr(module, "create_" + metric.name.replace(".", "_"))(meter)
    assert meter.made == [metric]


def test_the_attributes_are_those_of_the_convention() -> None:
    assert POOL_NAME == db_attributes.DB_CLIENT_CONNECTION_POOL_NAME
    assert STATE == db_attributes.DB_CLIENT_CONNECTION_STATE
    states = {state.value for state in db_attributes.DbClientConnectionStateValues}
    assert states == {"idle", "used"}


def test_all_of_the_conventions_pool_metrics_are_there() -> None:
    named = [value for name, value in vars(db_metrics).items() if name.startswith("DB_CLIENT_CONNECTION_")]
    assert sorted(named) == sorted(metric.name for metric in METRICS)
