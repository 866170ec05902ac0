"""A pool's name in reports, made from its host, port and database, and from nothing that may be secret.

Names reach dashboards, logs and the network, where a password must not be. So a name contains only parts that are
certain to be a host, a port or a database. Otherwise the pool keeps the name that it gave itself.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

#: The default names of pools; they mean nothing across many processes.
_GIVEN = re.compile(r"pool-\d+")
#: Hosts as they may occur in a URL or a libpq connection string: names, addresses, socket folders (an abstract
#: socket begins with ``@``), SQL Server's named instances; several of them.
_HOSTS = re.compile(r"@?[\w.\-/,\\]*|[\w.\-,:\[\]%]+")
#: A text with one of these is not accepted as a database name: it may be part of a URL, or a list of settings.
_NOT_IN_DATABASES = re.compile(r"[@?=;&{}]|://")
_PORTS = re.compile(r"[\d,]*")
#: A word ``key = value`` or ``key = 'a value'`` of libpq's connection strings.
_WORD = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?=\s|$)")
#: One of a URL's hosts, with or without its port.
_PLACE = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(\d*))?")
_URL = re.compile(r"[a-zA-Z][\w+.\-]*://")
#: The other database names and paths: without signs that separate words, pairs, users or settings.
_PATH = re.compile(r"[\w.\-/\\~: ]+")

#: The names under which drivers take the same argument; the first one present counts.
_HOST = ("host", "hostaddr", "unix_socket")
_DATABASE = ("dbname", "database", "db")


def pool_name(given: str, conninfo: Any, kwargs: Any) -> str:
    """The name given to the pool; else `place_name`; else `given`.

    Args:
        given: The pool's `name`; a default name such as ``pool-1`` counts as none.
        conninfo: A URL, a libpq connection string, or a file path. A callable is not called: it may fetch a
            secret.
        kwargs: Arguments of the driver's ``connect``, which override `conninfo`. Not called either.

    >>> pool_name("orders", "host=db.example", None)
    'orders'
    >>> pool_name("pool-1", "postgresql://ann:se/cret@db.example:5432/shop", None)
    'pool-1'
    >>> pool_name("pool-1", "postgresql://ann:secret@db.example:5432/shop?sslmode=require", {"dbname": "stock"})
    'db.example:5432/stock'
    >>> pool_name("pool-1", "host=/run/pg port=5433 dbname='my shop' password='a b'", {"password": "x"})
    '/run/pg:5433/my shop'
    >>> pool_name("pool-1", "", {"host": "::1", "database": "shop"}), pool_name("pool-1", "/srv/shop.db", {})
    ('[::1]/shop', '/srv/shop.db')
    """
    if not _GIVEN.fullmatch(given):
        return given
    return target_name(conninfo, kwargs) or given


def target_name(conninfo: Any, kwargs: Any) -> str:
    """`place_name` of a pool's database, whatever the pool's name; see `pool_name`. Empty if not known.

    >>> target_name("host=db.example dbname=shop user=ann", {"port": 5433})
    'db.example:5433/shop'
    """
    settings = _settings(conninfo) if isinstance(conninfo, str) else {}
    if isinstance(kwargs, Mapping):
        if isinstance(dsn := kwargs.get("dsn"), str):
            settings |= _settings(dsn)
        settings |= {key: str(value) for key, value in kwargs.items() if isinstance(value, str | int)}
    return place_name(_first(settings, _HOST), settings.get("port", ""), _first(settings, _DATABASE))


def place_name(host: str, port: str, database: str) -> str:
    """``host:port/database`` without empty parts: the only part of a URL or of settings that leaves the process.

    Empty if one of the three does not look right. All sources of pools use this function.

    Source: OpenTelemetry, ``db.client.connection.pool.name``.

    >>> place_name("db.example", "5432", "shop"), place_name("::1", "", ""), place_name("", "", "my shop.db")
    ('db.example:5432/shop', '[::1]', 'my shop.db')
    >>> place_name("Secr3t@db.example", "5432", "shop"), place_name("Se", "", "cr3t@db.example/shop")
    ('', '')
    """
    if not _HOSTS.fullmatch(host) or not _PORTS.fullmatch(port) or _NOT_IN_DATABASES.search(database):
        return ""
    address = f"[{host}]" if ":" in host and "[" not in host else host
    if address and port:
        address = f"{address}:{port}"
    return "/".join(part for part in (address, database) if part)


def _first(settings: Mapping[str, str], keys: tuple[str, ...]) -> str:
    return next((settings[key] for key in keys if settings.get(key)), "")


def _settings(conninfo: str) -> dict[str, str]:
    """The settings in a connection string, secrets included; empty if it cannot be parsed."""
    if scheme := _URL.match(conninfo):
        return _of_url(conninfo[scheme.end() :])
    words = _of_words(conninfo)
    if words is not None:
        return words
    return {"dbname": conninfo} if _PATH.fullmatch(conninfo) else {}


def _of_url(rest: str) -> dict[str, str]:
    """Parse what follows the scheme of a URL; several hosts are joined as in libpq's connection strings.

    >>> _of_url("ann:x@a:5432,b:5433/shop?connect_timeout=2")
    {'host': 'a,b', 'port': '5432,5433', 'dbname': 'shop', 'connect_timeout': '2'}
    """
    authority, _, path = rest.partition("/")
    if "/" in rest:
        path, _, query = path.partition("?")
    else:
        authority, _, query = authority.partition("?")
    places = [_PLACE.fullmatch(place) for place in authority.rpartition("@")[2].split(",")]
    # With these signs elsewhere, the URL may have an unencoded password; drivers parse it differently.
    if "@" in path + query or "?" in authority or None in places:
        return {}
    found = [(unquote(place[1].strip("[]")), place[2] or "") for place in places if place]
    ports = ",".join(port for _, port in found).strip(",")
    return {"host": ",".join(host for host, _ in found), "port": ports, "dbname": unquote(path)} | dict(
        parse_qsl(query)
    )


def _of_words(conninfo: str) -> dict[str, str] | None:
    r"""Parse libpq's ``key=value`` pairs; ``None`` if this is something else.

    >>> _of_words(r"host = a  dbname='it\'s'"), _of_words("shop.db")
    ({'host': 'a', 'dbname': "it's"}, None)
    """
    words: dict[str, str] = {}
    at = 0
    while at < len(conninfo.rstrip()):
        word = _WORD.match(conninfo, at)
        if word is None:
            return None
        key, value = word.groups()
        words[key] = re.sub(r"\\(.)", r"\1", value[1:-1] if value.startswith("'") else value)
        at = word.end()
    return words
