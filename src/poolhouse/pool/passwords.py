"""The passwords in what a pool connects with: drivers repeat parts of a conninfo that they cannot read."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from poolhouse.conceal import ASSIGNED, SECRET_NAME

#: What drivers call a conninfo that is passed by name.
_CONNINFO = ("conninfo", "dsn")
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
        found.update(_of_kwargs(kwargs))
    if isinstance(conninfo, str):
        found.update(_of_conninfo(conninfo))
    return sorted((one for one in found if len(one) >= _LEAST_LENGTH), key=len, reverse=True)


def secrets_of_creator(creator: Callable[..., object]) -> list[str]:
    """The passwords in what SQLAlchemy's own creator passes to the driver, longest first.

    They are known to that function only, so they are read from its closure. Of an application's creator, or of a
    SQLAlchemy that keeps them elsewhere, none is known.
    """
    names: tuple[str, ...] = getattr(getattr(creator, "__code__", None), "co_freevars", ())
    cells: tuple[Any, ...] = getattr(creator, "__closure__", None) or ()
    known: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=False):
        try:
            known[name] = cell.cell_contents
        except ValueError:  # Not assigned yet.
            continue
    arguments = known.get("cargs_tup", known.get("cargs", ()))
    first = arguments[0] if isinstance(arguments, tuple | list) and arguments else ""
    return secrets_in(first, known.get("cparams"))


def _of_kwargs(kwargs: Mapping[Any, object]) -> Iterator[str]:
    for name, value in kwargs.items():
        if isinstance(name, str) and isinstance(value, str):
            if re.search(SECRET_NAME, name):
                yield value
            elif name in _CONNINFO or "=" in value or "://" in value:
                yield from _of_conninfo(value)


def _of_conninfo(conninfo: str) -> Iterator[str]:
    for assigned in re.finditer(ASSIGNED, conninfo):
        yield _quoted(assigned[2])
        yield unquote(assigned[2])
    if "://" in conninfo:
        yield from _of_url(conninfo)
    else:
        yield from _without_keyword(conninfo)


def _quoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith("'") else value


def _of_url(url: str) -> set[str]:
    password = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    return {password, unquote(password), *_ENDS.split(password)}


def _without_keyword(conninfo: str) -> set[str]:
    """What libpq takes for a keyword without a value: the rest of a password with blanks, or a URL without `://`."""
    is_list = "=" in conninfo
    return {word for word in conninfo.split() if "=" not in word and (is_list or "@" in word)}
