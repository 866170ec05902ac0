"""Messages to a service manager: connmond is ready, reads its configuration again, or ends.

The protocol is ``sd_notify(3)``: a datagram with a field a line, to the socket that ``NOTIFY_SOCKET`` names.
Without that variable nothing is sent.
"""

import os
import socket
import time

from poolhouse.clean import clean


def tell_ready(name: str) -> None:
    """The ports are open, and what comes is taken; `name` is shown by ``systemctl status``."""
    _tell("READY=1", f"STATUS={clean(name)}")


def tell_reloading() -> None:
    """The configuration is being read again; `tell_ready` follows."""
    _tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def tell_stopping() -> None:
    """The end has begun."""
    _tell("STOPPING=1")


def _tell(*fields: str) -> None:
    """Never waits, never raises: a manager that does not listen ends nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    if address[0] == "@":  # A name without a file, in Linux's abstract space.
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(fields).encode("utf-8", "replace"), address)
    except (OSError, ValueError):
        return
