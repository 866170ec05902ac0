"""The sockets that connmond listens on."""

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from poolhouse.addresses import format_address
from poolhouse.errors import SettingError
from poolhouse.feed.sockets import bind_all

#: Connections that wait to be accepted: all clients of a node that died may come at once.
BACKLOG = 1024


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


def open_tcp_ports(addresses: Sequence[tuple[str, int]], option: str, stack: ExitStack) -> list[socket.socket]:
    """A listening socket for each address of each host; `stack` closes them.

    Raises:
        SettingError: If one cannot be bound; it names the option, the address and the reason.
    """
    sockets: list[socket.socket] = []
    for host, port in addresses:
        try:
            for family, address in _tcp_addresses(host, port):
                sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(address)
                sock.listen(BACKLOG)
                sockets.append(sock)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                reason += f", perhaps by another connmond; another port is named by {option}"
            raise SettingError(option, f"cannot listen on TCP {format_address(host, port)}: {reason}") from error
    return sockets


def _tcp_addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Every address of a host, each once, but for those of a family that this machine has not."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))
    return [one for one in addresses if len(addresses) == 1 or _has(one[0])]


def _has(family: int) -> bool:
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def bound_to(sockets: Sequence[socket.socket]) -> list[tuple[str, int]]:
    """Address and port of each."""
    return [sock.getsockname()[:2] for sock in sockets]
