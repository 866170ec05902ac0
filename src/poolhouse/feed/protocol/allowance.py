"""Rate limits; pure."""


class Allowance:
    """A number of times per second, and a larger number at once after a rest."""

    def __init__(self, per_second: float, at_once: float) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._left = at_once
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Whether it may be done once more at `now`, in monotonic seconds; if so, counts it."""
        if self._at is not None:
            self._left = min(self._at_once, self._left + max(0.0, now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
