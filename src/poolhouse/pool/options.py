"""What the core is told of a pool: numbers and policies. `parameters` has what a user may say."""

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from poolhouse.pool.parameters import PARAMETERS, sized

#: What the pool itself asks the server, with no client waiting for it, is ended after so long without an answer,
#: and its connection with it.
PROBE_LIMIT = 5.0
#: So is rolling back and resetting a connection that came back: longer, since a `reset` may have much to do.
RETURN_LIMIT = 30.0

#: What stands for a duration without end: 317 years. Finite, so that it can be reckoned with.
FOREVER = 1e10

Order: TypeAlias = Literal["fifo", "lifo"]
Shrink: TypeAlias = Literal["one", "all"]


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """The numbers and policies of one pool; every duration in seconds.

    Attributes:
        min_size: How many connections the pool keeps open even if nobody needs them.
        max_size: How many it opens at most; 0 for no limit, which only pools may have in which clients connect.
        timeout: How long a client waits for a connection unless it says otherwise.
        max_waiting: How many clients may wait; the next gets `TooManyRequests`. 0 for no limit.
        max_lifetime: How long a connection lives, less a random share of up to 10 %; 0 for no limit.
        max_idle: How often a pool larger than `min_size` looks whether it needs all its connections; 0 for never.
        reconnect_timeout: After how long without success `reconnect_failed` is called.
        num_workers: How many connections are made at the same time.
        idle_order: Which idle connection is taken: the longest (``fifo``) or the shortest (``lifo``) idle one.
        shrink: Each `max_idle`, close ``one`` superfluous connection, or ``all`` that were not needed.
        check_idle: With a `check` callback: only check connections that were idle for at least so long. ``None``
            to check at every checkout.
        hold_warning: Warn of a connection that is held for longer; ``None`` for never.
        has_check: There is a `check` callback.
        has_reset: There is a `reset` callback.
        is_watched: Something must be told of every checkout and return (event hooks).
        max_kept: How many free connections are kept although nobody waits: ``None`` for all, 0 in null pools.
        look_after: A connection that was idle for longer is looked at before it is served; ``None`` for never.
        connect_in_caller: The client connects by itself, in its own thread or task, when there is room.
    """

    min_size: int = 4
    max_size: int = 4
    timeout: float = 30.0
    max_waiting: int = 0
    max_lifetime: float = 3600.0
    max_idle: float = 600.0
    reconnect_timeout: float = 300.0
    num_workers: int = 3
    idle_order: Order = "fifo"
    shrink: Shrink = "one"
    check_idle: float | None = None
    hold_warning: float | None = None
    has_check: bool = False
    has_reset: bool = False
    is_watched: bool = False
    max_kept: int | None = None
    look_after: float | None = 0.5
    connect_in_caller: bool = False

    def __post_init__(self) -> None:
        sized(self.min_size, self.max_size, is_null=self.connect_in_caller)
        for field in fields(self):
            if (parameter := PARAMETERS.get(field.name)) is not None:
                parameter.values.read(field.name, getattr(self, field.name))
        if self.check_idle is not None and not self.has_check:
            raise ValueError(
                "check_idle needs a check callback, for example check=ConnectionPool.check_connection"
            )

    @property
    def checks_always(self) -> bool:
        """Whether there is a check at every checkout."""
        return self.has_check and self.check_idle is None


def duration(seconds: float | None) -> float:
    """A duration to reckon with; ``None`` and infinity are `FOREVER`.

    >>> duration(0.5), duration(None) == duration(float("inf")) == FOREVER
    (0.5, True)
    """
    return FOREVER if seconds is None else min(float(seconds), FOREVER)


def time_limit(timeout: float | None) -> float:
    """How long a method waits at most: what is negative is 0, ``None`` and infinity are `FOREVER`.

    >>> time_limit(2), time_limit(-1), time_limit(None) == FOREVER
    (2.0, 0.0, True)

    Raises:
        ValueError: If it is no number.
    """
    limit = duration(timeout)
    if limit != limit:
        raise ValueError(f"timeout must be a number of seconds, not {timeout!r}")
    return max(0.0, limit)
