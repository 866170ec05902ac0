"""The interface of a measured pool to the reporter."""

from typing import Protocol

from poolhouse.meter.reading import PoolReading


class AnyStream(Protocol):
    """The receiver of sources: `poolhouse.report.stream.Stream`, or its replacement."""

    def add(self, source: "Source", /) -> None:
        """Report this pool from now on."""
        ...

    def expect(self, source: "Source", /) -> None:
        """Have this pool start afresh in a forked child, even if it was not added before the fork."""
        ...


class Source(Protocol):
    """One pool of this process, for a `Stream` to report.

    The methods are called from the reporter's thread, or from the thread that ends the process or calls
    ``poolhouse.flush()``, never from two at once; `after_fork` from the thread that forked. An exception is logged
    once, and costs only this pool's report.

    A source that also says who holds its connections is a `poolhouse.report.looks.Looked`.
    """

    def is_gone(self) -> bool:
        """Whether the pool has ended for good. Once true, it stays true, and one last `read` follows."""
        ...

    def read(self, number: int) -> PoolReading:
        """The pool's present figures; closes the interval that ends with report `number`.

        Counters, histograms and the peak are cumulative and never fall. After the pool's end the gauges are 0. The
        stream replaces the reading's `key` and `pools`.
        """
        ...

    def after_fork(self) -> None:
        """Start afresh in a forked child, whose stream has forgotten the pools that its parent had added.

        Counters and histograms start at zero, and inherited connections are not counted. The pool's first connect
        or checkout in the child adds it to its stream again.
        """
        ...
