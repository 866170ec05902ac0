"""The passwords in what a pool connects with: drivers repeat parts of a conninfo that they cannot read."""

import re
from collections.abc import Mapping
from urllib.parse import unquote

#: Keywords of drivers whose values are secret.
_SECRET = ("password", "passwd", "sslpassword")
_KEYWORD = re.compile(rf"(?:{'|'.join(_SECRET)})\s*=\s*('(?:\\.|[^'\\])*'|[^\s&]+)")
#: Characters at which a URL's password ends too early if they are not encoded.
_ENDS = re.compile("[/?#@:%]")
#: A shorter text is found in every sentence.
_LEAST_LENGTH = 3


def secrets_in(conninfo: object, kwargs: object) -> list[str]:
    """The passwords, and the parts of them that a driver takes for something else, longest first.

    What a function returns is not known.

    >>> secrets_in("postgresql://me:secret@db/shop", {}), secrets_in("host=db password=secret", {})
    (['secret'], ['secret'])
    """
    found: set[str] = set()
    if isinstance(kwargs, Mapping):
        found.update(value for name in _SECRET if isinstance(value := kwargs.get(name), str))
    if isinstance(conninfo, str):
        found.update(_quoted(match[1]) for match in _KEYWORD.finditer(conninfo))
        found.update(_of_url(conninfo) if "://" in conninfo else _without_keyword(conninfo))
    return sorted((one for one in found if len(one) >= _LEAST_LENGTH), key=len, reverse=True)


def _quoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith("'") else value


def _of_url(url: str) -> set[str]:
    password = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    return {password, unquote(password), *_ENDS.split(password)}


def _without_keyword(conninfo: str) -> set[str]:
    """What libpq takes for a keyword without a value: the rest of a password with blanks, or a URL without `://`."""
    is_list = "=" in conninfo
    return {word for word in conninfo.split() if "=" not in word and (is_list or "@" in word)}
