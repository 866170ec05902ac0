"""What the reporter asks of a pool that is measured."""

from typing import Protocol

from poolhouse.meter.reading import PoolReading


class Source(Protocol):
    """One pool of this process, for a `Stream` to report.

    Every method is called from the reporter's thread, from the thread that ends the process or calls
    ``poolhouse.flush()``, never from two at once; `after_fork` from the thread that forked. What they raise is
    logged once and costs this pool's report only.
    """

    def is_gone(self) -> bool:
        """Whether the pool has ended for good. Once true, it stays true, and one last `read` follows."""
        ...

    def read(self, number: int) -> PoolReading:
        """What is true of the pool now, closing the interval that ends with report `number`.

        Counters, histograms and the peak are cumulative and never fall. After its end the gauges are 0. The
        reading's `key` and `pools` are the stream's affair: it replaces them.
        """
        ...

    def after_fork(self) -> None:
        """This process is a new child, and the stream has forgotten the pools that its parent had added.

        Counters and histograms start at zero, connections that were inherited are nobody's. The pool's first
        connect or checkout in the child adds it to its stream again.
        """
        ...
