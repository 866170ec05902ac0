"""The table of events."""

from collections.abc import Callable
from datetime import tzinfo

from poolhouse.fleet.snapshot import Event
from poolhouse.views.column import Column, Sorting, Table
from poolhouse.views.line import Span
from poolhouse.views.standing import tone_of
from poolhouse.views.units import time_of_day

_BAD = frozenset(("silent", "waiting", "timeouts", "connect errors", "lost", "verdict", "changed"))


def event_table(zone: tzinfo | None = None) -> Table[Event]:
    """The table of events, newest first, with the time of day in `zone`."""
    return Table(
        (
            Column(
                "TIME",
                "When it was seen.",
                lambda event: time_of_day(event.wall_time, zone),
                lambda event: event.wall_time,
                width=8,
            ),
            _name("EVENT", "What happened.", lambda event: event.kind, 14, 14),
            _name("HOST", "The host.", lambda event: event.host, 6, 24),
            _name("PROGRAM", "The program.", lambda event: event.program, 8, 24),
            _name("WHAT", "The rest, in words.", lambda event: event.text, 10, 120),
        ),
        sign=lambda event: Span("!", "bad") if event.kind in _BAD else Span("●", "good"),
        key=lambda event: event,
        sorting=Sorting("TIME"),
        essential=5,
        fixed=2,
    )


def _name(heading: str, meaning: str, text: Callable[[Event], str], width: int, widest: int) -> Column[Event]:
    tone = (lambda event: tone_of(event.kind in _BAD)) if heading == "EVENT" else (lambda _: "plain")
    return Column(heading, meaning, text, text, width, widest, tone)
