"""The application's destination, decided from its URL by the same code that decides it in the application."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from poolhouse.defaults import REPORT_VARIABLE
from poolhouse.doctor.finding import Finding, Verdict
from poolhouse.errors import SettingError
from poolhouse.report.destination import (
    CONNMON_PREFIX,
    DESTINATION_SETTINGS,
    ENGINE_SETTINGS,
    PREFIXES,
    Destination,
)
from poolhouse.report.reporter import default_destination
from poolhouse.report.service_settings import NAMES as SERVICE_SETTINGS
from poolhouse.report.unknown import nearest

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


class Address(NamedTuple):
    """The contents of a URL."""

    destination: Destination
    #: Parameters that poolhouse does not read, and that the driver gets.
    others: tuple[str, ...] = ()
    #: The prefixes of the settings that the URL's plugin reads.
    prefixes: tuple[str, ...] = PREFIXES


def address_of(url: str | None) -> Address:
    """What a program does with this URL.

    Args:
        url: ``collectd://host:port/?…`` or ``connmon://…`` as in ``POOLHOUSE_REPORT``; a database URL with
            ``plugin=poolhouse``, ``plugin=collectd`` or ``plugin=connmon``, or with one of connmon's dialects;
            ``None`` for the environment's settings, as in `poolhouse.instrument`.

    Raises:
        SettingError: If it is neither, or if a setting is wrong.

    >>> address_of("postgresql://db1/shop?plugin=collectd&collectd_host=web1").destination.host
    'web1'
    """
    if url is None:
        return Address(default_destination())
    if url.startswith(("collectd:", "connmon:")):
        return Address(Destination.from_url(url))
    if "://" not in url:
        raise SettingError("url", "expected a database URL with plugin=collectd, or collectd://host:port/")
    return _of_database_url(url)


def look_at_parameters(address: Address) -> Iterator[Finding]:
    """A finding for each parameter that was probably meant for poolhouse but goes to the driver."""
    ours = {
        prefix + name: prefix
        for prefixes, names in ((PREFIXES, DESTINATION_SETTINGS), ((CONNMON_PREFIX,), SERVICE_SETTINGS))
        for prefix in prefixes
        for name in (*names, *ENGINE_SETTINGS)
    }
    for key in address.others:
        meant = nearest(key, list(ours)) if "_" in key else None
        if key.startswith((*PREFIXES, CONNMON_PREFIX)):
            remedy = f"plugin={address.prefixes[-1].rstrip('_')} does not read it."
        elif meant is not None and nearest(key.partition("_")[0], [ours[meant].rstrip("_")]) is not None:
            remedy = f"Did you mean {meant}?"
        else:
            continue
        yield Finding(Verdict.WRONG, "parameter", f"{key} goes to the driver, not to poolhouse.\n{remedy}")


def _of_database_url(text: str) -> Address:
    """What ``create_engine`` would do with this URL. No error repeats the URL: it contains a password."""
    try:
        from sqlalchemy.engine.url import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError:
        raise SettingError(
            "url",
            "a database URL is read by SQLAlchemy, which is not installed here: run this with the application's "
            "own Python, or give collectd://host:port/",
        ) from None
    from poolhouse.instrumentation.plugin import destination_of, service_destination_of

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SettingError(
            "url", "SQLAlchemy cannot read it; signs such as @ and / in a password must be encoded (%40, %2F)"
        ) from None
    names = url.query.get("plugin", ())
    plugins = set([names] if isinstance(names, str) else names)
    if "connmon" in plugins or url.drivername.endswith(("+connmon", "_connmon")):
        prefixes: tuple[str, ...] = (CONNMON_PREFIX,)
        return Address(service_destination_of(url, {}), _others(url, prefixes), prefixes)
    if not {"collectd", "poolhouse"} & plugins:
        raise SettingError(
            "plugin",
            "the URL does not say plugin=collectd: nothing in it makes a program report. A program that reports "
            f"without it is examined without a URL, with its {REPORT_VARIABLE}",
        )
    return Address(destination_of(url, {}), _others(url, PREFIXES))


def _others(url: "URL", prefixes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in url.query if key != "plugin" and not key.startswith(prefixes))
