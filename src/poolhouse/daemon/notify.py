"""Messages to a service manager: connmond is ready, is reading its configuration again, or is ending.

The protocol is ``sd_notify(3)``: a datagram with one field per line, to the socket named by ``NOTIFY_SOCKET``.
Without that variable nothing is sent.
"""

import os
import socket
import time

from poolhouse.clean import clean


def tell_ready(name: str) -> None:
    """Report that the ports are open and served; ``systemctl status`` shows `name`."""
    _tell("READY=1", f"STATUS={clean(name)}")


def tell_reloading() -> None:
    """Report that the configuration is being read again; `tell_ready` follows."""
    _tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def tell_stopping() -> None:
    """Report that the daemon is ending."""
    _tell("STOPPING=1")


def _tell(*fields: str) -> None:
    """Send fields to the manager. Never waits, never raises: a manager that does not listen changes nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    if address[0] == "@":  # A name without a file, in Linux's abstract namespace.
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(fields).encode("utf-8", "replace"), address)
    except (OSError, ValueError):
        return
