"""The SQLAlchemy plugins ``collectd`` and ``connmon``: ``?plugin=collectd`` in a URL, or ``plugins=["collectd"]``.

Their settings stand in the URL (``collectd_host=…``, ``connmon_service=…``) or among the keywords of
``create_engine``; of two, the keyword counts. All are taken out, so the driver gets only its own arguments. Each
setting that is left out is taken from ``poolhouse.report_to()``, else from ``POOLHOUSE_REPORT``, else it has its
default.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy
from sqlalchemy.engine import CreateEnginePlugin, Engine
from sqlalchemy.exc import ArgumentError

from poolhouse.errors import SettingError
from poolhouse.instrumentation import installation
from poolhouse.instrumentation.engines import require_version
from poolhouse.instrumentation.guard import guarded
from poolhouse.report import reporter
from poolhouse.report.destination import CONNMON_PREFIX, Destination

if TYPE_CHECKING:
    from sqlalchemy.engine import URL  # An old SQLAlchemy, which is refused, has it elsewhere.

_COLLECTD = "collectd_"


class _Plugin(CreateEnginePlugin):
    """Measures the pool of the engine that is being created, and reports it to an aggregator.

    Raises:
        sqlalchemy.exc.ArgumentError: If a setting is wrong or unknown; it names the setting. If SQLAlchemy is too
            old; it names the version that is needed.
    """

    _prefix: ClassVar[str]

    def __init__(self, url: "URL", kwargs: dict[str, Any]) -> None:
        require_version(sqlalchemy.__version__)
        installation.warn_once()
        settings = {key: kwargs.pop(key) for key in list(kwargs) if key.startswith(self._prefix)}
        try:
            self._destination = self._destination_of(url, settings)
        except SettingError as error:
            raise ArgumentError(str(error)) from None

    def update_url(self, url: "URL") -> "URL":
        """The URL without our settings."""
        return url.difference_update_query([key for key in url.query if key.startswith(self._prefix)])

    def engine_created(self, engine: Engine) -> None:
        """Begin to measure; an engine whose pool is measured already stays as it is."""
        measure(engine, self._destination)

    def _destination_of(self, url: "URL", settings: Mapping[str, Any]) -> Destination:
        raise NotImplementedError("each plugin knows its own settings")


class CollectdPlugin(_Plugin):
    """``plugin=collectd``: reports go to the port of a host, over UDP."""

    _prefix = _COLLECTD

    def _destination_of(self, url: "URL", settings: Mapping[str, Any]) -> Destination:
        return destination_of(url, settings)


class ConnmonPlugin(_Plugin):
    """``plugin=connmon``: reports go to a node of a service, over TCP."""

    _prefix = CONNMON_PREFIX

    def _destination_of(self, url: "URL", settings: Mapping[str, Any]) -> Destination:
        return service_destination_of(url, settings)


def destination_of(url: "URL", settings: Mapping[str, Any]) -> Destination:
    """Where an engine with this URL reports.

    Args:
        url: The URL, with our settings in its query.
        settings: Further ones, which count more than the URL's.

    Raises:
        SettingError: If a setting is wrong; it names it.
    """
    return reporter.destination_of({**_in_url(url, _COLLECTD), **settings}, _COLLECTD)


def service_destination_of(url: "URL", settings: Mapping[str, Any]) -> Destination:
    """Where an engine with this URL reports that names a service; see `destination_of`."""
    settings = {**_in_url(url, CONNMON_PREFIX), **settings}
    return Destination.from_service_settings(settings, base=reporter.default_destination())


def _in_url(url: "URL", prefix: str) -> dict[str, Any]:
    return {key: value for key, value in url.query.items() if key.startswith(prefix)}


@guarded
def measure(engine: Engine, destination: Destination) -> None:
    """Measure the pool of an engine from now on, and report it."""
    from poolhouse.instrumentation.watch import (
        watch,
    )  # Only here: it needs more than a version that is too old has.

    watch(engine, reporter.stream(destination))
