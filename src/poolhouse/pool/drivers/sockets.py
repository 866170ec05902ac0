"""Looking at a socket, and cutting it, without the driver that owns it."""

import select
import socket
from collections.abc import Callable


def is_quiet(descriptor: int) -> bool:
    """Whether nothing has arrived on an idle connection: then the server has not closed it.

    Costs no round trip. False is no proof of death: the server may have sent a notification.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLPRI)
    return not poll.poll(0)


def cut(fileno: Callable[[], int | None]) -> None:
    """Shut a connection down in both directions, so that whoever waits for it is told at once; raises nothing.

    Its owner may close it meanwhile, and its number may then mean another connection: the descriptor is duplicated
    first, and the duplicate is the right one if the connection still has the number.

    Args:
        fileno: Tells the number of the connection's socket; raises, or returns what is none, if it is closed.
    """
    try:
        descriptor = fileno()
        if descriptor is None:
            return
        with socket.socket(fileno=socket.dup(descriptor)) as duplicate:
            if fileno() == descriptor:
                duplicate.shutdown(socket.SHUT_RDWR)
    except Exception:
        return  # It is closed already, in one of several ways.
