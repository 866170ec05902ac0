"""The verdicts for people: the first line of the window, and the page behind it."""

import sys
from collections.abc import Sequence
from datetime import tzinfo
from textwrap import wrap

from poolhouse.fleet.snapshot import Row, Snapshot
from poolhouse.verdicts.causes import BY_NAME
from poolhouse.verdicts.verdict import Verdict
from poolhouse.verdicts.words import place_of, seconds, sentence
from poolhouse.views.line import Line, Span, Tone, cells, cut, left, text_of
from poolhouse.views.units import time_of_day

#: Cells of a label on the page.
_LABEL = 14
#: The end of the first line: the key that shows more; and the key if the cursor is there.
WHY, WHY_HERE = "   w why", "   ↵ why"


def tells_verdicts(snapshot: Snapshot) -> bool:
    """Whether the processes report enough about themselves to say that nothing is wrong."""
    return bool(snapshot.verdicts or snapshot.holders)


def verdict_line(verdicts: Sequence[Verdict], fleet: Row, width: int, hint: str = WHY) -> Line:
    """The first line: the main verdict, or that nothing is wrong; at most `width` cells.

    Args:
        verdicts: The standing verdicts, the main one first.
        fleet: The sums of the fleet.
        width: Cells of the window.
        hint: The end of the line if there is more to read.
    """
    alarms = [verdict for verdict in verdicts if verdict.severity == "alarm"]
    if alarms:
        more = f"   and {len(alarms) - 1} more" if len(alarms) > 1 else ""
        cause = alarms[0].cause
        room = width - 2 - len(cause) - cells(more + hint)
        told = Span(cut(f"  {headline(alarms[0])}", max(0, room)))
        return Span("✗ ", "bad"), Span(cause, "bad"), told, Span(more), Span(hint, "dim")
    pools = "" if fleet.pools is None else f": {fleet.pools} pool" + "s" * (fleet.pools != 1)
    use = "" if not fleet.max_open or fleet.used is None else f", {100 * fleet.used / fleet.max_open:.0f} % in use"
    well = f"nothing is wrong{pools}{use}"
    if not verdicts:
        return Span("✓ ", "good"), Span(cut(well, max(0, width - 2)))
    notice = f"{well}   notice: {verdicts[0].cause}  {headline(verdicts[0])}"
    return Span("✓ ", "good"), Span(cut(notice, max(0, width - 2 - cells(hint)))), Span(hint, "dim")


def verdict_lines(verdicts: Sequence[Verdict], fleet: Row, width: int) -> tuple[Line, ...]:
    """The same for output without a window: the whole sentence, on as many lines as it takes."""
    whole = verdict_line(verdicts, fleet, sys.maxsize, hint="")
    tones = tuple(span for span in whole if span.tone != "plain" and span.text)
    first, *further = wrap(text_of(whole), width, subsequent_indent="  ", break_on_hyphens=False)
    return (*tones, Span(first[len(text_of(tones)) :])), *((Span(text),) for text in further)


def headline(verdict: Verdict) -> str:
    """Its place and what it is, without the cause: ``billing on host7: app/export.py:88 in rows keeps …``."""
    return f"{place_of(verdict)}: {sentence(verdict)}"


def verdict_page(verdict: Verdict, width: int, wall_time: float, zone: tzinfo | None = None) -> tuple[Line, ...]:
    """A verdict in full: the numbers that decided, what to do, and what would disprove it.

    Args:
        verdict: The verdict.
        width: Cells of the window; long sentences wrap.
        wall_time: The time of the snapshot, in seconds since the epoch.
        zone: The time zone for times of day.
    """
    tone: Tone = "bad" if verdict.severity == "alarm" else "plain"
    since = f"since {time_of_day(verdict.since, zone)}, for {seconds(wall_time - verdict.since)}"
    lines: list[Line] = [(Span(verdict.cause, tone), Span(f"  {verdict.severity}, {since}", "dim"))]
    lines += [(Span(text),) for text in wrap(headline(verdict), max(20, width))]
    lines.append(())
    cause = BY_NAME.get(verdict.cause)
    if cause is not None:
        lines += _told("what it is", cause.evidence, width)
    for label, text in facts_of(verdict):
        lines += _told(label, text, width)
    if verdict.do:
        lines.append(())
        lines += _told("what to do", verdict.do, width)
        lines += _told("wrong if", verdict.disprove, width)
        lines += _told("more", f"poolhouse explain {verdict.cause}", width)
    return tuple(lines)


def _told(label: str, text: str, width: int) -> list[Line]:
    """A label and its text, wrapped."""
    told = wrap(text, max(20, width - _LABEL)) or [""]
    return [(Span(left(label if not row else "", _LABEL), "dim"), Span(part)) for row, part in enumerate(told)]


def facts_of(verdict: Verdict) -> list[tuple[str, str]]:
    """The verdict's pool, its line and the numbers that decided, each with its name."""
    facts: list[tuple[str, str]] = []
    if verdict.pool:
        facts.append(("pool", verdict.pool))
    if verdict.target and verdict.target != verdict.pool:
        facts.append(("database", verdict.target))
    if verdict.culprit is not None:
        facts.append(("line", verdict.culprit.place))
        if verdict.culprit.via:
            facts.append(("via", verdict.culprit.via))
        if verdict.culprit.now_at:
            facts.append(("now at", verdict.culprit.now_at))
    if len(verdict.hosts) > 1:
        facts.append(("hosts", ", ".join(verdict.hosts)))
    facts += [
        (_LABELS.get(name, name.removesuffix("_s").replace("_", " ")), number_text(name, value))
        for name, value in verdict.evidence
    ]
    for program, used, most in verdict.shares:
        facts.append((program, f"{used} open, may open {'any number' if most is None else most}"))
    return facts


#: Labels for numbers whose names say too little.
_LABELS = {"habit_s": "hold before"}
#: Numbers that are shares of a whole.
_SHARES = frozenset(("asking", "busy", "ended", "idle", "late"))


def number_text(name: str, value: float) -> str:
    """One of the numbers that decided, with its unit.

    >>> number_text("oldest_s", 9.1), number_text("busy", 0.934), number_text("used", 2.5)
    ('9 s', '93 %', '2.5')
    >>> number_text("habit_s", 0)  # The line was not seen before the trouble began.
    'unknown'
    """
    if name == "habit_s" and not value:
        return "unknown"
    if name.endswith("_s"):
        return seconds(value)
    return f"{100 * value:.0f} %" if name in _SHARES else f"{round(value, 1):g}"
