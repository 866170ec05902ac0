"""Time that passes only when told to."""


class VirtualClock:
    """A `poolhouse.clock.Clock` that stands still until it is advanced.

    >>> clock = VirtualClock()
    >>> began = clock.monotonic()
    >>> clock.advance(90.0)
    >>> clock.monotonic() - began
    90.0
    """

    def __init__(self, wall_time: float = 1_600_000_000.0) -> None:
        self._now = 1_000.0
        self._wall_offset = wall_time - self._now

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._now + 0.0

    def wall_time(self) -> float:
        """See `Clock.wall_time`."""
        return self._wall_offset + self._now

    def advance(self, seconds: float) -> None:
        """Advance the time by this many seconds."""
        self.advance_to(self._now + seconds)

    def advance_to(self, instant: float) -> None:
        """Advance the time to `instant`, in the seconds of `monotonic`; it never goes back."""
        self._now = max(self._now, instant)
