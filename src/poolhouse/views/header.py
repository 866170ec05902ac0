"""The three lines at the top of every page, for the whole fleet or one program."""

from collections.abc import Sequence

from poolhouse.clean import clean
from poolhouse.fleet.names import asking_for_host
from poolhouse.fleet.snapshot import Health, Row, Snapshot
from poolhouse.views.bars import quantiles
from poolhouse.views.fleet_table import p99
from poolhouse.views.history import Past
from poolhouse.views.line import Line, Span, Tone, spread, words
from poolhouse.views.spark import meter, sparkline
from poolhouse.views.standing import is_in_trouble, is_positive, reaches, tone_of
from poolhouse.views.units import at_most, count, duration, elapsed, exact, rate, share

#: From this width on, a header has room for its long form.
_WIDE = 100
#: How many reasons for refusals are shown; and for how many seconds users of an old password are named.
_MOST_REASONS, _OLD_SECONDS = 2, 300.0
#: The most characters shown of a node's or a service's name.
LONGEST_NAME = 24


def fleet_header(snapshot: Snapshot, past: Past, width: int, status: Line) -> tuple[Line, Line, Line]:
    """Three lines of `width` cells: who reports, how full the pools are, and the rates and durations.

    Args:
        snapshot: The snapshot to sum up.
        past: The fleet's past, for the sparklines.
        width: Cells of the window; what does not fit is left out from the right.
        status: The right end of the first line: live, paused, silent.
    """
    fleet, health = snapshot.fleet, snapshot.health
    peaks = fleet.peaks
    first = [
        words(Span("poolhouse", "strong")),
        _counted(len(snapshot.hosts), "host"),
        _counted(len(snapshot.programs), "program"),
        _counted(fleet.processes, "proc", peaks.processes if width >= _WIDE else None),
        _pools(fleet),
    ]
    second = [
        _used(fleet, min(40, width // 5)),
        words("idle", f"{exact(fleet.idle):<{len(exact(fleet.max_open))}}"),
        _waiting(fleet, past, min(12, width // 16)),
        _timeouts(fleet),
        words(
            "max used", exact(peaks.used), "connections", exact(peaks.connections), "waiting", exact(peaks.waiting)
        ),
    ]
    third = [
        _rate(fleet, past, min(24, width // 7)),
        words("wait p99", f"{duration(p99(fleet.recent.wait)):<5}"),
        words("hold p99", f"{duration(p99(fleet.recent.use)):<5}"),
        _peak(fleet),
        _lost(health),
        *([_refused(health)] if health.refused or health.refusals else []),
        *([words("old password:", *(clean(name) for name in old))] if (old := _old_users(health)) else []),
        *(words("over limit:", clean(bound), exact(number)) for bound, number in health.over_limit),
        *([words("kernel dropped", Span(f"{exact(health.dropped)} !", tone_of(True)))] if health.dropped else []),
        *([words("CSV writes failed", exact(health.unwritten))] if health.unwritten else []),
        words("received", exact(health.received)),
        words("up", elapsed(health.uptime)),
    ]
    return spread(first, width, status), spread(second, width), spread(third, width)


def missing_nodes(health: Health) -> list[Span]:
    """The missing nodes of the service, and since when, in ever shorter forms; empty if all are present."""
    missing = [(node.name, node.missing_for) for node in health.nodes if node.missing_for is not None]
    if not missing:
        return []
    each = ", ".join(f"{clean(name, LONGEST_NAME)} {elapsed(age)}" for name, age in missing)
    longest = elapsed(max(age for _, age in missing))
    noun = "node" if len(missing) == 1 else "nodes"
    texts = f"missing {each}", f"{len(missing)} {noun} missing {longest}", f"{len(missing)} missing {longest}"
    return [Span(f"! {text}", "bad") for text in texts]


def program_header(snapshot: Snapshot, name: str, past: Past, width: int, status: Line) -> tuple[Line, Line, Line]:
    """The same for one program: where it runs, and its use and waits over the last minutes."""
    row = next((row for row in snapshot.programs if row.name == name), Row(name))
    hosts = sorted({process.host for process in snapshot.processes if process.program == name})
    on = [words("on", clean(" ".join(hosts)))] if hosts else []
    return _row_header(row, past, width, status, on)


def host_header(snapshot: Snapshot, name: str, past: Past, width: int, status: Line) -> tuple[Line, Line, Line]:
    """The same for one host: how many programs run there."""
    row = next((row for row in snapshot.hosts if row.name == name), Row(name))
    is_told = snapshot.program == asking_for_host(name)
    programs = [_counted(len(snapshot.processes), "program")] if is_told else []
    return _row_header(row, past, width, status, programs)


def _row_header(row: Row, past: Past, width: int, status: Line, further: list[Line]) -> tuple[Line, Line, Line]:
    cells = 12 if width < _WIDE else 30
    first = [
        words(Span(clean(row.name), "strong")),
        _counted(row.processes, "proc"),
        _pools(row),
        _used(row, 0),
        _waiting(row, Past(), 0),
        _timeouts(row),
        *further,
    ]
    second = [
        words("used ", _spark(past.used, cells, top=row.max_open), f"{count(row.used):<5}"),
        (Span("wait "), *quantiles(row.recent.wait)),
        words("max used", exact(row.peaks.used), "waiting", exact(row.peaks.waiting)),
    ]
    third = [
        words("out/s", _spark(past.checkouts_per_second, cells), f"{rate(row.rates.checkouts):<5}"),
        (Span("hold "), *quantiles(row.recent.use)),
        words("max connections", exact(row.peaks.connections), "processes", exact(row.peaks.processes)),
    ]
    return spread(first, width, status), spread(second, width), spread(third, width)


def _refused(health: Health) -> Line:
    """The number of refused datagrams, with the most common reasons."""
    commonest = sorted(health.refusals, key=lambda pair: -pair[1])[:_MOST_REASONS]
    reasons = ", ".join(f"{clean(reason).replace('_', ' ')} {exact(number)}" for reason, number in commonest)
    return words("refused", exact(health.refused), f"({reasons})" if reasons else None)


def _old_users(health: Health) -> list[str]:
    """Users who have recently used an old password."""
    return [user.name for user in health.users if user.old_ago is not None and user.old_ago < _OLD_SECONDS]


def _counted(number: int | None, noun: str, most: int | None = None) -> Line:
    """A number of things with their noun, and the largest number so far.

    >>> from poolhouse.views.line import text_of
    >>> text_of(_counted(1, "host")), text_of(_counted(49, "proc", 52)), text_of(_counted(None, "pool"))
    ('1 host', '49 procs (max 52)', '– pools')
    """
    text = f"{exact(number)} {noun}{'' if number == 1 else 's'}"
    return (Span(f"{text} (max {exact(most)})" if most is not None else text),)


def _peak(row: Row) -> Line:
    """The largest sum seen within the last interval; after ``≤``, its upper bound."""
    seen, bound = row.interval_peaks.used, row.interval_peaks.used_bound
    is_open = seen is not None and bound is not None and bound > seen
    return words("peak used", exact(seen), f"≤ {exact(bound)}" if is_open else None)


def _pools(row: Row) -> Line:
    if not is_positive(row.full_pools):
        return _counted(row.pools, "pool")
    text = f"{exact(row.full_pools)}/{exact(row.pools)} pools full"
    is_bad = is_in_trouble(True, row.waiting)
    return (Span(f"{text} !" if is_bad else text, tone_of(is_bad)),)


def _timeouts(row: Row) -> Line:
    is_bad = is_positive(row.rates.timeouts)
    return words("timeouts", Span(exact(row.totals.timeouts) + (" !" if is_bad else ""), tone_of(is_bad)))


def _spark(
    values: Sequence[float | None], cells: int, tone: Tone = "accent", top: float | None = None
) -> Span | None:
    """The series as a sparkline; ``None`` if it is empty."""
    return Span(sparkline(values, cells, top), tone) if values and cells else None


def _used(row: Row, cells: int) -> Line:
    is_bad = reaches(row.used, row.max_open) and is_in_trouble(True, row.waiting)
    most = exact(row.max_open)
    text = at_most(f"{exact(row.used):>{len(most)}}/{most}", row.is_bound)
    bar = meter(row.used, row.max_open, cells, "bad" if is_bad else "good") if cells else ()
    percentage = (Span(f" {share(row.used, row.max_open):>4}"),) if cells else ()
    number = Span(f"{text} !" if is_bad else text, tone_of(is_bad))
    return (*words("used", number), *((Span(" "), *bar) if bar else ()), *percentage)


def _rate(row: Row, past: Past, cells: int) -> Line:
    return words("out/s", f"{rate(row.rates.checkouts):<5}", _spark(past.checkouts_per_second, cells))


def _waiting(row: Row, past: Past, cells: int) -> Line:
    is_bad = is_positive(row.waiting)
    text = at_most(exact(row.waiting), row.is_bound and is_bad)
    number = Span(f"{text} !" if is_bad else f"{text}  ", tone_of(is_bad))
    return words("waiting", number, _spark(past.waiting, cells, "bad" if is_bad else "dim"))


def _lost(health: Health) -> Line:
    is_bad = health.lost * 100 > health.expected
    return words("lost", Span(share(health.lost, health.expected, 1) + (" !" if is_bad else ""), tone_of(is_bad)))
