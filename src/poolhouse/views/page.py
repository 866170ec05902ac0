"""The browser page's data: the same tables, figures and verdicts as the window's, without any HTML.

A *frame* is one view at one moment, as JSON: a head, then tables of rows. `docs/reference/page.md` describes each
field.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from poolhouse.clean import clean
from poolhouse.fleet.snapshot import Health, Row
from poolhouse.meter.histogram import Histogram
from poolhouse.verdicts.causes import BY_NAME
from poolhouse.verdicts.verdict import Verdict
from poolhouse.verdicts.words import seconds, sentence
from poolhouse.views.address import Place
from poolhouse.views.bars import quantile_texts
from poolhouse.views.fleet_table import p99, part_of
from poolhouse.views.line import Tone
from poolhouse.views.sheet_data import Shown, compact, heading, row_text
from poolhouse.views.standing import is_in_trouble, is_positive, reaches, tone_of
from poolhouse.views.units import at_most, count, duration, elapsed, exact, rate, share
from poolhouse.views.verdict_line import facts_of, headline, verdict_line

#: The version of the format; a page that expects another one reloads itself.
VERSION = 1
#: The most rows of one table that are sent.
MOST_ROWS = 1_000
#: The most verdicts of one view that are sent.
MOST_VERDICTS = 50
#: The most characters of the top sentence.
_SENTENCE = 2_000

Figure = dict[str, Any]


def frame_pieces(head: dict[str, Any], tables: Iterable[tuple[Shown, Sequence[Any], int]]) -> Iterator[str]:
    """A frame as JSON, in one piece per row, so that the work for a large fleet can be spread out.

    Args:
        head: The result of `head`, with the view's additions.
        tables: Each table with the rows to send, and how many there are in all.
    """
    yield compact(head)[:-1] + ',"tables":['
    for number, (shown, rows, total) in enumerate(tables):
        told = heading(shown) | {"total": total}
        yield ("," if number else "") + compact(told)[:-1] + ',"rows":['
        for place, row in enumerate(rows):
            yield ("," if place else "") + row_text(shown, row)
        yield "]}"
    yield "]}"


def head(
    place: Place,
    wall_time: float,
    server: str,
    health: Health,
    verdicts: Sequence[Verdict],
    fleet: Row,
    *,
    tells_verdicts: bool,
    figures: Sequence[Figure],
) -> dict[str, Any]:
    """The part of a frame before its tables.

    Args:
        place: The subject of the view.
        wall_time: When it was made, in seconds since the epoch.
        server: The server's name and version.
        health: The aggregator's figures.
        health: The aggregator's own figures.
        verdicts: The standing verdicts, the main one first.
        fleet: The sums of the fleet.
        tells_verdicts: Whether the processes report enough to say that nothing is wrong.
        figures: The figures below the verdict.
    """
    missing = [
        {"name": clean(node.name), "missing": elapsed(node.missing_for)}
        for node in health.nodes
        if node.missing_for is not None
    ]
    return {
        "version": VERSION,
        "path": place.path,
        "about": clean(place.about),
        "wall_time_seconds": wall_time,
        "server": server,
        "node": next((clean(node.name) for node in health.nodes if node.is_here), None),
        "missing_nodes": missing,
        "verdict": top_verdict(verdicts, fleet, wall_time) if tells_verdicts else None,
        "figures": list(figures),
    }


def top_verdict(verdicts: Sequence[Verdict], fleet: Row, wall_time: float) -> dict[str, Any]:
    """The top line, as in the window, with the page of the main verdict if one stands."""
    # The number of other standing verdicts is sent separately.
    alarms = [verdict for verdict in verdicts if verdict.severity == "alarm"]
    sign, *told = verdict_line(alarms[:1] or verdicts, fleet, _SENTENCE, hint="")
    words = [" ".join(span.text.split()) for span in told]
    return {
        "sign": sign.text.strip(),
        "tone": sign.tone,
        "text": clean(" – ".join(filter(None, words)), _SENTENCE),
        "standing": len(verdicts),
        "why": verdict_data(verdicts[0], wall_time) if verdicts else None,
    }


def verdict_data(verdict: Verdict, wall_time: float) -> dict[str, Any]:
    """A verdict in full: what it is, the numbers that decided, what to do, and what would disprove it."""
    cause = BY_NAME.get(verdict.cause)
    return {
        "cause": clean(verdict.cause),
        "severity": verdict.severity,
        "headline": clean(headline(verdict), _SENTENCE),
        "text": clean(sentence(verdict), _SENTENCE),
        "since_seconds": verdict.since,
        "standing_for": seconds(max(0.0, wall_time - verdict.since)),
        "program": clean(verdict.program),
        "to": Place("program", verdict.program).path,
        "what_it_is": "" if cause is None else cause.evidence,
        "facts": [[clean(label), clean(text, _SENTENCE)] for label, text in facts_of(verdict)],
        "do": verdict.do,
        "disprove": verdict.disprove,
    }


def fleet_figures(fleet: Row, programs: int, hosts: int, health: Health) -> list[Figure]:
    """The figures of the whole fleet, and those of the aggregator that indicate trouble."""
    told = [
        figure("hosts", exact(hosts)),
        figure("programs", exact(programs)),
        *row_figures(fleet),
        figure("lost", share(health.lost, health.expected, 1), tone_of(health.lost * 100 > health.expected)),
    ]
    if health.refused:
        told.append(figure("refused", count(health.refused)))
    if health.dropped:
        told.append(figure("kernel dropped", count(health.dropped), "bad"))
    return [*told, figure("up", elapsed(health.uptime))]


def row_figures(row: Row) -> list[Figure]:
    """The figures of a program, a host or the fleet."""
    is_bad = (is_positive(row.full_pools) or reaches(row.used, row.max_open)) and is_in_trouble(True, row.waiting)
    waiting = is_positive(row.waiting)
    return [
        figure("processes", exact(row.processes)),
        figure("pools", exact(row.pools)),
        used_figure(row.used, row.max_open, is_bound=row.is_bound, is_bad=is_bad),
        figure("waiting", at_most(exact(row.waiting), row.is_bound and waiting), tone_of(waiting)),
        figure("out/s", rate(row.rates.checkouts)),
        figure("wait p99", duration(p99(row.recent.wait))),
        figure("hold p99", duration(p99(row.recent.use))),
        figure("timeouts", exact(row.totals.timeouts), tone_of(is_positive(row.rates.timeouts))),
    ]


def used_figure(used: int | None, most: int | None, *, is_bound: bool, is_bad: bool) -> Figure:
    """Connections in use out of the maximum, with the share for a bar."""
    told = figure("used", at_most(f"{exact(used)}/{exact(most)}", is_bound), tone_of(is_bad))
    part = part_of(used, most)
    told["share"] = None if part is None else round(min(1.0, part), 4)
    return told


def figure(label: str, text: str, tone: Tone = "plain") -> Figure:
    """One figure: its label, its value in words, and whether it is bad."""
    return {"label": label, "text": text, "tone": tone} if tone != "plain" else {"label": label, "text": text}


def quantiles(times: Histogram | None) -> list[list[str]]:
    """The quantiles and the maximum of durations, in words."""
    return [[name, text] for name, text in quantile_texts(times)]
