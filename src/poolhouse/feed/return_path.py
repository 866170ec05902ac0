"""Answering a datagram from the address it was sent to.

A console's socket is connected and takes nothing from elsewhere, but a socket bound to every address of a machine
with several would answer from whichever the route prefers. The kernel says at which address a datagram arrived,
and sends the answer from the same one.

Source: ``ip(7)`` IP_PKTINFO, ``ipv6(7)`` IPV6_PKTINFO.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from poolhouse.feed.protocol.subscribers import Address

#: The longest datagram that is read completely; ours and collectd's have at most 1,452 bytes.
DATAGRAM_BYTES = 4096
#: The most datagrams that are read at a time.
BATCH = 64

#: The form that ``sendmsg`` takes.
Ancillary = tuple[tuple[int, int, bytes], ...]

# From Linux's headers: Python 3.11's socket module does not have them.
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO = 49
_IPV6_PKTINFO = 50
#: Interface, local address, the address in the header.
_IPV4_NOTE = struct.Struct("=i4s4s")
#: Local address, interface.
_IPV6_NOTE = struct.Struct("=16sI")
#: Room for the note of a datagram's destination.
ANCILLARY_BYTES = socket.CMSG_SPACE(_IPV6_NOTE.size)


class Via(NamedTuple):
    """The way back to a sender."""

    socket: socket.socket
    source: Ancillary

    def send(self, datagram: bytes, address: Address) -> None:
        """Send without waiting; the datagram is lost if the kernel has no room for it or no route."""
        with contextlib.suppress(OSError):
            self.socket.sendmsg([datagram], self.source, 0, address)


class Datagram(NamedTuple):
    """A datagram, its sender, and the way back."""

    content: bytes
    sender: Address
    via: Via


def note_destinations(sock: socket.socket) -> None:
    """Have the kernel report the destination address of each datagram."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def waiting_datagrams(sock: socket.socket) -> Iterator[Datagram]:
    """The datagrams waiting in a non-blocking socket, at most `BATCH`."""
    for _ in range(BATCH):
        try:
            content, ancillary, _, sender = sock.recvmsg(DATAGRAM_BYTES, ANCILLARY_BYTES)
        except OSError:  # Nothing is waiting, or the kernel reports that an answer reached nobody.
            return
        yield Datagram(content, sender, via_of(sock, ancillary))


def via_of(sock: socket.socket, ancillary: Sequence[tuple[int, int, bytes]]) -> Via:
    """The way back for a datagram that `socket.socket.recvmsg` returned with this note."""
    return Via(sock, _source(ancillary))


def _source(ancillary: Sequence[tuple[int, int, bytes]]) -> Ancillary:
    for level, kind, note in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            _, source, _ = _IPV4_NOTE.unpack(note)
            return ((level, kind, _IPV4_NOTE.pack(0, source, bytes(4))),)
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
            source, _ = _IPV6_NOTE.unpack(note)
            return ((level, kind, _IPV6_NOTE.pack(source, 0)),)
    return ()
