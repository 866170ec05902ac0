"""The SQLAlchemy plugin ``collectd``: ``?plugin=collectd`` in a URL, or ``plugins=["collectd"]``.

Its settings stand in the URL (``collectd_host=…``) or among the keywords of ``create_engine``; of two, the keyword
counts. All are taken out, so the driver gets only its own arguments. Each setting that is left out is taken from
``poolhouse.report_to()``, else from ``POOLHOUSE_REPORT``, else it has its default.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy.engine import CreateEnginePlugin, Engine
from sqlalchemy.exc import ArgumentError

from poolhouse.errors import SettingError
from poolhouse.instrumentation import installation
from poolhouse.instrumentation.engines import require_version
from poolhouse.instrumentation.guard import guarded
from poolhouse.report import reporter
from poolhouse.report.destination import Destination

if TYPE_CHECKING:
    from sqlalchemy.engine import URL  # An old SQLAlchemy, which is refused, has it elsewhere.

_PREFIX = "collectd_"


class CollectdPlugin(CreateEnginePlugin):
    """Measures the pool of the engine that is being created, and reports it to an aggregator.

    Raises:
        sqlalchemy.exc.ArgumentError: If a setting is wrong or unknown; it names the setting. If SQLAlchemy is too
            old; it names the version that is needed.
    """

    def __init__(self, url: "URL", kwargs: dict[str, Any]) -> None:
        require_version(sqlalchemy.__version__)
        installation.warn_once()
        settings = {key: kwargs.pop(key) for key in list(kwargs) if key.startswith(_PREFIX)}
        try:
            self._destination = destination_of(url, settings)
        except SettingError as error:
            raise ArgumentError(str(error)) from None

    def update_url(self, url: "URL") -> "URL":
        """The URL without our settings."""
        return url.difference_update_query([key for key in url.query if key.startswith(_PREFIX)])

    def engine_created(self, engine: Engine) -> None:
        """Begin to measure; an engine whose pool is measured already stays as it is."""
        _watch(engine, self._destination)


def destination_of(url: "URL", settings: Mapping[str, Any]) -> Destination:
    """Where an engine with this URL reports.

    Args:
        url: The URL, with our settings in its query.
        settings: Further ones, which count more than the URL's.

    Raises:
        SettingError: If a setting is wrong; it names it.
    """
    in_url = {key: value for key, value in url.query.items() if key.startswith(_PREFIX)}
    return reporter.destination_of({**in_url, **settings}, _PREFIX)


@guarded
def _watch(engine: Engine, destination: Destination) -> None:
    from poolhouse.instrumentation.watch import (
        watch,
    )  # Only here: it needs more than a version that is too old has.

    watch(engine, reporter.stream(destination))
