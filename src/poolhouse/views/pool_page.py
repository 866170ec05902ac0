"""One pool: its limits, its connections, its counters, and its three distributions as bars."""

from poolhouse.clean import clean
from poolhouse.fleet.snapshot import PoolRow, Times
from poolhouse.meter.reading import PoolReading
from poolhouse.views.bars import bars, summary
from poolhouse.views.column import Sheet
from poolhouse.views.holder_table import holder_table, process_holders
from poolhouse.views.line import Line, Span, beside, cut_beginning, cut_line, left, right, spread, words
from poolhouse.views.pool_table import PoolEntry
from poolhouse.views.spark import meter
from poolhouse.views.standing import is_in_trouble, is_positive, tone_of
from poolhouse.views.units import age, at_most, elapsed, exact, rate, share

_COUNTERS = (
    ("checkouts", "connects", "disconnects", "invalidated", "transactions"),
    ("commits", "rollbacks", "timeouts", "acquire_errors", "connect_errors"),
)
_NAME_CELLS = 15
#: Cells of a counter: its name, two numbers, and a sign.
_COUNTER_CELLS = _NAME_CELLS + 12 + 8 + 2
#: Counters that count failures.
_FAILURES = ("timeouts", "acquire_errors", "connect_errors")
_TITLES = {"wait": "wait", "use": "hold", "create": "connect"}
#: From this width on, the distributions are side by side.
_BESIDE = 150
#: The greatest height of bars, however high the window.
_HIGHEST = 8


def pool_header(entry: PoolEntry, width: int, status: Line) -> tuple[Line, Line, Line]:
    """Three lines: which pool of which process, how full it is, and its limits."""
    process = entry.process
    is_bad = entry.is_full and is_in_trouble(True, entry.waiting)
    used = at_most(f"{exact(entry.used)}/{exact(entry.max_open)}", entry.is_bound)
    bar = meter(entry.used, entry.max_open, 20, "bad" if is_bad else "good")
    full = words("used", Span(f"{used} !" if is_bad else used, tone_of(is_bad)))
    is_waiting = is_positive(entry.waiting)
    waiting = at_most(exact(entry.waiting), entry.is_bound and is_waiting)
    reading = entry.pool.reading if entry.pool else None
    first = [
        words(Span(cut_beginning(clean(entry.name), width // 3), "strong")),
        words(clean(process.program)),
        words("on", clean(process.host)),
        words(clean(process.token)),
        words(clean(entry.kind)),
    ]
    second = [
        (*full, Span(" "), *bar, Span(f" {share(entry.used, entry.max_open)}")),
        words("idle", exact(entry.idle)),
        words("waiting", Span(f"{waiting} !" if is_waiting else waiting, tone_of(is_waiting))),
        words("detached", exact(reading.gauges.detached if reading else process.sums.detached)),
    ]
    third = [
        *_limits(reading),
        words("up", elapsed(process.uptime)),
        words("reported", age(process.sums.age), "ago"),
    ]
    return spread(first, width, status), spread(second, width), spread(third, width)


def pool_page(entry: PoolEntry, width: int, height: int) -> tuple[Line, ...]:
    """Peaks, counters since the start and per second, and three distributions, side by side in a wide window."""
    if entry.pool is None:
        return ((), (Span("  This process reports only its sums: nothing more is known about its pools.", "dim"),))
    reading = entry.pool.reading
    facts = (_peaks(entry.pool), *_counters(entry.pool, width))
    # The height left for bars, after the distributions' headlines, axes, and the blank lines between.
    if width >= _BESIDE:
        column = (width - 2 - 2 * 3) // 3
        free = height - len(facts) - 5
        lines = [(), *beside(_blocks(entry.pool.recent, reading, column, free), column)]
    else:
        free = (height - len(facts) - 3 * 4) // 3
        blocks = _blocks(entry.pool.recent, reading, width - 2, free)
        lines = [line for block in blocks for line in (*([()] if free > 0 else []), *block)]
    told = (*facts, *((Span(" "), *line) if line else line for line in lines))
    return (*told, *_holders(entry, width))


def _holders(entry: PoolEntry, width: int) -> tuple[Line, ...]:
    """The table of the lines that hold its connections; empty if it reports none."""
    table = holder_table("pool")
    rows = [one for one in process_holders(entry.process) if one.pool == entry.key[2]]
    if not rows:
        return ()
    sheet = Sheet(table, table.arranged(rows), width)
    return ((), sheet.heading(), *map(sheet.line, range(len(rows))))


def _limits(reading: PoolReading | None) -> list[Line]:
    if reading is None:
        return []
    limits = reading.limits
    return [
        words("max open", exact(limits.max_open)),
        words("max idle", exact(limits.max_idle)),
        words("min idle", exact(limits.min_idle)),
    ]


def _peaks(pool: PoolRow) -> Line:
    """The high-water marks; unknown for a pool that sends none."""
    spans = [Span(" peaks", "strong")]
    for name in ("used", "waiting", "connections"):
        marks = (pool.reading.peak, pool.interval_mark) if pool.reading.marks else (None, None)
        most, recent = (getattr(mark, name, None) for mark in marks)
        spans += [Span(f"  {name} {exact(most)}"), Span(f" ({exact(recent)})", "dim")]
    return (*spans, Span("   ever (last interval)", "dim"))


def _counters(pool: PoolRow, width: int) -> tuple[Line, ...]:
    """The counters: name, since the start, per second; in two columns if there is room."""
    column = min(52, (width - 4) // 2)
    columns: tuple[tuple[str, ...], ...] = _COUNTERS
    if column < _COUNTER_CELLS:
        column, columns = _COUNTER_CELLS, (sum(_COUNTERS, ()),)
    heading = left(right("since start", _NAME_CELLS + 12) + right("per s", 8), column)
    rows = (
        [span for name in names for span in _counter(name, pool, column)] for names in zip(*columns, strict=True)
    )
    lines = ((Span(" "), Span(heading * len(columns), "dim")), *((Span(" "), *row) for row in rows))
    return tuple(cut_line(line, width) for line in lines)


def _counter(name: str, pool: PoolRow, width: int) -> Line:
    since_start, per_second = getattr(pool.reading.counters, name), getattr(pool.rates, name)
    is_bad = name in _FAILURES and is_positive(per_second)
    numbers = right(exact(since_start), 12) + right(rate(per_second), 8) + (" !" if is_bad else "")
    title = Span(left(name.replace("_", " "), _NAME_CELLS))
    return title, Span(left(numbers, width - _NAME_CELLS), tone_of(is_bad))


def _blocks(recent: Times, reading: PoolReading, width: int, free: int) -> list[list[Line]]:
    """A headline and bars for each distribution: of the last minute, or since the start if that saw nothing."""
    height = min(_HIGHEST, max(1, free))
    blocks: list[list[Line]] = []
    for name, title in _TITLES.items():
        times, since = getattr(recent, name), "in the last minute"
        if times is None or not times.count:
            times, since = getattr(reading, name), "since start"
        blocks.append([*summary(title, times, since, width), *bars(times, width, height)])
    return blocks
