"""The garbage collector, run at each of the moments at which it may run inside of what is tested."""

import gc
from collections.abc import Callable, Iterator
from itertools import count
from typing import TypeVar

T = TypeVar("T")

#: More dictionaries, and more lists, than CPython keeps for reuse: taking one of those allocates nothing.
MORE_THAN_FREE = 100


def collections() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


def collected_meanwhile(leave_garbage: Callable[[], object], read: Callable[[], T]) -> Iterator[T]:
    """What `read` returns while the collector runs at its first allocation, then at its second, until its last.

    From CPython 3.12 on the collector runs a little later than it is due: between two instructions.

    Args:
        leave_garbage: Called each time before, for something that only the collector can end.
        read: Called each time; it must allocate about the same number of containers.
    """
    thresholds = gc.get_threshold()
    try:
        for allocations in count():
            gc.set_threshold(0)
            gc.collect()
            leave_garbage()
            before, taken = collections(), [({}, []) for _ in range(MORE_THAN_FREE)]  # type: ignore[var-annotated]
            gc.set_threshold(gc.get_count()[0] + allocations)
            result = read()
            gc.set_threshold(0)
            del taken
            yield result
            if collections() == before:
                return
    finally:
        gc.set_threshold(*thresholds)
