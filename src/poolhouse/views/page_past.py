"""The last hour as charts: series of values, each value in words, and the times when verdicts began and ended."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from poolhouse.clean import clean
from poolhouse.fleet.snapshot import Event
from poolhouse.fleet.timelines import STEP, Past
from poolhouse.views.units import count, duration, rate

#: The kinds of events that are marked, with their tones.
_MARKED = {"verdict": "bad", "changed": "bad", "ended": "good"}
#: Significant digits of a value; and points of a sparkline, five minutes.
_DIGITS = 4
TREND_POINTS = 30


def past_data(past: Past, events: Iterable[Event], program: str | None = None) -> dict[str, Any]:
    """The charts of the fleet, or of one program.

    Args:
        past: The samples.
        events: The events of the fleet.
        program: The program whose verdicts are marked; ``None`` for all.
    """
    begin = past.times[0] if past.times else 0.0
    marks = [
        {
            "time": round(event.wall_time, 1),
            "text": clean(f"{event.program}: {event.text}"),
            "tone": _MARKED[event.kind],
        }
        for event in events
        if event.kind in _MARKED and event.wall_time >= begin and program in (None, event.program)
    ]
    return {
        "step_seconds": STEP,
        "times": [round(time, 1) for time in past.times],
        "charts": [
            _chart("connections in use", [("used", past.used, count), ("max", past.max_open, count)]),
            _chart("callers that wait", [("waiting", past.waiting, count), ("timeouts", past.timeouts, count)]),
            _chart("wait p99", [("wait p99", past.wait_p99_seconds, duration)]),
            _chart("checkouts per second", [("out/s", past.checkouts_per_second, rate)]),
        ],
        "marks": marks,
    }


def trend_data(values: Sequence[float | None], top: int | None) -> dict[str, Any]:
    """A sparkline: its values, and the value that fills its height."""
    return {"values": [_short(value) for value in values], "top": top}


def _chart(
    title: str, series: list[tuple[str, Sequence[float | None], Callable[[float | None], str]]]
) -> dict[str, Any]:
    known = [value for _, values, _ in series for value in values if value is not None]
    top = max(known, default=0.0)
    text = series[0][2]
    return {
        "title": title,
        "top": _short(top),
        "top_text": text(top),
        "series": [
            {
                "name": name,
                "values": [_short(value) for value in values],
                "texts": [text(value) for value in values],
            }
            for name, values, text in series
        ],
    }


def _short(value: float | None) -> float | int | None:
    if value is None:
        return None
    return int(value) if value == int(value) else float(f"{value:.{_DIGITS}g}")
