"""Which node connects to which, which is let in, and what the log says about links that come and go."""

from collections import deque
from collections.abc import Callable, Sequence

#: The first and the longest rest after failures, in seconds; half of a rest is random.
FIRST_REST_S, LONGEST_REST_S = 0.2, 1.0
#: The most log lines about one node within a period.
MOST_LINES = 8


def dials(me: str, other: str) -> bool:
    """Whether this node connects to the other: of each two, the one whose name sorts first does.

    >>> dials("node1", "node2"), dials("node2", "node1"), dials("node1", "node1")
    (True, False, False)
    """
    return me < other


def refusal(service: str, me: str, names: Sequence[str], guest: str) -> str | None:
    """Why a node that connects is refused, in a sentence; ``None`` if it is let in.

    >>> refusal("default", "node2", ("node1", "node2"), "node1")
    """
    if guest == me:
        return f"this is node {me!r} itself: two nodes have one name, or one address"
    if guest not in names:
        return f"service {service!r} has no node {guest!r}; it has {', '.join(names)}"
    if not dials(guest, me):
        return f"node {me!r} connects to node {guest!r}, not the other way"
    return None


def stranger(service: str, name: str, its_service: str, its_name: str) -> str | None:
    """Why the node that answers is not the intended one; ``None`` if it is.

    >>> stranger("default", "node2", "default", "node3")
    "it is node 'node3' of service 'default', not node 'node2' of service 'default'"
    """
    if (service, name) == (its_service, its_name):
        return None
    return f"it is node {its_name!r} of service {its_service!r}, not node {name!r} of service {service!r}"


class Rest:
    """The rests between attempts to reach a node."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._next = FIRST_REST_S

    def reached(self) -> None:
        """Note that the node was reached: start again with the shortest rest."""
        self._next = FIRST_REST_S

    def seconds(self) -> float:
        """The next rest."""
        rest, self._next = self._next, min(2 * self._next, LONGEST_REST_S)
        return rest * (1 - self._random() / 2)


class Complaints:
    """Decides which sentences about other nodes are logged: news only, and not too many."""

    def __init__(self, period: float) -> None:
        """Start with nothing logged.

        Args:
            period: Seconds between two reasons for which a node is missing; and the time in which a node that
                keeps coming and going, as two nodes with one name do, has at most `MOST_LINES` lines.
        """
        self._period = period
        #: What was last logged about each missing node, and when.
        self._said: dict[str, tuple[str, float]] = {}
        #: When the last few lines about each node were logged.
        self._lines: dict[str, deque[float]] = {}
        #: When each node was last reported as coming and going.
        self._restless: dict[str, float] = {}

    def is_linked(self, name: str, now: float) -> bool:
        """Note that a node is linked. Returns whether to log it."""
        self._said.pop(name, None)
        return self._has_room(name, now)

    def is_missing(self, name: str, reason: str, now: float) -> bool:
        """Note that a node is unreachable, or lost. Returns whether to log it."""
        before, said_at = self._said.get(name, ("", now - self._period))
        if reason == before or now - said_at < self._period:
            return False
        self._said[name] = reason, now
        return self._has_room(name, now)

    def is_restless(self, name: str, now: float) -> bool:
        """Whether a node comes and goes too often for more log lines now; true once per period."""
        is_news = now - self._restless.get(name, now - self._period) >= self._period
        if is_news and self._is_full(name, now):
            self._restless[name] = now
            return True
        return False

    def _is_full(self, name: str, now: float) -> bool:
        lines = self._lines.get(name)
        return lines is not None and len(lines) == MOST_LINES and now - lines[0] < self._period

    def _has_room(self, name: str, now: float) -> bool:
        if self._is_full(name, now):
            return False
        self._lines.setdefault(name, deque(maxlen=MOST_LINES)).append(now)
        return True
