"""A console of the earlier kind, written from what it sends and accepts (``earlier_peers.md``, 9 and 10).

It reads datagrams byte by byte on its own, without the codec under test.
"""

import socket
import struct
from typing import Any, NamedTuple, Self

HELO = b"HELO"
STRINGS = {0x0000: "host", 0x0002: "plugin", 0x0003: "plugin_instance", 0x0004: "type", 0x0005: "type_instance"}
NUMBERS = {0x0001: "time", 0x0007: "interval"}
VALUES = 0x0006


class Shown(NamedTuple):
    """One value as the console takes it."""

    name: str
    time: int
    interval: int
    value: float


class HeloPeer:
    """Says ``HELO`` from a connected socket, and takes nothing that the earlier console would not."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        # Connected: the kernel drops whatever does not come from the address that was asked.
        self.socket.connect((host, port))

    def __enter__(self) -> Self:
        self.say_helo()
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say_helo(self) -> None:
        """As the console does at once, and every five seconds."""
        self.socket.send(HELO)

    def receive(self, timeout: float = 20.0) -> Shown | None:
        """The next value; ``None`` if none comes within `timeout` seconds."""
        self.socket.settimeout(timeout)
        try:
            return shown(self.socket.recv(1024))
        except TimeoutError:
            return None

    def receive_until(self, expected: dict[str, float]) -> dict[str, float]:
        """The newest values by name, as soon as they hold all that is expected."""
        newest: dict[str, float] = {}
        while not expected.items() <= newest.items():
            one = self.receive()
            assert one is not None, f"still {newest}, not {expected}"
            newest[one.name] = one.value
        return newest


def shown(datagram: bytes) -> Shown:
    """What the console makes of a datagram; AssertionError where it would stumble."""
    parts: dict[str, Any] = {}
    at = 0
    while at < len(datagram):
        kind, length = struct.unpack_from(">HH", datagram, at)
        payload = datagram[at + 4 : at + length]
        if kind in STRINGS:
            parts[STRINGS[kind]] = payload.removesuffix(b"\0").decode("ascii")
        elif kind in NUMBERS:
            (parts[NUMBERS[kind]],) = struct.unpack(">Q", payload)
        else:
            assert kind == VALUES, f"a part of kind {kind:#06x} is written over the screen"
            count, value_kind = struct.unpack_from(">HB", payload)
            assert count == 1
            (parts["value"],) = struct.unpack({1: "<d", 2: ">q"}[value_kind], payload[3:])
        at += length
    assert len(parts) == 8, f"not all eight parts: {parts}"
    assert parts["plugin"] == "sqlalchemy"
    assert parts["type"] in ("count", "derive")
    name = "{host}/{plugin}-{plugin_instance}/{type}-{type_instance}".format(**parts)
    return Shown(name, parts["time"], parts["interval"], parts["value"])
