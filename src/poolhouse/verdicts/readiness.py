"""Whether a pool can serve now, from what it knows, for probes. No I/O, no clock.

A pool is not ready in only four cases: it is closed; it has not been opened; it has no connection and cannot make
one; or all its connections are out, none has come back for a while, and a caller timed out. A verdict
alone makes no pool unready: a slow pool still serves, and without its process the others would be slower still.
"""

from typing import NamedTuple

from poolhouse.meter.connect_errors import Failing
from poolhouse.record import Record
from poolhouse.verdicts.verdict import Verdict
from poolhouse.verdicts.words import reason_of, seconds, wait_in_words

#: The reason for a pool that has not been opened.
NOT_OPEN = "the pool is not open yet"
#: Seconds for which a full pool may get no connection back.
PATIENCE_S = 10.0
#: A failed connect counts for this many seconds: many pools connect only for a caller, so one must be let in.
FAILED_S = 30.0


class Condition(NamedTuple):
    """A pool's knowledge of itself; all times are seconds on one clock."""

    is_open: bool = True
    was_closed: bool = False
    idle: int = 0
    used: int = 0
    #: The most connections that may be open; ``None`` if there is no limit, or if it is not known.
    most: int | None = None
    #: Waiting callers.
    waiting: int = 0
    #: When the most recently taken of the connections that are out was taken; ``None`` if none is, or not known.
    taken_at: float | None = None
    #: When a caller last timed out; ``None`` if none did.
    timed_out_at: float | None = None
    #: The connects that have failed since the last success.
    failing: Failing | None = None
    #: The main verdict on the pool.
    verdict: Verdict | None = None
    #: Whether anything is known about the pool.
    is_known: bool = True


class Readiness(Record):
    """The answer: true or false, and why.

    >>> bool(Readiness(False, "the pool is closed")), str(Readiness(False, "the pool is closed"))
    (False, 'the pool is closed')
    >>> str(Readiness(True))
    'ready'
    """

    #: Whether the pool can serve.
    is_ready: bool
    #: Why not, in a sentence; usually empty if it can.
    reason: str = ""
    #: The standing verdict on the pool, ready or not; ``None`` if there is none.
    verdict: Verdict | None = None

    def __bool__(self) -> bool:
        """Whether the pool can serve."""
        return self.is_ready

    def __str__(self) -> str:
        """The reason; ``ready`` if there is none."""
        return self.reason or "ready"


def decide(condition: Condition, now: float) -> Readiness:
    """Whether a pool in this condition can serve.

    >>> decide(Condition(used=5, most=5, waiting=2, taken_at=80.0), now=100.0).reason
    '5 of 5 connections are in use, and none has come back for 20 s; 2 wait'
    >>> decide(Condition(used=5, most=5, taken_at=80.0), now=100.0).is_ready  # No caller wants one.
    True
    """
    verdict = condition.verdict
    if condition.was_closed:
        return Readiness(False, "the pool is closed", verdict)
    if not condition.is_open:
        return Readiness(False, NOT_OPEN, verdict)
    if not condition.is_known:
        return Readiness(True, "nothing is known of this pool: it is not measured")
    reason = _no_connection(condition, now) or _stuck(condition, now)
    if not reason:
        return Readiness(True, "", verdict)
    if verdict is not None and verdict.severity == "alarm":
        reason = f"{reason}; {reason_of(verdict)}"
    return Readiness(False, reason, verdict)


def _no_connection(condition: Condition, now: float) -> str:
    failing = condition.failing
    if failing is None or condition.idle or condition.used or now - failing.last > FAILED_S:
        return ""
    return f"no connection could be made for {seconds(now - failing.began)} ({failing.kind})"


def _stuck(condition: Condition, now: float) -> str:
    """Why a full pool is stuck: its newest lease is old; a connection that came back would have a newer one."""
    taken_at, most = condition.taken_at, condition.most
    if taken_at is None or most is None or condition.idle or condition.used < most:
        return ""
    timed_out_at = condition.timed_out_at
    is_wanted = condition.waiting > 0 or (timed_out_at is not None and timed_out_at >= taken_at)
    if not is_wanted or now - taken_at < PATIENCE_S:
        return ""
    return (
        f"{condition.used} of {most} connections are in use, and none has come back for {seconds(now - taken_at)}"
        f"; {wait_in_words(condition.waiting)}"
    )
