"""What the core asks its shell to do, or to tell, outside the lock, as plain values.

A job that owns a slot must be answered: `Connect` by `PoolCore.connected` or `connect_failed`, `Return` by
`PoolCore.returned`, `Probe` by `PoolCore.probed`. `Close` and `ReconnectFailed` need no answer.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from poolhouse.pool.slot import Lease, Slot


class Lane(IntEnum):
    """Jobs of different lanes never wait for each other. An IntEnum, because it is a key of hot dictionaries."""

    #: Whatever needs an answer of the server to a new request: `num_workers` at a time.
    CONNECT = 0
    #: Rolling back, resetting and closing what was returned: a return never stands behind a connect.
    RETURN = 1


class Reason(Enum):
    """Why a connection was closed."""

    #: Its `max_lifetime` has passed.
    EXPIRED = "expired"
    #: It was returned in a state in which it cannot be used again.
    BROKEN = "broken"
    #: It was found dead when it was looked at or checked, or its check did not end in time.
    LOST = "lost"
    #: The `reset` callback, or rolling back, failed.
    RESET_FAILED = "reset failed"
    #: The pool is larger than it needs to be.
    SHRUNK = "shrunk"
    #: `drain` was called since it was connected.
    DRAINED = "drained"
    #: The pool was closed.
    CLOSED = "pool closed"
    #: A null pool keeps nothing.
    NOT_KEPT = "not kept"


@dataclass(frozen=True, slots=True)
class Connect:
    """Make a new connection and configure it."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Return:
    """Make a returned connection fit for the next client: roll back if `roll_back`, then call `reset`.

    Rolling back deserves a warning unless it `is_expected`: the client forgot to end its transaction.
    """

    slot: Slot
    roll_back: bool
    is_expected: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the server whether an idle connection still answers; `is_asked` if the application wants to know."""

    slot: Slot
    is_asked: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """Close a connection that has left the pool."""

    conn: Any  # Any: the connection of any driver.
    reason: Reason


@dataclass(frozen=True, slots=True)
class ReconnectFailed:
    """Tell the application, by its `reconnect_failed` callback, that `reconnect_timeout` has passed."""

    after: float


Job: TypeAlias = Connect | Return | Probe | Close | ReconnectFailed


class HeldLong(NamedTuple):
    """A client has had a connection for longer than `hold_warning`."""

    lease: Lease
    held: float


class ReturnedAfterAll(NamedTuple):
    """A connection of which `HeldLong` told has come back."""

    lease: Lease
    held: float


#: `PoolCore.put` was given a connection that no client has. Not an exception: that would mean a struck call.
NOT_LEASED: Final = "not leased"
NotLeased: TypeAlias = Literal["not leased"]

#: `min_size` connections are idle, and somebody waits for that.
FULL = "full"

Notice: TypeAlias = HeldLong | ReturnedAfterAll | str
