"""From the stack of a holder, and its connections, to what each connection is doing. Pure.

A connection is held by the innermost frame of the application that was running when it was taken: its site's
frame. The frames between that one and the innermost show what the connection is used for.
"""

from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any, NamedTuple
from weakref import ref

from poolhouse.code_flags import CO_ASYNC_GENERATOR, CO_GENERATOR
from poolhouse.sites.frames import Place, Stack
from poolhouse.sites.roles import Facts, Role
from poolhouse.sites.seen import Seen, State
from poolhouse.sites.tally import SiteLooks


class Hold(NamedTuple):
    """One connection that is out."""

    #: The counts of its looks.
    looks: SiteLooks
    #: The line that took it; a code of ``None`` means that it is not known.
    code: CodeType | None
    instruction: int
    #: Since when, in monotonic seconds.
    since: float
    #: The holder: the identifier of a thread, a weak reference to a task or a greenlet, ``None`` if not known.
    holder: "int | ref[Any] | None" = None
    #: The event loop whose tasks may hold it; ``None`` if it was taken outside of any loop.
    loop: "ref[Any] | None" = None
    #: Whether its driver is written in C and called by the application itself, so that no frame shows its work.
    is_opaque: bool = False


UNKNOWN = Seen(None)
_ENDED = Seen(State.ENDED)


def judge(
    stack: Stack,
    holds: Sequence[Hold],
    facts_of: Callable[[Stack], Facts],
    *,
    is_whole: bool = True,
) -> list[Seen]:
    """What each of a holder's connections is doing.

    A frame stands for one connection of each line: for the youngest that is not taken by a frame further in. A
    frame that only asks stands for none, since its connection is still to come. Otherwise, a thread that has
    forgotten a connection and now queues like everybody would seem to hold one and want another. So what has ended
    beside such a frame is told with a mark: the call may as well go on, and take several at that line.

    Nothing is known of what is older than the connection that a frame stands for: the frame may have taken several
    at that line, or an earlier call of the function has forgotten one.

    Args:
        stack: The holder's stack, innermost first.
        holds: The connections that the holder has.
        facts_of: Returns what is known about the frames of a stack.
        is_whole: Whether the stack is complete; if not, no call is said to have ended.
    """
    facts = facts_of(stack)
    codes, roles, applications = facts
    asking = facts.asking
    seen: dict[int, Seen] = {}
    taken: set[tuple[int, int]] = set()
    youngest_first: Iterable[int] = range(len(holds))
    if len(holds) > 1:
        youngest_first = sorted(youngest_first, key=lambda number: -holds[number].since)
    for number in youngest_first:
        hold = holds[number]
        if hold.code is None:
            seen[number] = UNKNOWN
            continue
        frames = frames_of(stack, codes, hold.code, hold.instruction, asking)
        index = next((index for index in frames if (index, hold.instruction) not in taken), None)
        if index is not None:
            taken.add((index, hold.instruction))
            seen[number] = _state(stack, index, hold, roles, applications)
        elif frames:
            seen[number] = UNKNOWN
        elif not is_whole:
            seen[number] = _state(stack, len(stack), hold, roles, applications)
        else:
            # A suspended generator is on no stack.
            is_elsewhere = hold.code.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR)
            seen[number] = UNKNOWN if is_elsewhere else _ended(stack, codes, hold, asking, applications)
    return [seen[number] for number in range(len(holds))]


def frames_of(stack: Stack, codes: list[int], code: CodeType, instruction: int, asking: int) -> list[int]:
    """The frames of a function that may hold a connection that it took at this instruction; see `judge`.

    Args:
        stack: Innermost first.
        codes: The identities of its code objects.
        code: The function's code object.
        instruction: The instruction that took the connection.
        asking: The innermost frame that asks for a connection; the length of the stack if none does.
    """
    found: list[int] = []
    sought, index = id(code), -1
    for _ in range(codes.count(sought)):
        index = codes.index(sought, index + 1)
        if not (index > asking and stack[index][1] == instruction):
            found.append(index)
    return found


def line_of(stack: Stack, applications: bytes, outermost: int) -> Place | None:
    """The innermost line of the application among the `outermost` innermost frames.

    Args:
        stack: Innermost first.
        applications: Whether each frame is the application's, 1 or 0.
        outermost: How many frames are examined.
    """
    index = applications.find(1, 0, outermost)
    return stack[index] if index >= 0 else None


def _ended(stack: Stack, codes: list[int], hold: Hold, asking: int, applications: bytes) -> Seen:
    """Whose function is not on the stack, or only to ask for a further connection at the same line."""
    if id(hold.code) not in codes[asking:]:
        return _ENDED
    return Seen(State.ENDED, line_of(stack, applications, len(stack)), True)


def _state(
    stack: Stack,
    outermost: int,
    hold: Hold,
    roles: bytes,
    applications: bytes,
) -> Seen:
    line = line_of(stack, applications, outermost) or (stack[outermost] if outermost < len(stack) else None)
    if roles.find(Role.ASKS, 0, outermost) >= 0:
        return Seen(State.ASKS, line)
    if roles.find(Role.DRIVER, 0, outermost) >= 0:
        return Seen(State.BUSY, line)
    if hold.is_opaque and (not outermost or applications[0]):
        return Seen(None, line)
    return Seen(State.IDLE, line)
