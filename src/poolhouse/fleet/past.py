"""The pools of a process that have ended: the newest ones apart, which nodes can join, and the sum of the rest.

Every pool whose key is below the floor is in the sum, unless the process has it apart.
"""

from poolhouse.fleet.account import ACCOUNT_BYTES, NO_AMOUNT, Account, Amount, add
from poolhouse.meter.reading import MARKS

#: How many pools are remembered that were summed and may live.
MOST_PRESUMED = 16


class Past:
    """What the ended pools of one process have counted.

    Attributes:
        accounts: The newest ended pools, by key.
        floor: Below this key, each pool that is not apart is in `older`.
        older: The sum of older ones.
        presumed: Pools in that sum whose end nobody has told, by key: one that is told again goes on from there.
    """

    __slots__ = ("accounts", "floor", "older", "presumed")

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.floor = 0
        self.older: Amount = NO_AMOUNT
        self.presumed: dict[int, Account] = {}

    @property
    def size(self) -> int:
        """Its bytes, about."""
        return 4_000 + sum(
            ACCOUNT_BYTES + len(account.durations) + len(account.base_durations)
            for several in (self.accounts, self.presumed)
            for account in several.values()
        )

    def presume(self, key: int, account: Account) -> None:
        """Note what the sum has of a pool whose end was not told."""
        known = Account(account.number, account.counts, account.sent, account.durations)
        self.presumed.pop(key, None)
        self.presumed[key] = known
        if len(self.presumed) > MOST_PRESUMED:
            del self.presumed[next(iter(self.presumed))]

    def fold(self, most: int, number: int) -> None:
        """Sum the oldest pools until at most this many are apart, but for those that were told lately.

        A pool tells its end in some `MARKS` reports, of which a node may miss some. After twice as many nobody
        has it as one of the last `MARKS` reports told it.

        Args:
            most: How many stay apart.
            number: The newest report.
        """
        while len(self.accounts) > most:
            key = min(self.accounts)
            if self.accounts[key].number >= number - 2 * MARKS:
                return
            self.older = add(self.older, self.accounts.pop(key).amount())
            self.floor = max(self.floor, key + 1)
