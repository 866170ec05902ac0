"""The SQLAlchemy plugins ``poolhouse``, ``collectd`` and ``connmon``.

They are named in a URL, ``?plugin=poolhouse``, or in ``create_engine(…, plugins=["poolhouse"])``. ``poolhouse``
and ``collectd`` are one plugin under two names, each of which accepts the settings of both spellings. The settings
come from the URL (``poolhouse_host=…``, ``connmon_service=…``) or from the keywords of ``create_engine``, which
take precedence. All are removed, so the driver gets only its own arguments. A setting that is left out comes from
``poolhouse.report_to()``, then from ``POOLHOUSE_REPORT``, and otherwise has its default.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import sqlalchemy
from sqlalchemy.engine import CreateEnginePlugin, Engine
from sqlalchemy.exc import ArgumentError

from poolhouse.errors import SettingError
from poolhouse.instrumentation import installation
from poolhouse.instrumentation.engines import require_version
from poolhouse.instrumentation.guard import guarded
from poolhouse.instrumentation.long_holds import hold_warning_of
from poolhouse.report import reporter
from poolhouse.report.destination import (
    CONNMON_PREFIX,
    ENGINE_SETTINGS,
    PREFIXES,
    Destination,
    require_one_spelling,
)
from poolhouse.sites.modules import skipped

if TYPE_CHECKING:
    from sqlalchemy.engine import URL  # Elsewhere in the old versions that are refused.


class EngineSettings(NamedTuple):
    """The settings by which one engine is measured."""

    #: Packages between the application and the pool, besides those that are always skipped.
    skip: tuple[str, ...] = ()
    #: Log connections that are held for longer than this, in seconds; ``None`` for never.
    hold_warning: float | None = None


class _Plugin(CreateEnginePlugin):
    """Measures the pool of the engine that is being created, and reports it to an aggregator.

    Raises:
        sqlalchemy.exc.ArgumentError: If a setting is wrong or unknown, which it names; or if SQLAlchemy is too
            old, with the version that is needed.
    """

    _prefixes: ClassVar[tuple[str, ...]]

    def __init__(self, url: "URL", kwargs: dict[str, Any]) -> None:
        require_version(sqlalchemy.__version__)
        installation.warn_once()
        settings = {key: kwargs.pop(key) for key in list(kwargs) if key.startswith(self._prefixes)}
        try:
            self._own = own_settings(url, settings, self._prefixes)
            self._destination = self._destination_of(url, settings)
        except SettingError as error:
            raise ArgumentError(str(error)) from None

    def update_url(self, url: "URL") -> "URL":
        """The URL without our settings."""
        return url.difference_update_query([key for key in url.query if key.startswith(self._prefixes)])

    def engine_created(self, engine: Engine) -> None:
        """Start measuring; an engine whose pool is measured already stays unchanged."""
        measure(engine, self._destination, self._own)

    def _destination_of(self, url: "URL", settings: Mapping[str, Any]) -> Destination:
        raise NotImplementedError("each plugin knows its own settings")


class CollectdPlugin(_Plugin):
    """``plugin=poolhouse`` and ``plugin=collectd``: reports go to the port of a host, over UDP."""

    _prefixes = PREFIXES

    def _destination_of(self, url: "URL", settings: Mapping[str, Any]) -> Destination:
        return destination_of(url, settings)


class ConnmonPlugin(_Plugin):
    """``plugin=connmon``: reports go to a node of a service, over TCP."""

    _prefixes = (CONNMON_PREFIX,)

    def _destination_of(self, url: "URL", settings: Mapping[str, Any]) -> Destination:
        return service_destination_of(url, settings)


def destination_of(url: "URL", settings: Mapping[str, Any]) -> Destination:
    """The destination of the reports of an engine with this URL.

    Args:
        url: The URL, with our settings in its query.
        settings: Further settings, which override those of the URL.

    Raises:
        SettingError: If a setting is wrong; the message names it.
    """
    return reporter.destination_of({**_in_url(url, PREFIXES), **settings}, PREFIXES)


def service_destination_of(url: "URL", settings: Mapping[str, Any]) -> Destination:
    """The destination of the reports of an engine whose URL names a service; see `destination_of`."""
    settings = {**_in_url(url, (CONNMON_PREFIX,)), **settings}
    return Destination.from_service_settings(settings, base=reporter.default_destination())


def _in_url(url: "URL", prefixes: tuple[str, ...]) -> dict[str, Any]:
    own = [prefix + name for prefix in prefixes for name in ENGINE_SETTINGS]
    return {key: value for key, value in url.query.items() if key.startswith(prefixes) and key not in own}


def own_settings(url: "URL", settings: dict[str, Any], prefixes: tuple[str, ...]) -> EngineSettings:
    """Take the engine's own settings out of `settings`.

    Args:
        url: The URL, with our settings in its query.
        settings: Further settings, which override those of the URL.
        prefixes: The prefixes that our settings may have.

    Raises:
        SettingError: If one is wrong, or spelled with two prefixes; the message names it.
    """
    require_one_spelling({**url.query, **settings}, prefixes)
    given: dict[str, tuple[str, Any]] = {}
    for name in ENGINE_SETTINGS:
        for key in (prefix + name for prefix in prefixes):
            value = settings.pop(key, url.query.get(key))
            if value is not None:
                given[name] = key, value
    skip, hold_warning = (given.get(name, (name, None)) for name in ENGINE_SETTINGS)
    return EngineSettings(
        skipped("" if skip[1] is None else skip[1], skip[0]),
        hold_warning_of(hold_warning[1], hold_warning[0]),
    )


@guarded
def measure(engine: Engine, destination: Destination, own: EngineSettings) -> None:
    """Measure the pool of an engine from now on, and report it.

    Args:
        engine: The engine that owns the pool.
        destination: Where its reports go.
        own: The engine's own settings.
    """
    # Imported here: it needs more than too old a version of SQLAlchemy has.
    from poolhouse.instrumentation.watch import watch

    watch(engine, reporter.stream(destination), *own)
