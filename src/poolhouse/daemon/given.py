"""Sockets opened by systemd and passed to connmond: ``sd_listen_fds(3)``.

The name of each socket (``FileDescriptorName=``) says what it is for. A passed socket replaces the option of that
name; all others are opened as usual. So ports below 1024 need no capability, and the kernel keeps what arrives
while connmond restarts.
"""

import os
import socket
import sys
from collections.abc import MutableMapping
from contextlib import ExitStack

from poolhouse.errors import SettingError
from poolhouse.feed.sockets import widen

#: The first passed descriptor.
FIRST = 3
#: The names that sockets may have, with their types.
KINDS = {
    "reports": socket.SOCK_DGRAM,
    "consoles": socket.SOCK_DGRAM,
    "clients": socket.SOCK_STREAM,
    "http": socket.SOCK_STREAM,
}
_SETTING = "LISTEN_FDS"


def take_given(stack: ExitStack, environ: MutableMapping[str, str] = os.environ) -> dict[str, list[socket.socket]]:
    """The sockets that were passed, by name; empty if none. Removes them from the environment for other code.

    Raises:
        SettingError: If a name or a socket is not one that connmond listens on.
    """
    told = {name: environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if told["LISTEN_PID"] != str(os.getpid()) or not told["LISTEN_FDS"].isdigit():
        return {}
    names = told["LISTEN_FDNAMES"].split(":")
    given: dict[str, list[socket.socket]] = {}
    for place in range(int(told["LISTEN_FDS"][:4])):
        name = names[place] if place < len(names) else ""
        given.setdefault(name, []).append(stack.enter_context(_taken(FIRST + place, name)))
    return given


def _taken(descriptor: int, name: str) -> socket.socket:
    if name not in KINDS:
        raise SettingError(_SETTING, f"expected FileDescriptorName={', '.join(KINDS)}, not {name!r}")
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise SettingError(
            _SETTING, f"{name}: descriptor {descriptor} is not a socket: {error.strerror}"
        ) from None
    is_internet = sock.family in (socket.AF_INET, socket.AF_INET6)
    if not is_internet or sock.type != KINDS[name] or sock.getsockname()[1] == 0 or not _listens(sock):
        sock.close()
        word = "a bound UDP socket" if KINDS[name] == socket.SOCK_DGRAM else "a TCP socket that listens"
        raise SettingError(_SETTING, f"{name}: expected {word}")
    sock.setblocking(False)
    if sock.type == socket.SOCK_DGRAM:
        widen(sock)
    return sock


def _listens(sock: socket.socket) -> bool:
    if sock.type == socket.SOCK_DGRAM or sys.platform != "linux":
        return True
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
