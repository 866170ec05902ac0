"""UDP sockets by name: every address of a host, IPv6 and IPv4."""

import errno
import socket
import struct
from contextlib import ExitStack
from typing import NamedTuple

from poolhouse.addresses import EVERYWHERE, UNSPECIFIED

#: Bytes that a socket should buffer while its reader is busy.
RECEIVE_BUFFER_BYTES = 8 << 20
#: Gives root that much; other users get at most the system's ``net.core.rmem_max``. From Linux's headers.
SO_RCVBUFFORCE = 33
#: Memory that Linux counts for a full-size datagram (1,346 bytes) on loopback and most network cards, measured by
#: filling a buffer. The kernel doubles the requested size.
FULL_DATAGRAM_COST = 2304
#: Full-size datagrams for which a socket requests room.
WANTED_ROOM = 2 * RECEIVE_BUFFER_BYTES // FULL_DATAGRAM_COST
#: A socket's memory and drops, since Linux 4.12: a list of u32, with the drops at this index. From Linux's
#: headers.
SO_MEMINFO, _DROPS = 55, 8
#: The feed has no datagrams longer than this.
LARGEST_DATAGRAM = 2048
#: Datagrams that are read before anything else is done, so that a flood cannot stop the reader.
READ_AT_ONCE = 256
#: Both, even if the resolver knows only one.
LOOPBACK = ("127.0.0.1", "::1")
_SEVERAL = {"localhost": LOOPBACK, EVERYWHERE: UNSPECIFIED}


class Endpoint(NamedTuple):
    """One address of a name, in the form that `socket.socket.bind` and ``connect`` take."""

    family: socket.AddressFamily
    address: tuple[str, int] | tuple[str, int, int, int]


def lookup(host: str, port: int) -> list[Endpoint]:
    """Every UDP address of a host, each once; blocks during the lookup.

    Raises:
        OSError: If the name is not known (`socket.gaierror`).
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "no host can have that name") from None
    return list(dict.fromkeys(Endpoint(family, address) for family, _, _, _, address in found))  # type: ignore[arg-type]


def udp_socket(family: socket.AddressFamily) -> socket.socket:
    """A socket that never blocks and buffers as much as the kernel allows; IPv6 means IPv6 only."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    widen(sock)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def widen(sock: socket.socket) -> None:
    """Have a socket buffer as much as the kernel allows."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except OSError:  # Not root, or a system without that option.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


def room(sock: socket.socket) -> int:
    """Full-size datagrams that the kernel buffers for a socket while its reader is busy."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // FULL_DATAGRAM_COST


def dropped(sock: socket.socket) -> int | None:
    """Datagrams that the kernel has dropped for lack of room, modulo 2³²; ``None`` if it does not say."""
    try:
        figures = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (_DROPS + 1))
        return int(struct.unpack_from("I", figures, 4 * _DROPS)[0])
    except (OSError, struct.error):
        return None


def connected(endpoint: Endpoint) -> socket.socket:
    """A socket that sends to one address, and receives only from it.

    Raises:
        OSError: If there is no route.
    """
    with ExitStack() as stack:
        sock = stack.enter_context(udp_socket(endpoint.family))
        sock.connect(endpoint.address)
        stack.pop_all()
        return sock


def bound(endpoint: Endpoint) -> socket.socket:
    """A socket that receives at one address.

    Raises:
        OSError: If the address is taken, or not one of this machine's.
    """
    with ExitStack() as stack:
        sock = stack.enter_context(udp_socket(endpoint.family))
        sock.bind(endpoint.address)
        stack.pop_all()
        return sock


def bind_all(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of a host, except address families that this machine lacks.

    Raises:
        OSError: If one is taken, or none can be bound.
    """
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        missing: OSError | None = None
        for endpoint in dict.fromkeys(one for name in _SEVERAL.get(host, (host,)) for one in lookup(name, port)):
            try:
                sockets.append(stack.enter_context(bound(endpoint)))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
        if not sockets and missing is not None:
            raise missing
        stack.pop_all()
        return sockets


def claim_loopback(host: str, port: int) -> list[socket.socket] | None:
    """The loopback sockets of a port if `host` is this machine and the port is free there; else ``None``."""
    try:
        for sock in bind_all(host, port):
            sock.close()
        return bind_all("localhost", port)
    except OSError:
        return None
