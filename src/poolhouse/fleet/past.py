"""The pools of a process that have ended: the newest ones apart, which nodes can join, and the sum of the rest.

Every pool whose key is below the floor is in the sum, unless the process has it apart.
"""

from poolhouse.fleet.account import ACCOUNT_BYTES, NO_AMOUNT, Account, Amount, add


class Past:
    """What the ended pools of one process have counted.

    Attributes:
        accounts: The newest ended pools, by key.
        floor: Below this key, each pool that is not apart is in `older`.
        older: The sum of older ones.
    """

    __slots__ = ("accounts", "floor", "older")

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.floor = 0
        self.older: Amount = NO_AMOUNT

    @property
    def size(self) -> int:
        """Its bytes, about."""
        return 4_000 + sum(
            ACCOUNT_BYTES + len(account.durations) + len(account.base_durations)
            for account in self.accounts.values()
        )

    def fold(self, most: int) -> None:
        """Sum the oldest pools until at most this many are apart."""
        while len(self.accounts) > most:
            key = min(self.accounts)
            self.older = add(self.older, self.accounts.pop(key).amount())
            self.floor = max(self.floor, key + 1)
