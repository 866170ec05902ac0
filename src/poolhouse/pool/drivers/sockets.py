"""Looking at a socket, and cutting it, without its driver."""

import select
import socket
from collections.abc import Callable


def is_quiet(descriptor: int) -> bool:
    """Whether nothing has arrived on an idle connection, so that the server has not closed it.

    Costs no round trip. False is no proof of death: the server may have sent a notification.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLPRI)
    return not poll.poll(0)


def cut(fileno: Callable[[], int | None]) -> None:
    """Shut a connection down in both directions, which ends every wait for it at once. Raises nothing.

    Its owner may close it meanwhile, and its number may then mean another connection. So the descriptor is
    duplicated first; the duplicate is the right one if the connection still has the number afterwards.

    Args:
        fileno: Returns the number of the connection's socket; raises, or returns an invalid one, if it is closed.
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
