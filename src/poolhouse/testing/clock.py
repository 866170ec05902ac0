"""Time that passes only when somebody lets it."""


class VirtualClock:
    """A `poolhouse.clock.Clock` that stands still until it is told to go on.

    >>> clock = VirtualClock()
    >>> began = clock.monotonic()
    >>> clock.advance(90.0)
    >>> clock.monotonic() - began
    90.0
    """

    def __init__(self, wall_time: float = 1_600_000_000.0) -> None:
        # Large, so that two readings are never one object: small numbers are shared, and the pool tells its calls
        # apart by the identity of their readings, as the system's clock allows.
        self._ns = 1_000_000_000_000
        self._wall_offset = wall_time - self._ns / 1e9

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._ns / 1e9

    def monotonic_ns(self) -> int:
        """See `Clock.monotonic_ns`; a new object each time."""
        return self._ns + 0

    def wall_time(self) -> float:
        """See `Clock.wall_time`."""
        return self._wall_offset + self._ns / 1e9

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.advance_to_ns(self._ns + int(seconds * 1e9))

    def advance_to_ns(self, instant: int) -> None:
        """Let time pass until `instant`; it never goes back."""
        self._ns = max(self._ns, instant)
