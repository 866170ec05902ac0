"""A pool that nobody reads, and a stream that reports nothing."""

from poolhouse.meter.reading import PoolReading
from poolhouse.report.source import Source as AnySource


class Source:
    """A pool whose readings a test makes."""

    gone = False

    def is_gone(self) -> bool:
        return self.gone

    def read(self, number: int) -> PoolReading:
        raise NotImplementedError

    def after_fork(self) -> None: ...


class Stream:
    """In the place of a stream, for `poolhouse.report.reporter.stream`."""

    def add(self, source: AnySource, /) -> None:
        """Nobody reads it."""

    expect = add
