"""The numbers and policies of a pool, for its core. `parameters` has what users may pass."""

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from poolhouse.pool.parameters import PARAMETERS, sized

#: Seconds after which a check that the pool itself runs, with no client waiting, is aborted with its connection.
PROBE_LIMIT = 5.0
#: The same for rolling back and resetting a returned connection; longer, as a `reset` callback may have much to
#: do.
RETURN_LIMIT = 30.0

#: Seconds that stand for "without limit" (317 years): a finite number, so that sums and differences work.
FOREVER = 1e10

Order: TypeAlias = Literal["fifo", "lifo"]
Shrink: TypeAlias = Literal["one", "all"]


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """The numbers and policies of one pool; every duration in seconds.

    Attributes:
        min_size: Connections that the pool keeps open even if no client needs them.
        max_size: The most connections; 0 for no limit, in null pools only.
        timeout: How long a client waits for a connection by default.
        max_waiting: The most clients that may wait; the next one gets `TooManyRequests`. 0 for no limit.
        max_lifetime: The age at which a connection is replaced, less a random share of up to 10 %; 0 for no limit.
        max_idle: How often a pool larger than `min_size` may shrink; 0 for never.
        reconnect_timeout: Time without a successful connect after which `reconnect_failed` is called.
        num_workers: The most connects at the same time.
        idle_order: Serve the connection that has been idle longest (``fifo``) or shortest (``lifo``).
        shrink: Each `max_idle`, close ``one`` superfluous connection, or ``all`` that were not needed.
        check_idle: With a `check` callback: check only connections that have been idle for at least this long.
            ``None``: check at every checkout.
        hold_warning: Warn of a connection that is held for longer than this; ``None`` for never.
        has_check: Whether there is a `check` callback.
        has_reset: Whether there is a `reset` callback.
        is_watched: Whether every checkout and return must be reported (event hooks).
        max_kept: How many free connections are kept while no client waits: ``None`` for all, 0 in null pools.
        look_after: Idle seconds after which a connection's socket is checked before it is served; ``None`` for
            never.
        connect_in_caller: If there is room, the client connects for itself, in its own thread or task.
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
        """Whether every checkout runs the check."""
        return self.has_check and self.check_idle is None


def duration(seconds: float | None) -> float:
    """A finite duration: `FOREVER` for ``None`` and infinity.

    >>> duration(0.5), duration(None) == duration(float("inf")) == FOREVER
    (0.5, True)
    """
    return FOREVER if seconds is None else min(float(seconds), FOREVER)


def time_limit(timeout: float | None) -> float:
    """The longest time that a method waits: 0 for a negative number, `FOREVER` for ``None`` and infinity.

    >>> time_limit(2), time_limit(-1), time_limit(None) == FOREVER
    (2.0, 0.0, True)

    Raises:
        ValueError: If it is not a number (NaN).
    """
    limit = duration(timeout)
    if limit != limit:
        raise ValueError(f"timeout must be a number of seconds, not {timeout!r}")
    return max(0.0, limit)
