"""Deadlines of items: a heap that skips outdated entries when they reach its top."""

from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar

#: With fewer entries than this the heap is never cleaned.
_SMALL = 1024


class HasDeadline(Protocol):
    """An item of `Deadlines`. It holds its own deadline, ``None`` while it has none."""

    deadline: float | None


Item = TypeVar("Item", bound=HasDeadline)


class Deadlines(Generic[Item]):
    """Items by deadline; setting a deadline costs O(log n) on average, and so does each that passes."""

    def __init__(self) -> None:
        #: The counter keeps items out of comparisons, and equal deadlines in order.
        self._heap: list[tuple[float, int, Item]] = []
        self._count = 0
        #: At this length the heap is cleaned of outdated entries.
        self._clean_at = _SMALL

    def set(self, item: Item, at: float) -> None:
        """Give the item this deadline, replacing any earlier one."""
        item.deadline = at
        self._count += 1
        heappush(self._heap, (at, self._count, item))
        if len(self._heap) >= self._clean_at:
            self._heap = [entry for entry in self._heap if entry[2].deadline == entry[0]]
            heapify(self._heap)
            self._clean_at = max(_SMALL, 2 * len(self._heap))

    def pop_passed(self, now: float) -> Item | None:
        """The next item whose deadline has passed, without a deadline from now on; ``None`` if there is none."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, item = heappop(heap)
            if item.deadline == at:
                item.deadline = None
                return item
        return None
