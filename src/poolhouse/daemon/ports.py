"""The sockets that connmond listens on."""

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from poolhouse.addresses import format_address
from poolhouse.errors import SettingError
from poolhouse.feed.sockets import bind_all


def open_ports(addresses: Sequence[tuple[str, int]], option: str, stack: ExitStack) -> list[socket.socket]:
    """A socket for each address of each host; `stack` closes them.

    Raises:
        SettingError: If one cannot be bound; it names the option, the address and the reason.
    """
    sockets: list[socket.socket] = []
    for host, port in addresses:
        try:
            bound = bind_all(host, port)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                reason += ", perhaps by another connmond, collectd's plugin, or a connmon that listens"
            raise SettingError(option, f"cannot listen on UDP {format_address(host, port)}: {reason}") from error
        sockets += map(stack.enter_context, bound)
    return sockets


def bound_to(sockets: Sequence[socket.socket]) -> list[tuple[str, int]]:
    """Address and port of each."""
    return [sock.getsockname()[:2] for sock in sockets]
