"""The ended pools of a process: the latest ones separately, which nodes can join, and the sum of the rest.

Every pool whose key is below the floor is in the sum, unless the process keeps it separately.
"""

from poolhouse.fleet.account import ACCOUNT_BYTES, NO_AMOUNT, Account, Amount, add
from poolhouse.meter.reading import MARKS

#: How many pools that were summed but may be alive are remembered.
MOST_PRESUMED = 16


class Past:
    """What the ended pools of one process have counted.

    Attributes:
        accounts: The latest ended pools, by key.
        floor: Each pool with a key below this that is not in `accounts` is in `older`.
        older: The sum of older ones.
        presumed: Pools in that sum whose end was not reported, by key: if one reports again, it continues from
            there.
    """

    __slots__ = ("accounts", "floor", "older", "presumed")

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.floor = 0
        self.older: Amount = NO_AMOUNT
        self.presumed: dict[int, Account] = {}

    @property
    def size(self) -> int:
        """Its approximate size in bytes."""
        return 4_000 + sum(
            ACCOUNT_BYTES + len(account.durations) + len(account.base_durations)
            for several in (self.accounts, self.presumed)
            for account in several.values()
        )

    def presume(self, key: int, account: Account) -> None:
        """Note the sum's share of a pool whose end was not reported."""
        known = Account(account.number, account.counts, account.sent, account.durations)
        self.presumed.pop(key, None)
        self.presumed[key] = known
        if len(self.presumed) > MOST_PRESUMED:
            del self.presumed[next(iter(self.presumed))]

    def fold(self, most: int, number: int) -> None:
        """Sum the oldest pools until at most `most` are separate, except those that were reported lately.

        A pool reports its end in `MARKS` reports, of which a node may miss some. After twice as many, no node has
        it as one of the last `MARKS` reports described it.

        Args:
            most: How many stay separate.
            number: The latest report.
        """
        while len(self.accounts) > most:
            key = min(self.accounts)
            if self.accounts[key].number >= number - 2 * MARKS:
                return
            self.older = add(self.older, self.accounts.pop(key).amount())
            self.floor = max(self.floor, key + 1)
