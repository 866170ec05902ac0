"""Which node of a service a client tries next, and when. No I/O, no clock; randomness is an argument."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds of rest once every node has been tried: doubles from the first to the last, less a random part.
FIRST_REST_S, LAST_REST_S = 1.0, 30.0
#: The part of a rest that is random, so that the clients of a node that died do not all return in one instant.
JITTER = 0.5


class Nodes:
    """The nodes of a service in random order; a new order for every round.

    Attributes:
        current: The index of the node in use, or to be tried next.
        due: When it may be tried, in monotonic seconds.
    """

    def __init__(self, count: int, random: Callable[[], float], last_rest: float = LAST_REST_S) -> None:
        """Start with a random node, to be tried at once.

        Args:
            count: How many nodes there are, at least 1.
            random: Returns numbers in [0, 1).
            last_rest: The longest rest, in seconds.
        """
        self._count = count
        self._last_rest = last_rest
        self._random = random
        self._rest = FIRST_REST_S
        self._order = self._shuffled()
        self.current = self._order.pop()
        self.due = 0.0

    def failed(self, now: float) -> None:
        """Note that the current node is unreachable: try another, after a rest if all have been tried."""
        if not self._order:
            self._order = self._shuffled()
            self.due = now + self._rest * (1 - JITTER * self._random())
            self._rest = min(2 * self._rest, self._last_rest)
        self.current = self._order.pop()

    def reached(self) -> None:
        """Note that the current node has welcomed us: if it fails, all others are tried without a rest."""
        self._rest = FIRST_REST_S
        self._order = [node for node in self._shuffled() if node != self.current]

    def _shuffled(self) -> list[int]:
        keyed = [(self._random(), node) for node in range(self._count)]
        return [node for _, node in sorted(keyed)]
