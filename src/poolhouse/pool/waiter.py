"""A client that asks for a connection through the slow path, and the answers that it may get."""

from collections.abc import Callable
from enum import Enum
from types import CodeType
from typing import Any

from poolhouse.pool.slot import Slot


class Vet(Enum):
    """What the owner of a slot must do before using it."""

    NOTHING = "nothing"
    #: Look at the socket, without a round trip.
    LOOK = "look"
    #: Call the `check` callback.
    CHECK = "check"
    #: Ask the server: another connection, opened no later, was found dead.
    PROBE = "probe"


class Refusal(Enum):
    """Why a request gets neither a connection nor a place in the queue."""

    NOT_OPEN = "not open yet"
    CLOSED = "closed"
    FULL = "too many waiting"
    EMPTY = "nothing idle"


class Waiter:
    """A client that asks for a connection through the slow path.

    Attributes:
        wake: Called by the shell when `slot` or `refusal` has been set while it waited.
        code: The code object of the call site.
        instruction: The offset of the instruction in it.
        holder: The thread's number, or a weak reference to the task, for the warning of long holds. The core
            keeps the waiter of each lease, so a strong reference would keep the task, and its block, alive.
        since: When it asked, in monotonic seconds.
        queued_at: When it last entered the queue; 0 if it never did.
        slot: The slot that it has been given. Its ``conn`` is ``None`` if the client must connect for itself.
        refusal: Why it will be given nothing.
    """

    __slots__ = (
        "code",
        "holder",
        "instruction",
        "queued_at",
        "refusal",
        "since",
        "slot",
        "wake",
    )

    def __init__(
        self, wake: Callable[[], object], code: CodeType, instruction: int, holder: Any, since: float
    ) -> None:
        self.wake = wake
        self.code = code
        self.instruction = instruction
        self.holder = holder
        self.since = since
        self.slot: Slot | None = None
        self.refusal: Refusal | None = None
        self.queued_at = 0.0

    @property
    def is_answered(self) -> bool:
        """Whether it has been given a slot, or refused."""
        return self.slot is not None or self.refusal is not None
