"""The figures of `get_stats`: counted exactly in nanoseconds, and converted to whole milliseconds when read."""

from collections.abc import Mapping

#: The counters in nanoseconds, with their names in milliseconds.
_MILLISECONDS = {
    "usage_ns": "usage_ms",
    "requests_wait_ns": "requests_wait_ms",
    "connections_ns": "connections_ms",
}
_NS_PER_MS = 1_000_000


class Counts:
    """Counters of the pool's slow path; those of the fast path are in the meter."""

    __slots__ = (
        "connections_errors",
        "connections_lost",
        "connections_num",
        "requests_errors",
        "requests_queued",
        "requests_unserved",
        "requests_wait_ns",
        "returns_bad",
    )

    def __init__(self) -> None:
        self.requests_queued = 0
        self.requests_wait_ns = 0
        self.requests_errors = 0
        #: Requests that ended without a connection, for any reason.
        self.requests_unserved = 0
        self.returns_bad = 0
        self.connections_num = 0
        self.connections_errors = 0
        self.connections_lost = 0


class Reader:
    """The counters shown to the user: since the pool was made, or since the last `pop`."""

    def __init__(self) -> None:
        self._popped: dict[str, int] = {}

    def since_pop(self, counters: Mapping[str, int]) -> dict[str, int]:
        """The counters since the last `pop`, without those that are 0.

        Args:
            counters: Cumulative values; names that end in ``_ns`` become milliseconds.

        >>> reader = Reader()
        >>> reader.pop({"usage_ns": 1_500_000})
        {'usage_ms': 1}
        >>> reader.since_pop({"usage_ns": 2_600_000})  # includes the half millisecond that pop left
        {'usage_ms': 1}
        """
        read: dict[str, int] = {}
        for name, value in counters.items():
            since = value - self._popped.get(name, 0)
            if name in _MILLISECONDS:
                name, since = _MILLISECONDS[name], since // _NS_PER_MS
            if since:
                read[name] = since
        return read

    def pop(self, counters: Mapping[str, int]) -> dict[str, int]:
        """Return `since_pop` and restart from zero; fractions of a millisecond carry over to the next call."""
        read = self.since_pop(counters)
        for name, value in counters.items():
            shown = _MILLISECONDS.get(name)
            if shown is None:
                self._popped[name] = value
            else:
                self._popped[name] = self._popped.get(name, 0) + read.get(shown, 0) * _NS_PER_MS
        return read
