"""Where a cumulative value stood at a few instants, so that its latest growth can be told.

A trail is a plain tuple, because there is one for each pool of ten thousand processes.
"""

from typing import TypeAlias, TypeVar

Value = TypeVar("Value")
Default = TypeVar("Default")
#: Instants and values, oldest first.
Trail: TypeAlias = tuple[tuple[float, Value], ...]

#: What "the last minute" covers at most, in seconds.
RECENT = 60.0


def extended(trail: Trail[Value], now: float, value: Value, step: float, length: int) -> Trail[Value]:
    """The trail with this point, or as it was if its newest point is less than `step` seconds old.

    >>> extended(((1.0, "a"), (2.0, "b")), 3.0, "c", step=1.0, length=2)
    ((2.0, 'b'), (3.0, 'c'))
    """
    if trail and now - trail[-1][0] < step:
        return trail
    return (*trail[1 - length :], (now, value)) if length > 1 else ((now, value),)


def value_since(trail: Trail[Value], instant: float, otherwise: Default) -> Value | Default:
    """The value at the oldest point that is not before `instant`, or `otherwise` where there is none."""
    return next((value for at, value in trail if at >= instant), otherwise)
