"""All steps of a fleet's diagnosis at once."""

from typing import Any

from poolhouse.fleet.diagnose import diagnose
from poolhouse.verdicts.verdict import Verdict


def diagnosed(*arguments: Any, **named: Any) -> tuple[Verdict, ...]:
    """What `diagnose` returns in the end; the arguments are its own."""
    steps = diagnose(*arguments, **named)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: tuple[Verdict, ...] = end.value
            return found
