"""A slot: one place for one connection, the states it can be in, and who owns it.

On the fast path, a slot's state is never stored: it follows from three containers of the core
(`PoolCore.state_of`). `TRANSITIONS` lists the steps; the simulation checks it after every step.
"""

from collections.abc import Mapping
from enum import Enum
from sys import getrefcount
from types import CodeType
from typing import Any, TypeAlias

from poolhouse.pool.gil import is_gil_enabled


class State(Enum):
    """Where a slot is."""

    #: A thread or task is connecting for it; there is no connection yet.
    CONNECTING = "connecting"
    #: Its connection is free.
    IDLE = "idle"
    #: A client has it.
    LEASED = "leased"
    #: The pool itself works on it: rolls back, resets, or probes.
    WORKING = "working"
    #: It has left the pool; final.
    CLOSED = "closed"


#: From each state, the states that one step may lead to.
TRANSITIONS: dict[State, frozenset[State]] = {
    # A new connection goes to a waiting client or becomes idle; if the pool was closed meanwhile, it is closed.
    State.CONNECTING: frozenset({State.IDLE, State.LEASED, State.CLOSED}),
    # Taken; claimed for a probe or after an interrupted call; expired, shrunk or drained.
    State.IDLE: frozenset({State.LEASED, State.WORKING, State.CLOSED}),
    # Returned with nobody waiting, handed to the next waiter (leased to leased), being reset, or unfit for reuse.
    State.LEASED: frozenset({State.IDLE, State.LEASED, State.WORKING, State.CLOSED}),
    # Good and idle; good and given to a waiter; or closed.
    State.WORKING: frozenset({State.IDLE, State.LEASED, State.CLOSED}),
    State.CLOSED: frozenset(),
}


class Slot:
    """One connection of a pool and what the pool knows about it.

    Only the owner of the slot's lease writes to it. A slot keeps its connection for good, so `key` is unique as
    long as anything can reach the slot: a stale hint to a closed slot cannot mean another connection.

    Attributes:
        key: ``id(conn)``; 0 while connecting.
        conn: The connection; ``None`` while connecting.
        generation: The pool's generation at the connect; `PoolCore.drain` makes it stale.
        connected_at: When it was connected, in monotonic seconds.
        expires_at: When its lifetime ends, less a random share of up to 10 %.
        retire_at: From when on the fast path refuses to take it back: shortly before `expires_at`; 0 for always.
        fit_until: Until when it may be served without a look at the socket: a fixed time after it was returned or
            connected; 0 if it must always be checked.
        proven_at: When it was last known to answer.
        takes: How often it was taken on the fast path while nobody waited; counted here because only one client
            at a time has the slot.
        is_checking: Whether its owner is in the middle of a check. If that is interrupted, the check cannot undo
            what it had begun: a mode, a lock of the driver's.
        is_closed: Whether it has left the pool.
    """

    __slots__ = (
        "conn",
        "connected_at",
        "expires_at",
        "fit_until",
        "generation",
        "is_checking",
        "is_closed",
        "key",
        "proven_at",
        "retire_at",
        "takes",
    )

    def __init__(self, generation: int) -> None:
        self.key = 0
        self.conn: Any = None  # Any: the connection of any driver.
        self.generation = generation
        self.connected_at = 0.0
        self.expires_at = 0.0
        self.retire_at = 0.0
        self.fit_until = 0.0
        self.proven_at = 0.0
        self.takes = 0
        self.is_checking = False
        self.is_closed = False

    def __repr__(self) -> str:
        """For tests and debuggers."""
        return f"<Slot {self.conn!r} generation {self.generation}{' closed' if self.is_closed else ''}>"


#: The ownership of a slot: the slot; since when (monotonic seconds); the code object and instruction of the call
#: site; the waiter through which it was handed over (``None`` on the fast path); and whether its owner is a block
#: (``with pool.connection()``), which keeps a reference to the lease. A code of ``None`` means that the pool
#: itself works on it. A plain tuple: it costs a tenth of a NamedTuple, and its identity distinguishes it from all
#: other leases.
Lease: TypeAlias = tuple[Slot, float, CodeType | None, int, Any, bool]


def is_of_call(lease: Lease, stamp: object) -> bool:
    """Whether a lease belongs to the call with this stamp, the very object, on whichever path it came."""
    return lease[1] is stamp or (lease[4] is not None and lease[4].since is stamp)


def abandoned(leases: Mapping[int, Lease]) -> list[Lease]:
    """Leases of `with` blocks that were dropped without `__exit__`: only the pool still refers to them.

    This happens if a generator was dropped in the middle of its block, or if an exception struck between the
    block's end and the first instruction of its ``__exit__``. A finalizer would find that too, but make each
    checkout a tenth dearer. In a free-threaded interpreter none are found: its reference counts may omit other
    threads.
    """
    if not is_gil_enabled():
        return []
    blocks = [lease for lease in list(leases.values()) if lease[5]]
    counts = _references(blocks)
    return [lease for lease, count in zip(blocks, counts, strict=True) if count <= _IN_ONE_LIST + 1]


def _references(leases: list[Lease]) -> list[int]:
    return [getrefcount(lease) for lease in leases]


#: The reference count, by `_references`, of a lease that is in its argument and nowhere else.
_IN_ONE_LIST = _references([(Slot(0), 0.0, None, 0, None, True)])[0]
