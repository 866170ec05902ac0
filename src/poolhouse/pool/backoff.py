"""When to connect again after a failure, and when to log it.

All times are monotonic seconds. This module reads no clock and draws no random number: both are arguments.
"""

from collections.abc import Callable

#: The pause after the first failed attempt; it doubles with each further failure.
FIRST_PAUSE = 1.0
#: While a client waits: the pause between two probes of a server that is down, give or take a fifth.
PROBE_PAUSE = 0.08


class Outage:
    """The time from the first failed attempt to connect to the next successful one.

    Attributes:
        started_at: When the current series of attempts began; `reconnect_timeout` limits a series.
        gives_up_at: When the series ends, with one last attempt.
        failed_at: When the last attempt failed.
        error: The error of the last attempt.
    """

    __slots__ = (
        "_jitter",
        "_loud_at",
        "_pause",
        "_probe_pause",
        "_random",
        "_reconnect_timeout",
        "_waited",
        "error",
        "failed_at",
        "gives_up_at",
        "started_at",
    )

    def __init__(
        self, now: float, error: BaseException, random: Callable[[], float], reconnect_timeout: float
    ) -> None:
        self._random = random
        self._reconnect_timeout = reconnect_timeout
        self.started_at = self._loud_at = now
        self.gives_up_at = now + reconnect_timeout
        self._waited = FIRST_PAUSE
        self._restart_pauses()
        self._record(now, error)

    def fail(self, now: float, error: BaseException) -> bool:
        """Record another failed attempt.

        Returns:
            Whether it deserves a WARNING: the first does, then the next after 1 s, 2 s, 4 s, …
        """
        self._record(now, error)
        if now < self._loud_at + self._waited:
            return False
        self._loud_at, self._waited = now, self._waited * 2
        return True

    def pause(self) -> None:
        """Double the pause; called for an attempt that failed while no client was waiting."""
        self._pause *= 2

    def restart(self, now: float) -> None:
        """Begin a new series of attempts, once `reconnect_timeout` has passed."""
        self.started_at = now
        self.gives_up_at = now + self._reconnect_timeout
        self._restart_pauses()

    def next_attempt_at(self, is_somebody_waiting: bool) -> float:
        """When the next attempt is due; at `gives_up_at` at the latest, so that `reconnect_failed` is punctual."""
        pause = self._pause * self._jitter
        if is_somebody_waiting:
            pause = min(pause, self._probe_pause)
        due = self.failed_at + pause
        return min(due, self.gives_up_at) if self.failed_at < self.gives_up_at else due

    def _record(self, now: float, error: BaseException) -> None:
        self.failed_at = now
        self.error = error
        # Drawn once per attempt, so that asking for the deadline twice gives the same answer.
        self._jitter = 0.9 + 0.2 * self._random()
        self._probe_pause = PROBE_PAUSE * (0.8 + 0.4 * self._random())

    def _restart_pauses(self) -> None:
        self._pause = FIRST_PAUSE
