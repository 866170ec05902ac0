"""Exports an application's pools through its own OpenTelemetry.

    import poolhouse.otel

    poolhouse.otel.instrument()

exports the nine metrics ``db.client.connection.*`` of the semantic conventions 1.44.0 for every pool of the
process: the pools of SQLAlchemy, psycopg_pool, asyncpg, aiomysql, psycopg2 and poolhouse, existing ones and those
    made later. No
daemon is needed. It needs the package ``opentelemetry-api``, which the extra ``otel`` installs.
"""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from poolhouse.installing import install_command

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from poolhouse.otel.instruments import Instruments

__all__ = ["instrument", "uninstrument"]

#: The instruments that have been made, with their providers; ``None`` is the global one.
_made: "list[tuple[MeterProvider | None, Instruments]]" = []
_is_at_fork: list[bool] = []


def instrument(meter_provider: "MeterProvider | None" = None) -> None:
    """Export every pool of this process to OpenTelemetry, at each collection.

    Pools that are reported to an aggregator appear as in their latest report. All others are read at the
    collection. Pools that this call finds are reported nowhere else unless ``poolhouse.report_to()`` or
    ``POOLHOUSE_REPORT`` names a destination.

    A second call changes nothing; with another provider, the metrics go there from now on. A forked child starts
    at zero.

    Args:
        meter_provider: The provider of the instruments; ``None`` for OpenTelemetry's global one, which may be set
            later.

    Raises:
        ModuleNotFoundError: If ``opentelemetry-api`` is not installed; the message says what to type.
    """
    try:
        from opentelemetry.metrics import get_meter, get_meter_provider
    except ModuleNotFoundError as error:
        words = f"poolhouse.otel needs opentelemetry-api: {install_command('otel')}"
        raise ModuleNotFoundError(words, name=error.name) from None
    from poolhouse.export.convention import SCHEMA_URL
    from poolhouse.otel.instruments import Instruments

    present = get_meter_provider()
    provider = None if meter_provider is present else meter_provider
    _measure()
    # The global provider may have been passed explicitly before.
    found = [instruments for known, instruments in _made if known is provider or known is (provider or present)]
    if not found:
        found = [Instruments(get_meter("poolhouse", _version(), provider, SCHEMA_URL))]
        _made.append((provider, found[0]))
    for _, instruments in _made:
        instruments.is_on = instruments is found[0]


def uninstrument() -> None:
    """Stop exporting. What was recorded stays with OpenTelemetry, and pools stay measured."""
    for _, instruments in _made:
        instruments.is_on = False


def _measure() -> None:
    """Have every pool measured."""
    from poolhouse.attach.late import attach_for
    from poolhouse.report import readings, unsent

    if not _is_at_fork:
        _is_at_fork.append(True)
        unsent.begin_afresh_in_children()
        os.register_at_fork(after_in_child=_after_fork)
        readings.observe(_tell)
    attach_for("poolhouse.otel")


def _tell(readings: Any) -> None:
    for _, instruments in _made:
        if instruments.is_on:
            instruments.tell(readings)


def _after_fork() -> None:
    for _, instruments in _made:
        instruments.forget()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    with suppress(PackageNotFoundError):
        return version("poolhouse")
    return ""
