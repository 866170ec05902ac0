"""The other readers in this process of what each report has read."""

from collections.abc import Callable, Sequence

from poolhouse.meter.reading import PoolReading
from poolhouse.report.log import log
from poolhouse.report.source import Source
from poolhouse.safely import ERROR

#: Pools and their figures; the figure ``pools`` is 0 in the last reading of a pool.
Readings = Sequence[tuple[Source, PoolReading]]

#: Replaced as a whole, so that the reporter's thread goes through one or the other.
_observers: dict[None, tuple[Callable[[Readings], None], ...]] = {None: ()}
_told: set[str] = set()


def observe(observer: Callable[[Readings], None]) -> None:
    """Have `observer` called with what each report reads, in the reporter's thread.

    It must neither wait nor use locks.
    """
    if observer not in _observers[None]:
        _observers[None] = (*_observers[None], observer)


def is_observed() -> bool:
    """Whether anybody is told."""
    return bool(_observers[None])


def tell(readings: Readings) -> None:
    """Tell the observers. Never raises an `Exception`."""
    for observer in _observers[None]:
        try:
            observer(readings)
        except Exception as error:
            if repr(observer) not in _told:
                _told.add(repr(observer))
                log(ERROR, "poolhouse cannot hand on what it has read: %r", observer, error=error)
