"""Jobs and notices: plain values by which the core asks its shell to act or to log something outside the lock.

A job that owns a slot must be answered: `Connect` by `PoolCore.connected` or `connect_failed`, `Return` by
`PoolCore.returned`, `Probe` by `PoolCore.probed`. `Close` and `ReconnectFailed` need no answer.
"""

from enum import Enum, IntEnum
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from poolhouse.pool.slot import Lease, Slot


class Lane(IntEnum):
    """Jobs of different lanes never wait for each other. An IntEnum, since it is a key of hot dictionaries."""

    #: Connects and checks: `num_workers` at a time.
    CONNECT = 0
    #: Rolling back, resetting and closing returned connections: a return never waits for a connect.
    RETURN = 1


#: All lanes. Iterating over the enumeration itself takes a call for each step.
LANES = tuple(Lane)


class Reason(Enum):
    """Why a connection was closed."""

    #: Its `max_lifetime` has passed.
    EXPIRED = "expired"
    #: It was returned in a state that rules out further use.
    BROKEN = "broken"
    #: A look at the socket or a check found it dead, or the check took too long.
    LOST = "lost"
    #: The `reset` callback or the rollback failed.
    RESET_FAILED = "reset failed"
    #: The pool is larger than it needs to be.
    SHRUNK = "shrunk"
    #: `drain` was called after it was connected.
    DRAINED = "drained"
    #: The pool was closed.
    CLOSED = "pool closed"
    #: A null pool keeps no connections.
    NOT_KEPT = "not kept"


class Connect(NamedTuple):
    """Make a new connection and configure it."""

    slot: Slot


class Return:
    """Make a returned connection fit for the next client: roll back if `roll_back`, then call `reset`.

    A rollback is logged as a warning, because the client forgot to end its transaction, unless `is_expected`.
    """

    __slots__ = ("is_expected", "roll_back", "slot")

    def __init__(self, slot: Slot, roll_back: bool, is_expected: bool = False) -> None:
        self.slot = slot
        self.roll_back = roll_back
        self.is_expected = is_expected


class Probe(NamedTuple):
    """Check an idle connection with a round trip; `is_asked` if the application called `check`."""

    slot: Slot
    is_asked: bool = False


class Close(NamedTuple):
    """Close a connection that has left the pool."""

    conn: Any  # Any: the connection of any driver.
    reason: Reason


class ReconnectFailed(NamedTuple):
    """Call the application's `reconnect_failed`: for `after` seconds, no connect has succeeded."""

    after: float


Job: TypeAlias = Connect | Return | Probe | Close | ReconnectFailed


class HeldLong(NamedTuple):
    """Notice: a client has held a connection for longer than `hold_warning`."""

    lease: Lease
    held: float


class ReturnedAfterAll(NamedTuple):
    """Notice: a connection reported by a `HeldLong` has been returned."""

    lease: Lease
    held: float


#: Result of `PoolCore.put` for a connection that no client holds. Not an exception: an exception would mean that
#: the call was interrupted.
NOT_LEASED: Final = "not leased"
NotLeased: TypeAlias = Literal["not leased"]

#: Notice: `min_size` connections are idle, and a `wait` is waiting for that.
FULL = "full"

Notice: TypeAlias = HeldLong | ReturnedAfterAll | str
