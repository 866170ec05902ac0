"""Where the application reports to, from whichever URL it was given."""

from urllib.parse import parse_qsl, urlsplit

from poolhouse.errors import SettingError
from poolhouse.report.destination import Destination
from poolhouse.report.reporter import default_destination

#: What begins with this in a database URL is a setting of ours.
PREFIX = "collectd_"


def destination_of(url: str | None) -> Destination:
    """The destination that a URL names.

    Args:
        url: ``collectd://host:port/?…`` as in ``POOLHOUSE_REPORT``; a database URL with ``plugin=collectd``;
            ``None`` for what this environment says, which is what `poolhouse.instrument` uses.

    Raises:
        SettingError: If it is neither, or a setting in it is wrong.

    >>> destination_of("postgresql://db1/shop?plugin=collectd&collectd_host=web1").address
    'web1:25827'
    """
    if url is None:
        return default_destination()
    if url.startswith("collectd:"):
        return Destination.from_url(url)
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    if "://" not in url or "collectd" not in [value for name, value in pairs if name == "plugin"]:
        raise SettingError("plugin", "the URL does not say plugin=collectd: nothing in it makes a program report")
    return Destination.from_settings({name: value for name, value in pairs if name.startswith(PREFIX)}, PREFIX)
