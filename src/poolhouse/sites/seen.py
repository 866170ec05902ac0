"""The result of a look at one connection."""

from enum import IntEnum
from typing import NamedTuple

from poolhouse.sites.frames import Place


class State(IntEnum):
    """What a look finds a connection doing; an index into `poolhouse.meter.signs.Looks`."""

    #: In a driver, or in a library's call of one.
    BUSY = 0
    #: Anywhere else.
    IDLE = 1
    #: Its holder is asking for another connection.
    ASKS = 2
    #: The call that took it has ended, but it is still out.
    ENDED = 3


class Seen(NamedTuple):
    """The result of a look."""

    #: ``None`` if that cannot be known.
    state: State | None
    #: The innermost line of the application that holds the connection; ``None`` if there is none.
    line: Place | None = None
    #: Whether an `ENDED` may be a mistake: the function is on the stack and asks for another connection at the
    #: same line. Either this one is from an earlier call, or the call continues and takes several there.
    asks_again: bool = False
