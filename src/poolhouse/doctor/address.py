"""Where the application reports to, from the URL that it has: decided by the code that decides it there."""

from poolhouse.errors import SettingError
from poolhouse.report.destination import Destination
from poolhouse.report.reporter import default_destination


def destination_of(url: str | None) -> Destination:
    """The destination that a program with this URL reports to.

    Args:
        url: ``collectd://host:port/?…`` as in ``POOLHOUSE_REPORT``; a database URL with ``plugin=collectd``;
            ``None`` for what this environment says, which is what `poolhouse.instrument` uses.

    Raises:
        SettingError: If it is neither, or a setting is wrong.

    >>> destination_of("postgresql://db1/shop?plugin=collectd&collectd_host=web1").host
    'web1'
    """
    if url is None:
        return default_destination()
    if url.startswith("collectd:"):
        return Destination.from_url(url)
    if "://" not in url:
        raise SettingError("url", "expected a database URL with plugin=collectd, or collectd://host:port/")
    return _of_database_url(url)


def _of_database_url(text: str) -> Destination:
    """What ``create_engine`` would do with this URL. No error repeats it: there is a password in it."""
    try:
        from sqlalchemy.engine.url import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError:
        raise SettingError(
            "url",
            "a database URL is read by SQLAlchemy, which is not installed here: run this with the application's "
            "own Python, or give collectd://host:port/",
        ) from None
    from poolhouse.instrumentation.plugin import destination_of as destination_of_engine

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SettingError(
            "url", "SQLAlchemy cannot read it; signs such as @ and / in a password must be encoded (%40, %2F)"
        ) from None
    names = url.query.get("plugin", ())
    if "collectd" not in ([names] if isinstance(names, str) else names):
        raise SettingError("plugin", "the URL does not say plugin=collectd: nothing in it makes a program report")
    return destination_of_engine(url, {})
