"""The sockets that connmond listens on."""

import errno
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from poolhouse.addresses import EVERYWHERE, UNSPECIFIED, format_address
from poolhouse.errors import SettingError
from poolhouse.feed.protocol.datagrams import YIELD
from poolhouse.feed.sockets import LOOPBACK, bind_all, connected, lookup

#: Seconds for a console to leave a port that is needed here.
YIELD_TIME = 1.0

#: Connections that may wait to be accepted: all clients of a node that died may connect at once.
BACKLOG = 1024


def open_ports(addresses: Sequence[tuple[str, int]], option: str, stack: ExitStack) -> list[socket.socket]:
    """A socket for each address of each host; `stack` closes them.

    If a connmon on this machine has taken a port because there was no server, it is asked to give it back.

    Raises:
        SettingError: If one cannot be bound; names the option, the address and the reason.
    """
    sockets: list[socket.socket] = []
    for host, port in addresses:
        try:
            bound = _bind_or_ask_back(host, port)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                reason += ", perhaps by another connmond, collectd's plugin, or a connmon that listens"
            raise SettingError(option, f"cannot listen on UDP {format_address(host, port)}: {reason}") from error
        sockets += map(stack.enter_context, bound)
    return sockets


def _bind_or_ask_back(host: str, port: int) -> list[socket.socket]:
    """`bind_all`, with up to `YIELD_TIME` for a console to leave the port."""
    try:
        return bind_all(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        taken = error
    for name in LOOPBACK:
        for endpoint in lookup(name, port):
            with suppress(OSError), connected(endpoint) as sock:
                sock.send(YIELD)
    end = time.monotonic() + YIELD_TIME
    while time.monotonic() < end:
        time.sleep(YIELD_TIME / 50)
        with suppress(OSError):
            return bind_all(host, port)
    raise taken


def open_tcp_ports(addresses: Sequence[tuple[str, int]], option: str, stack: ExitStack) -> list[socket.socket]:
    """A listening socket for each address of each host; `stack` closes them.

    Raises:
        SettingError: If one cannot be bound; names the option, the address and the reason.
    """
    sockets: list[socket.socket] = []
    for host, port in addresses:
        try:
            for sock in _bound_tcp(host, port, stack):
                sock.listen(BACKLOG)
                sockets.append(sock)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                reason += f", perhaps by another connmond; another port is named by {option}"
            raise SettingError(option, f"cannot listen on TCP {format_address(host, port)}: {reason}") from error
    return sockets


def taken(udp: Sequence[tuple[str, int]], tcp: Sequence[tuple[str, int]]) -> list[str]:
    """The sentences about addresses that are not available at present; all ports are released again.

    A console that listens because there is no server leaves its port when one starts; this does not ask it to.
    """
    found: list[str] = []
    for way, addresses in (("UDP", udp), ("TCP", tcp)):
        for host, port in addresses:
            try:
                with ExitStack() as stack:
                    if way == "TCP":
                        _bound_tcp(host, port, stack)
                    else:
                        for sock in bind_all(host, port):
                            stack.enter_context(sock)
            except OSError as error:
                words = f"{way} {format_address(host, port)} cannot be listened at: {error.strerror or error}"
                if error.errno == errno.EADDRINUSE:
                    words += ", perhaps by a connmond that runs already"
                found.append(words)
    return found


def _bound_tcp(host: str, port: int, stack: ExitStack) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    for family, address in _tcp_addresses(host, port):
        sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sockets.append(sock)
    return sockets


def _tcp_addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Every address of a host, each once, except for address families that this machine lacks."""
    hosts = UNSPECIFIED if host == EVERYWHERE else (host,)
    found = [one for each in hosts for one in socket.getaddrinfo(each, port, type=socket.SOCK_STREAM)]
    addresses = list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))
    return [one for one in addresses if len(addresses) == 1 or _has(one[0])]


def _has(family: int) -> bool:
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def bound_to(sockets: Sequence[socket.socket]) -> list[tuple[str, int]]:
    """The address and port of each socket."""
    return [sock.getsockname()[:2] for sock in sockets]
