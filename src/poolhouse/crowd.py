"""Chooses the connection to close when there are too many: one of the address that has the most; pure.

So a flood from one address costs its own connections, and a flood from many addresses costs each of them one
before any address loses its only one.
"""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Member = TypeVar("Member", bound=Hashable)


class Crowd(Generic[Member]):
    """Connections by address, or by what else tells their sources apart; a call costs the same for any number."""

    def __init__(self, most: int) -> None:
        """Start empty; more than `most` are too many."""
        self.most = most
        self._address_of: dict[Member, Hashable] = {}
        #: The connections of each address, the oldest first.
        self._members: dict[Hashable, dict[Member, None]] = {}
        #: The addresses by their number of connections; among equals, the one that reached the number first is
        #: first.
        self._by_count: dict[int, dict[Hashable, None]] = {}
        self._largest = 0

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._address_of)

    def __iter__(self) -> Iterator[Member]:
        """Iterate over all connections, the oldest first."""
        return iter(self._address_of)

    def __contains__(self, member: object) -> bool:
        """Whether this is one of the connections."""
        return member in self._address_of

    @property
    def is_too_large(self) -> bool:
        """Whether one must be closed."""
        return len(self) > self.most

    def add(self, member: Member, address: Hashable) -> None:
        """Add a connection."""
        self._address_of[member] = address
        members = self._members.setdefault(address, {})
        members[member] = None
        self._move(address, len(members) - 1, len(members))

    def discard(self, member: Member) -> None:
        """Remove a connection; nothing happens if it was removed before."""
        address = self._address_of.pop(member, None)
        if address is None:
            return
        members = self._members[address]
        del members[member]
        self._move(address, len(members) + 1, len(members))
        if not members:
            del self._members[address]

    def oldest_of_largest(self) -> Member:
        """The oldest connection of the address that has the most; of several, of the first to have that many."""
        return next(self.of_largest())

    def newest_of_largest(self) -> Member:
        """The newest connection of the address that has the most; of several, of the last to have that many."""
        return next(reversed(self._members[self._last_largest()]))

    def of_largest(self) -> Iterator[Member]:
        """The connections of the address that has the most, the oldest first; of several, those of each."""
        return (member for address in self._by_count[self._largest] for member in self._members[address])

    def of_largest_but(self, address: Hashable) -> Iterator[Member]:
        """The connections that may be closed for another one of `address`, the newest first.

        They are those of the address that has the most. There are none if `address` would then have as many.
        """
        return reversed(self._members[self._last_largest()]) if self._has_fewer(address) else iter(())

    def has_room_for(self, address: Hashable) -> bool:
        """Whether there is room for another one of `address`, perhaps in place of one of `of_largest_but`."""
        return len(self) < self.most or self._has_fewer(address)

    def _has_fewer(self, address: Hashable) -> bool:
        """Whether an address would still have fewer than the one that has the most, with another connection."""
        return self.count(address) + 1 < self._largest

    def count(self, address: Hashable) -> int:
        """How many connections an address has."""
        return len(self._members.get(address, ()))

    def _last_largest(self) -> Hashable:
        """The address that has the most; of several, the last to have that many."""
        return next(reversed(self._by_count[self._largest]))

    def _move(self, address: Hashable, before: int, after: int) -> None:
        if before:
            addresses = self._by_count[before]
            del addresses[address]
            if not addresses:
                del self._by_count[before]
        if after:
            self._by_count.setdefault(after, {})[address] = None
        if after > self._largest or (before == self._largest and before not in self._by_count):
            self._largest = after
