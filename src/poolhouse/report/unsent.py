"""Pools that are measured but not reported, because other code in this process reads them.

There may be several readers: one at a time reads a pool and passes the reading to all others, because the last
reading of a pool comes only once.
"""

import os
import weakref
from collections.abc import Callable, Iterable
from itertools import count

from poolhouse.meter.reading import Gauges, Limits, PoolReading
from poolhouse.report.log import log
from poolhouse.report.native import Lock
from poolhouse.report.readings import Readings
from poolhouse.report.source import AnyStream, Source
from poolhouse.safely import ERROR

#: From this many pools on, ended ones are removed.
MANY = 1000


class Unsent:
    """A substitute for a `poolhouse.report.stream.Stream`, with neither a thread nor a socket.

    Any thread may add and expect; nothing here waits.
    """

    def __init__(self) -> None:
        """Start without a pool."""
        self._added: dict[Source, None] = {}
        self._expected: weakref.WeakSet[Source] = weakref.WeakSet()
        self._many = MANY
        self._readers: dict[Callable[[Readings], None], None] = {}
        self._begin()

    def _begin(self) -> None:
        self._turn = Lock()
        self._numbers = count(1)

    def share(self, reader: Callable[[Readings], None]) -> None:
        """Call `reader` with the readings of others, in their threads."""
        self._readers[reader] = None

    def read(self, reader: Callable[[Readings], None], failed: Callable[[Exception], None]) -> Readings:
        """The figures of all pools; the last reading of an ended one counts 0 pools.

        Empty while another thread reads, which shares its readings.

        Args:
            reader: The reader, as for `share`.
            failed: Called with the error of a pool that cannot be read.
        """
        turn = self._turn
        if not turn.acquire(timeout=0):
            return ()
        try:
            number = next(self._numbers)
            read: list[tuple[Source, PoolReading]] = []
            for source in self.sources:
                try:
                    # First, so that the last reading includes everything before the end.
                    is_gone = source.is_gone()
                    reading = source.read(number)
                except Exception as error:
                    failed(error)
                    continue
                if is_gone:
                    self.remove(source)
                    reading = reading._replace(pools=0, gauges=Gauges(), limits=Limits())
                else:
                    reading = reading._replace(pools=1)
                read.append((source, reading))
            for other in list(self._readers):
                if other != reader:
                    other(read)
            return read
        finally:
            turn.release()

    @property
    def sources(self) -> list[Source]:
        """The pools that were used in this process."""
        return list(self._added)

    def add(self, source: Source) -> None:
        """Have the pool read from now on. Called at its first connect or checkout in this process."""
        self._added[source] = None
        if len(self._added) > self._many:
            # Without a reader, ended pools would accumulate.
            for one in self.sources:
                if one.is_gone():
                    self.remove(one)
            self._many = max(MANY, 2 * len(self._added))

    def expect(self, source: Source) -> None:
        """Have this pool start afresh in a forked child, even if it was not added before the fork."""
        self._expected.add(source)

    def remove(self, source: Source) -> None:
        """Stop reading the pool: it has ended, or is reported elsewhere."""
        self._added.pop(source, None)
        self._expected.discard(source)

    def after_fork(self) -> None:
        """Start afresh in a forked child, in which no pool has been used."""
        sources = {*self.sources, *self._expected}
        self._added = {}
        self._begin()
        begin_afresh(sources)


def begin_afresh(sources: Iterable[Source]) -> None:
    """Have pools start at zero in a forked child; an error is logged, and affects one pool only."""
    for source in sources:
        try:
            source.after_fork()
        except Exception as error:
            log(ERROR, "poolhouse cannot reset a pool after a fork: %r", source, error=error)


def moved(source: Source, stream: AnyStream, wanted: AnyStream) -> AnyStream:
    """The stream of a source from now on: a source that is not sent anywhere moves to a stream that is sent."""
    if isinstance(stream, Unsent) and not isinstance(wanted, Unsent):
        stream.remove(source)
        return wanted
    return stream


#: This process's instance.
UNSENT = Unsent()
#: Has an item if it replaces the default destination, and if it starts afresh in forked children.
_is_default: list[bool] = []
_is_at_fork: list[bool] = []


def begin_afresh_in_children() -> None:
    """Have `UNSENT` start afresh in every forked child from now on. Idempotent."""
    if not _is_at_fork:
        _is_at_fork.append(True)
        os.register_at_fork(after_in_child=UNSENT.after_fork)


def unsent_by_default() -> bool:
    """Whether pools that poolhouse found by itself go to `UNSENT` if no destination is set."""
    return bool(_is_default)


def send_nothing_by_default() -> None:
    """Make that so from now on."""
    _is_default.append(True)
