"""Other readers in this process of the readings for each report."""

from collections.abc import Callable, Sequence

from poolhouse.meter.reading import PoolReading
from poolhouse.report.log import log
from poolhouse.report.source import Source
from poolhouse.safely import ERROR

#: Pools and their figures; the figure ``pools`` is 0 in the last reading of a pool.
Readings = Sequence[tuple[Source, PoolReading]]

#: Replaced as a whole, so that the reporter's thread iterates over either the old or the new tuple.
_observers: dict[None, tuple[Callable[[Readings], None], ...]] = {None: ()}
_told: set[str] = set()


def observe(observer: Callable[[Readings], None]) -> None:
    """Have `observer` called with the readings of each report, in the reporter's thread.

    It must neither wait nor use locks.
    """
    if observer not in _observers[None]:
        _observers[None] = (*_observers[None], observer)


def is_observed() -> bool:
    """Whether there are observers."""
    return bool(_observers[None])


def tell(readings: Readings) -> None:
    """Pass readings to the observers. Never raises an `Exception`."""
    for observer in _observers[None]:
        try:
            observer(readings)
        except Exception as error:
            if repr(observer) not in _told:
                _told.add(repr(observer))
                log(ERROR, "poolhouse cannot hand on what it has read: %r", observer, error=error)
