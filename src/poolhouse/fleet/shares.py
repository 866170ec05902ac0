"""How much of the fleet each sender's processes may take, and which of them go when it is full.

A *source* is what distinguishes senders: a user who signs, this machine, a network, another node. As long as there
is room, any source may have all of it. Once there is none, a new process takes the place of a process of the
largest source, provided that its own source has less; new processes of the largest source find room only among its
own. So no source can push another one below its equal share, whatever it sends.
"""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class OfSource(Protocol):
    """Something that belongs to a source."""

    source: str


Item = TypeVar("Item", bound=OfSource)


class BySource(Generic[Item]):
    """Items in the order in which they were added, in all and by source."""

    __slots__ = ("_items", "_of")

    def __init__(self) -> None:
        self._items: dict[Item, float] = {}
        self._of: dict[str, dict[Item, float]] = {}

    def __len__(self) -> int:
        """How many items there are."""
        return len(self._items)

    def __contains__(self, item: object) -> bool:
        """Whether this is one of the items."""
        return item in self._items

    def __iter__(self) -> Iterator[Item]:
        """Iterate over all items, the first added first."""
        return iter(self._items)

    def add(self, item: Item, at: float = 0.0) -> None:
        """Add an item at this time."""
        self._items[item] = at
        self._of.setdefault(item.source, {})[item] = at

    def discard(self, item: Item) -> None:
        """Remove an item, if it is there."""
        if self._items.pop(item, None) is None:
            return
        items = self._of[item.source]
        del items[item]
        if not items:
            del self._of[item.source]

    def count(self, source: str) -> int:
        """How many items the source has."""
        return len(self._of.get(source, ()))

    def largest(self) -> str | None:
        """The source with the most items; ``None`` if there are none."""
        return max(self._of, key=lambda source: len(self._of[source]), default=None)

    def oldest(self, source: str | None, but: Item | None = None) -> tuple[Item, float] | None:
        """The source's oldest item, apart from one, and its time; the oldest of all for ``None``."""
        items = self._items if source is None else self._of.get(source, {})
        return next((found for found in items.items() if found[0] is not but), None)

    def newest(self, source: str) -> Item | None:
        """The source's newest item; ``None`` if it has none."""
        return next(reversed(self._of.get(source, {})), None)

    def newest_first(self, source: str) -> Iterator[Item]:
        """The source's items, the newest first."""
        return reversed(self._of.get(source, {}))


def above(mine: float, largest: float) -> bool:
    """Whether an item of the largest source must go to make room for one more of mine."""
    return mine + 1 < largest
