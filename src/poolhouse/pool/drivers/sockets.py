"""Looking at a socket, and cutting it, without the driver that owns it."""

import select
import socket


def is_quiet(descriptor: int) -> bool:
    """Whether nothing has arrived on an idle connection: then the server has not closed it.

    Costs no round trip. False is no proof of death: the server may have sent a notification.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLPRI)
    return not poll.poll(0)


def cut(descriptor: int) -> None:
    """Shut a connection down in both directions, so that whoever waits for it is told at once.

    The descriptor is duplicated first: were its owner to close it meanwhile, its number could already
    mean another connection.
    """
    try:
        with socket.socket(fileno=socket.dup(descriptor)) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # It is closed already.
