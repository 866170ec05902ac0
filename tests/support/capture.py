"""A packet capture of a loopback interface: every packet, put together to what each side of a connection sent."""

import socket
import struct
import threading
from collections import defaultdict
from contextlib import AbstractContextManager
from typing import NamedTuple

#: Constants of Linux's ``if_ether.h``, ``if_packet.h`` and ``socket.h`` that `socket` lacks.
_ALL_PROTOCOLS, _STATISTICS, _SOL_PACKET, _RCVBUFFORCE = 3, 6, 263, 33
#: Numbers of IANA's registry of protocols, and the length of an IPv6 header without extensions.
_TCP, _UDP, _IPV6_HEADER = 6, 17, 40
_LAST = b"the capture ends here"


class Way(NamedTuple):
    """From one socket to another."""

    protocol: int
    sender: int
    receiver: int
    #: Both addresses, as they stand in the packets.
    addresses: bytes


class Capture(AbstractContextManager["Capture"]):
    """Captures from entering to leaving. Needs root, and a network namespace in which nobody else sends."""

    def __init__(self) -> None:
        self._sent: dict[Way, bytearray] = defaultdict(bytearray)
        self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PROTOCOLS))
        self._packets.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 64 << 20)
        self._packets.bind(("lo", 0))
        self._end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.sendto(_LAST, ("127.0.0.1", 9))
        self._thread.join(30)
        _, dropped = struct.unpack("II", self._packets.getsockopt(_SOL_PACKET, _STATISTICS, 8))
        self._packets.close()
        self._end.close()
        assert not self._thread.is_alive()
        assert dropped == 0

    def sent(self) -> dict[Way, bytes]:
        """What was sent on each way, in order and without headers."""
        return {way: bytes(content) for way, content in self._sent.items()}

    def _read(self) -> None:
        while True:
            packet, (_, _, kind, *_) = self._packets.recvfrom(1 << 17)
            if kind == socket.PACKET_OUTGOING:  # Loopback shows each packet twice.
                continue
            found = _payload(packet)
            if found is None:
                continue
            way, content = found
            if content == _LAST:
                return
            self._sent[way] += content


def _payload(packet: bytes) -> tuple[Way, bytes] | None:
    """What a packet carries; ``None`` if that is neither TCP nor UDP."""
    if packet[0] >> 4 == 4:
        at, protocol, addresses = (packet[0] & 15) * 4, packet[9], packet[12:20]
    else:
        at, protocol, addresses = _IPV6_HEADER, packet[6], packet[8:40]
    if protocol not in (_TCP, _UDP):
        return None
    sender, receiver = struct.unpack_from("!HH", packet, at)
    header = (packet[at + 12] >> 4) * 4 if protocol == _TCP else 8
    return Way(protocol, sender, receiver, addresses), packet[at + header :]
