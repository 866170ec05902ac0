"""The lines that hold connections, of the fleet, a program, a process or a pool, as one table."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from poolhouse.clean import clean
from poolhouse.fleet.snapshot import Holder, ProcessRow, Snapshot
from poolhouse.meter.signs import Looks, SiteReading
from poolhouse.meter.signs_sum import summed_sites
from poolhouse.verdicts.verdict import Verdict
from poolhouse.views.bars import bars, summary
from poolhouse.views.column import Column, Sheet, Sorting, Table
from poolhouse.views.fleet_table import why_column
from poolhouse.views.line import UNKNOWN, Line, Span, spread, words
from poolhouse.views.pool_table import NO_POOL, PoolKey
from poolhouse.views.standing import sign, tone_of
from poolhouse.views.units import count, duration, exact, share, short

#: Fewer looks than this say nothing about how busy a line's holders are.
_FEW_LOOKS = 10
#: The greatest height of bars, however high the window.
_HIGHEST = 8
#: From this share of looks that found the call ended, the line is shown in red.
_ENDED_SHARE = 0.8


class HolderEntry(NamedTuple):
    """One line of the table."""

    program: str
    #: The host and token of its process; empty if the line is a sum over processes.
    host: str
    token: str
    #: The key of its pool; ``None`` if the line is a sum over pools.
    pool: int | None
    #: Live processes that report it.
    processes: int
    site: SiteReading

    @property
    def key(self) -> tuple[str, str, str, int | None, str]:
        """The identity of the line in the table."""
        return self.program, self.host, self.token, self.pool, self.site.site


def summed_entry(holder: Holder) -> HolderEntry:
    """A line as a sum over processes."""
    return HolderEntry(holder.program, "", "", None, holder.processes, holder.site)


def fleet_holders(snapshot: Snapshot, program: str | None = None) -> list[HolderEntry]:
    """The lines of the fleet, or of one program."""
    return [summed_entry(holder) for holder in snapshot.holders if program is None or holder.program == program]


def process_holders(process: ProcessRow) -> Iterator[HolderEntry]:
    """The lines of each pool of one process."""
    for pool in process.pools:
        if pool.reading.signs is not None:
            for site in pool.reading.signs.sites:
                yield HolderEntry(process.program, process.host, process.token, pool.reading.key, 1, site)


def pool_holders(snapshot: Snapshot, key: PoolKey) -> list[HolderEntry]:
    """The lines of one pool, or of each pool of its process if that is `NO_POOL`."""
    host, token, pool = key
    return [
        entry
        for process in snapshot.processes
        if (process.host, process.token) == (host, token)
        for entry in process_holders(process)
        if pool in (NO_POOL, entry.pool)
    ]


def summed_entries(entries: list[HolderEntry]) -> list[HolderEntry]:
    """The lines of one process, each once: as sums over its pools."""
    return [HolderEntry(*entries[0][:3], None, 1, site) for site in summed_sites(entry.site for entry in entries)]


def holders_of_site(snapshot: Snapshot, program: str, site: str) -> list[HolderEntry]:
    """The same line in each pool of each process of its program, if that program was requested."""
    return [
        entry
        for process in snapshot.processes
        if process.program == program
        for entry in process_holders(process)
        if entry.site.site == site
    ]


def busy_share(looks: Looks) -> float | None:
    """The approximate share of time that its connections spent in the database; ``None`` with too few looks.

    >>> busy_share(Looks(30, 60, 0, 10)), busy_share(Looks(1, 0, 0, 0))
    (0.3, None)
    """
    seen = sum(looks)
    return looks.busy / seen if seen >= _FEW_LOOKS else None


def _is_bad(entry: HolderEntry) -> bool:
    looks = entry.site.looks
    return entry.site.open > 0 and sum(looks) >= _FEW_LOOKS and looks.ended >= _ENDED_SHARE * sum(looks)


def _busy(entry: HolderEntry) -> str:
    known = busy_share(entry.site.looks)
    return UNKNOWN if known is None else share(known, 1.0)


def _number(
    heading: str,
    meaning: str,
    value: Callable[[SiteReading], float | None],
    text: Callable[[float | None], str] = count,
    width: int = 5,
) -> Column[HolderEntry]:
    return Column(
        heading,
        meaning,
        lambda entry: text(value(entry.site)),
        lambda entry: value(entry.site),
        max(width, len(heading)),
        shown=text,
    )


def _quantile(q: float) -> Callable[[SiteReading], float | None]:
    return lambda site: None if site.use is None else site.use.quantile(q)


_SITE = Column[HolderEntry](
    "LINE",
    "The line of the program that takes the connections, and the helper through which it does.",
    lambda entry: entry.site.site,
    lambda entry: entry.site.site,
    width=24,
    widest=80,
    keeps_end=True,
)
_PROGRAM = Column[HolderEntry](
    "PROGRAM", "The program.", lambda entry: entry.program, lambda entry: entry.program, width=8, widest=24
)
_WHERE = Column[HolderEntry](
    "PROCESS",
    "The process, and the host it runs on.",
    lambda entry: f"{entry.token} {entry.host}",
    lambda entry: entry.token,
    width=14,
    widest=32,
)
_WHY = (
    "Why the row is red: the cause of a verdict that names this line, which poolhouse explain explains; or ended: "
    "the call that took its connections has ended."
)
_NUMBERS: tuple[Column[HolderEntry], ...] = (
    Column(
        "OPEN",
        "Connections that it holds now; red with ! where the call that took them has ended.",
        lambda entry: exact(entry.site.open),
        lambda entry: entry.site.open,
        width=6,
        tone=lambda entry: tone_of(_is_bad(entry)),
        has_sign=True,
    ),
    _number(
        "OLDEST",
        "For how long it has held the oldest of them.",
        lambda site: site.oldest_s if site.open else None,
        duration,
    ),
    Column(
        "BUSY",
        "About how much of the time that it holds connections they are inside the database.",
        _busy,
        lambda entry: busy_share(entry.site.looks),
        width=5,
    ),
    _number("CONN-S", "Connection-seconds so far: the sum of all its holds.", lambda site: site.held_s, short, 7),
    _number("USE50", "Half of its uses so far were no longer than this.", _quantile(0.5), duration),
    _number("USE99", "99 % of its uses so far were no longer than this.", _quantile(0.99), duration),
    _number("BACK", "Connections that came back, so far.", lambda site: site.returned, short, 6),
    Column(
        "GC",
        "Those of them that the garbage collector returned; red with ! where there is one.",
        lambda entry: short(entry.site.collected),
        lambda entry: entry.site.collected,
        width=5,
        tone=lambda entry: tone_of(entry.site.collected > 0),
        has_sign=True,
    ),
    _number("WAITED", "Seconds that its callers have waited for a connection.", lambda site: site.waited_s, short),
)
_FURTHER: tuple[Column[HolderEntry], ...] = (
    Column(
        "PROCS",
        "Live processes that report it.",
        lambda entry: exact(entry.processes),
        lambda entry: entry.processes,
        width=5,
    ),
    Column(
        "IDLE AT",
        "The line at which its holders were most often of late while they did no SQL.",
        lambda entry: entry.site.idle_line or UNKNOWN,
        lambda entry: entry.site.idle_line,
        width=20,
        widest=80,
        keeps_end=True,
    ),
)


def line_causes(verdicts: Iterable[Verdict]) -> dict[tuple[str, str], str]:
    """The main cause that each line is blamed for, by its program and its name."""
    causes: dict[tuple[str, str], str] = {}
    for verdict in verdicts:
        if verdict.culprit is not None:
            causes.setdefault((verdict.program, verdict.culprit.site), verdict.cause)
    return causes


def holder_table(kind: str, causes: Mapping[tuple[str, str], str] | None = None) -> Table[HolderEntry]:
    """The table of lines.

    Args:
        kind: What the lines are those of: the ``fleet``, a ``program`` or a ``pool``; or ``site``, for one line in
            all processes.
        causes: What lines that are sums over processes are blamed for, as `line_causes` returns it; may change
            from one snapshot to the next.
    """
    known: Mapping[tuple[str, str], str] = {} if causes is None else causes

    def why(entry: HolderEntry) -> str:
        blamed = "" if entry.token else known.get((entry.program, entry.site.site), "")
        return blamed or ("ended" if _is_bad(entry) else "")

    first: tuple[Column[HolderEntry], ...] = {
        "fleet": (_PROGRAM, _SITE),
        "site": (_WHERE, _SITE),
    }.get(kind, (_SITE,))
    return Table(
        (*first, why_column(why, _WHY, width=5 if causes is None else 15), *_NUMBERS, *_FURTHER),
        sign=lambda entry: sign(is_late=False, is_bad=bool(why(entry))),
        key=lambda entry: entry.key,
        sorting=Sorting("OPEN"),
        essential=len(first) + 5,
        fixed=len(first),
    )


def holder_page(entries: list[HolderEntry], width: int, height: int) -> tuple[Line, ...]:
    """One line of a program: what it holds, how long it held its connections, and in which processes.

    Args:
        entries: The line in each pool of each process, or as one sum.
        width: Cells of the window.
        height: Lines of the window, for the bars.
    """
    if not entries:
        return ((), (Span("  No process reports this line any more. esc goes back.", "dim"),))
    (site,) = summed_sites(entry.site for entry in entries)
    looks = site.looks
    seen = sum(looks)
    states = [words(name, share(count, seen)) for name, count in looks._asdict().items()] if seen else []
    facts = [
        (Span(clean(site.site), "strong"),),
        spread(
            [
                words("open", exact(site.open)),
                words("oldest", duration(site.oldest_s if site.open else None)),
                words("connection-seconds", short(site.held_s)),
                words("returned", exact(site.returned)),
                words("collected", exact(site.collected)),
                words("waited", duration(site.waited_s)),
            ],
            width - 2,
        ),
        spread([words("found"), *states], width - 2) if states else words("found", UNKNOWN),
    ]
    if site.idle_line:
        facts.append(words("idle at", clean(site.idle_line)))
    lines = [*facts, (), *summary("hold", site.use, "since start", width - 2)]
    lines += bars(site.use, width - 2, max(1, min(_HIGHEST, height - len(lines) - 4 - len(entries))))
    told: list[Line] = [(Span(" "), *line) if line else line for line in lines]
    table = holder_table("site")
    sheet = Sheet(table, table.arranged(entry for entry in entries if entry.token), width)
    if sheet.rows:
        told += [(), sheet.heading(), *map(sheet.line, range(len(sheet.rows)))]
    return tuple(told)
