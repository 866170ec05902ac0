"""A verdict: one cause of trouble in the fleet, with everything that people read about it."""

import re
from typing import NamedTuple

from poolhouse.meter.signs import VIA
from poolhouse.verdicts.causes import BY_NAME, Severity, rank_of

_LINE = re.compile(r"(?P<file>.+):(?P<line>\d+)(?: in (?P<function>.*))?", re.DOTALL)


class Culprit(NamedTuple):
    """A line of the application, as `parse_line` reads it from a site's name."""

    #: Empty if only a name is known, which is then the function.
    file: str
    line: int = 0
    function: str = ""
    #: The helper through which the line takes its connections; empty if there is none.
    via: str = ""
    #: The line at which its holders are now; empty if that is not known, or the same line.
    now_at: str = ""

    @property
    def place(self) -> str:
        """The line in words: ``app/export.py:88 in rows``."""
        if not self.file:
            return self.function
        return f"{self.file}:{self.line}" + (f" in {self.function}" if self.function else "")

    @property
    def site(self) -> str:
        """The name of the site that it was read from: the line, and the helper."""
        return self.place + (VIA + self.via if self.via else "")


class Verdict(NamedTuple):
    """One cause of trouble that stands now."""

    #: Its name in `poolhouse.verdicts.causes`; a newer server may name causes that this table lacks.
    cause: str
    #: When it began, in seconds since the epoch.
    since: float
    program: str
    hosts: tuple[str, ...] = ()
    #: How many of the program's processes it is true of, and how many there are.
    processes: tuple[int, int] = (1, 1)
    #: The pool's name, and the database's ``host:port/name``; each empty if it does not concern a single one.
    pool: str = ""
    target: str = ""
    culprit: Culprit | None = None
    #: The numbers that decided, named as in the cause's entry; a name that ends in ``_s`` is in seconds.
    evidence: tuple[tuple[str, float], ...] = ()
    #: For `server_full`: each program that uses the server, with its open connections and how many it may open;
    #: ``None`` for no limit.
    shares: tuple[tuple[str, int, int | None], ...] = ()

    @property
    def severity(self) -> Severity:
        """``alarm`` or ``notice``."""
        cause = BY_NAME.get(self.cause)
        return "alarm" if cause is None else cause.severity

    @property
    def do(self) -> str:
        """What to do about it; empty for a cause that our table lacks."""
        cause = BY_NAME.get(self.cause)
        return "" if cause is None else cause.do

    @property
    def disprove(self) -> str:
        """Observations that would show another cause; empty for a cause that our table lacks."""
        cause = BY_NAME.get(self.cause)
        return "" if cause is None else cause.disprove

    @property
    def pool_key(self) -> tuple[str, str, str]:
        """The pool that it is about: the program, and the pool's name and target."""
        return self.program, self.pool, self.target

    @property
    def subject(self) -> tuple[str, str, str, str, str]:
        """The subject of the verdict: as long as it stays the same, it is the same verdict."""
        site = self.culprit.place if self.culprit is not None else ""
        return self.cause, self.program, self.pool, self.target, site

    def number(self, name: str, default: float = 0.0) -> float:
        """One of the numbers that decided."""
        return next((value for known, value in self.evidence if known == name), default)


def main_first(verdict: Verdict) -> tuple[tuple[int, int], int, float, tuple[str, ...]]:
    """The sort key of a verdict: the main cause first, then the most processes, then the longest standing."""
    return rank_of(verdict.cause), -verdict.processes[0], verdict.since, verdict.subject


def parse_line(site: str, now_at: str = "") -> Culprit | None:
    """The line that a site's name means; ``None`` for an empty name.

    >>> parse_line("app/views.py:88 in cart via lib/db.py:12 in session")
    Culprit(file='app/views.py', line=88, function='cart', via='lib/db.py:12 in session', now_at='')
    >>> parse_line("unknown")
    Culprit(file='', line=0, function='unknown', via='', now_at='')
    """
    if not site:
        return None
    place, _, via = site.partition(VIA)
    at = "" if now_at == place else now_at
    found = _LINE.fullmatch(place)
    if found is None:
        return Culprit("", 0, place, via, at)
    return Culprit(found["file"], int(found["line"][-9:]), found["function"] or "", via, at)


def named(cause: str, numbers: tuple[float, ...]) -> tuple[tuple[str, float], ...]:
    """The numbers of a finding with their names; empty for a cause that our table lacks.

    >>> named("leak", (3.0, 15.0))
    (('kept', 3.0), ('max', 15.0))
    """
    known = BY_NAME.get(cause)
    return () if known is None else tuple(zip(known.numbers, numbers, strict=False))
