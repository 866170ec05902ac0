"""A cumulative value at a few instants, so that its latest growth can be computed.

Samples are a plain tuple, because there is one for each pool of ten thousand processes.
"""

from typing import TypeAlias, TypeVar

Value = TypeVar("Value")
Default = TypeVar("Default")
#: Instants and values, oldest first.
Samples: TypeAlias = tuple[tuple[float, Value], ...]

#: The longest time that "the last minute" covers, in seconds.
RECENT = 60.0


def extended(samples: Samples[Value], now: float, value: Value, step: float, length: int) -> Samples[Value]:
    """The samples with this one added, or unchanged if the newest is less than `step` seconds old.

    >>> extended(((1.0, "a"), (2.0, "b")), 3.0, "c", step=1.0, length=2)
    ((2.0, 'b'), (3.0, 'c'))
    """
    if samples and now - samples[-1][0] < step:
        return samples
    return (*samples[1 - length :], (now, value)) if length > 1 else ((now, value),)


def value_since(samples: Samples[Value], instant: float, otherwise: Default) -> Value | Default:
    """The value at the oldest point that is not before `instant`; `otherwise` if there is none."""
    return next((value for at, value in samples if at >= instant), otherwise)
