"""The address of a view of the page: from paths to places, and back.

::

    /                                        the programs
    /hosts  /lines  /events  /verdicts       the hosts, the lines that hold connections, the events, the verdicts
    /program/NAME                            one program: its processes and pools, its lines
    /program/NAME/pool/HOST/PROCESS/KEY      one pool of one process
    /program/NAME/line/LINE                  one line of a program
    /host/NAME                               the programs of a host

Each part of a path is percent-encoded on its own, so a name may contain any character.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote

Kind = Literal["programs", "hosts", "lines", "events", "verdicts", "program", "host", "pool", "line"]

_PLAIN: dict[str, Kind] = {"hosts": "hosts", "lines": "lines", "events": "events", "verdicts": "verdicts"}
#: The longest path that is considered, in bytes.
LONGEST_PATH = 4_096


class Place(NamedTuple):
    """The subject of a view.

    >>> Place("program", "nova/api").path, Place("pool", "shop", "web1", "12:ab", 3).path, Place("programs").path
    ('/program/nova%2Fapi', '/program/shop/pool/web1/12%3Aab/3', '/')
    """

    kind: Kind
    program: str = ""
    host: str = ""
    token: str = ""
    pool: int = 0
    site: str = ""

    @property
    def path(self) -> str:
        """The path of the view."""
        if self.kind == "program":
            return _path("program", self.program)
        if self.kind == "host":
            return _path("host", self.host)
        if self.kind == "pool":
            return _path("program", self.program, "pool", self.host, self.token, str(self.pool))
        if self.kind == "line":
            return _path("program", self.program, "line", self.site)
        return "/" if self.kind == "programs" else f"/{self.kind}"

    @property
    def about(self) -> str:
        """The name shown above the view; empty if it is about the fleet."""
        return {"program": self.program, "host": self.host, "line": self.site}.get(self.kind, "")


def place_of(path: str) -> Place | None:
    """The place named by a percent-encoded path; ``None`` if there is none.

    >>> place_of("/program/nova%2Fapi") == Place("program", "nova/api"), place_of("/") == Place("programs")
    (True, True)
    >>> place_of("/nothing"), place_of("/program/"), place_of("/program/shop/pool/web1/12/x")
    (None, None, None)
    """
    if len(path) > LONGEST_PATH or not path.startswith("/"):
        return None
    parts = [unquote(part) for part in path[1:].split("/")]
    if any("\0" in part for part in parts):
        return None
    if parts == [""]:
        return Place("programs")
    if len(parts) == 1:
        kind = _PLAIN.get(parts[0])
        return None if kind is None else Place(kind)
    if not all(parts):
        return None
    return _place_below(parts)


def _place_below(parts: Sequence[str]) -> Place | None:
    match parts:
        case ["program", program]:
            return Place("program", program)
        case ["host", host]:
            return Place("host", host=host)
        case ["program", program, "line", site]:
            return Place("line", program, site=site)
        case ["program", program, "pool", host, token, key] if key.isascii() and key.isdecimal():
            return Place("pool", program, host, token, int(key[:20]))
        case _:
            return None


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='', errors='replace')}" for part in parts)
