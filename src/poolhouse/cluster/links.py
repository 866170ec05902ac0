"""Who connects to whom, which node is let in, and what the log says of links that come and go."""

from collections import deque
from collections.abc import Callable, Sequence

#: Seconds to rest after the first failure, and at most; half of it is by chance.
FIRST_REST_S, LONGEST_REST_S = 0.2, 1.0
#: Lines of the log about one node within a while.
MOST_LINES = 8


def dials(me: str, other: str) -> bool:
    """Whether this node connects to the other: of each two, the one whose name sorts first does.

    >>> dials("node1", "node2"), dials("node2", "node1"), dials("node1", "node1")
    (True, False, False)
    """
    return me < other


def refusal(service: str, me: str, names: Sequence[str], guest: str) -> str | None:
    """Why a node that connects is not let in, in a sentence; ``None`` if it is.

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
    """Why a node that was reached is not the one that was meant; ``None`` if it is.

    >>> stranger("default", "node2", "default", "node3")
    "it is node 'node3' of service 'default', not node 'node2' of service 'default'"
    """
    if (service, name) == (its_service, its_name):
        return None
    return f"it is node {its_name!r} of service {its_service!r}, not node {name!r} of service {service!r}"


class Rest:
    """How long to rest before a node is tried again."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._next = FIRST_REST_S

    def reached(self) -> None:
        """The node was reached: begin anew."""
        self._next = FIRST_REST_S

    def seconds(self) -> float:
        """The next rest."""
        rest, self._next = self._next, min(2 * self._next, LONGEST_REST_S)
        return rest * (1 - self._random() / 2)


class Complaints:
    """Which sentences about the other nodes the log gets: those that are news, and not too many of them."""

    def __init__(self, period: float) -> None:
        """Begin with nothing said.

        Args:
            period: Seconds between two reasons for which a node is missing; and in which a node that comes and
                goes all the time, as two nodes of one name do, has at most `MOST_LINES` lines.
        """
        self._period = period
        #: What was said last of each missing node, and when.
        self._said: dict[str, tuple[str, float]] = {}
        #: When the last few lines about each node were logged.
        self._lines: dict[str, deque[float]] = {}
        #: When it was said last of each node that it comes and goes.
        self._restless: dict[str, float] = {}

    def is_linked(self, name: str, now: float) -> bool:
        """A node is linked. Returns whether the log says so."""
        self._said.pop(name, None)
        return self._has_room(name, now)

    def is_missing(self, name: str, reason: str, now: float) -> bool:
        """A node cannot be reached, or is lost. Returns whether the log says so."""
        before, said_at = self._said.get(name, ("", now - self._period))
        if reason == before or now - said_at < self._period:
            return False
        self._said[name] = reason, now
        return self._has_room(name, now)

    def is_restless(self, name: str, now: float) -> bool:
        """Whether a node comes and goes so often that no more is said of it for now; true once in a period."""
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
