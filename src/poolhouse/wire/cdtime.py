"""collectd's high-resolution time: whole numbers of 2**-30 s, in 64 bits.

Source: collectd 5.12 ``src/utils_time.h``.
"""

_UNITS = 1 << 30
_TOP = (1 << 64) - 1


def to_cdtime(seconds: float) -> int:
    """Seconds in units of 2**-30 s, to the nearest; a time that does not fit 64 bits is clamped.

    >>> hex(to_cdtime(1700000000.5))
    '0x1954fc4020000000'
    """
    return round(min(max(seconds * _UNITS, 0.0), float(_TOP - 2048)))


def from_cdtime(time: int) -> float:
    """Units of 2**-30 s in seconds; for times of this century, a float is exact to a quarter of a microsecond.

    >>> from_cdtime(0x0000000280000000)
    10.0
    """
    return time / _UNITS
