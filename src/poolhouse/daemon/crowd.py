"""Which connection is closed when there are too many: those of the address that has the most.

So a flood from one address ends its own connections, and a flood from many addresses ends one of each before it
ends the only one of another.
"""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Member = TypeVar("Member", bound=Hashable)


class Crowd(Generic[Member]):
    """Connections by address; each call costs the same however many there are."""

    def __init__(self, most: int) -> None:
        """Begin empty; more than `most` are too many."""
        self.most = most
        self._address_of: dict[Member, str] = {}
        #: The connections of each address, the oldest first.
        self._members: dict[str, dict[Member, None]] = {}
        #: The addresses by how many connections they have; the one that reached the number first is the first.
        self._by_count: dict[int, dict[str, None]] = {}
        self._largest = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._address_of)

    def __iter__(self) -> Iterator[Member]:
        """All of them, the oldest first."""
        return iter(self._address_of)

    def __contains__(self, member: object) -> bool:
        """Whether it is one of them."""
        return member in self._address_of

    @property
    def is_too_large(self) -> bool:
        """Whether one has to go."""
        return len(self) > self.most

    def add(self, member: Member, address: str) -> None:
        """One more."""
        self._address_of[member] = address
        members = self._members.setdefault(address, {})
        members[member] = None
        self._move(address, len(members) - 1, len(members))

    def discard(self, member: Member) -> None:
        """It has gone; nothing happens if it had before."""
        address = self._address_of.pop(member, None)
        if address is None:
            return
        members = self._members[address]
        del members[member]
        self._move(address, len(members) + 1, len(members))
        if not members:
            del self._members[address]

    def oldest_of_largest(self) -> Member:
        """The oldest connection of the address that has the most."""
        return next(iter(self._members[self._largest_address()]))

    def newest_of_largest(self) -> Member:
        """The newest connection of the address that has the most."""
        return next(reversed(self._members[self._largest_address()]))

    def _largest_address(self) -> str:
        return next(iter(self._by_count[self._largest]))

    def _move(self, address: str, before: int, after: int) -> None:
        if before:
            addresses = self._by_count[before]
            del addresses[address]
            if not addresses:
                del self._by_count[before]
        if after:
            self._by_count.setdefault(after, {})[address] = None
        if after > self._largest or (before == self._largest and before not in self._by_count):
            self._largest = after
