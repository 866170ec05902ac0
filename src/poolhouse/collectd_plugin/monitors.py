"""The targets of ``monitor``: values are pushed to them whether or not anything listens there."""

import contextlib
import socket
from collections.abc import Sequence

from poolhouse.clock import Clock
from poolhouse.collectd_plugin.config import Address
from poolhouse.collectd_plugin.log import Log
from poolhouse.feed.sockets import Endpoint, lookup, udp_socket
from poolhouse.shortage import words_of

#: Seconds after which a name is looked up again.
LOOKUP_PERIOD = 60.0


class Monitors:
    """The targets of one plugin. `send` is thread-safe; the other methods must not run concurrently."""

    def __init__(self, addresses: Sequence[Address], log: Log, clock: Clock) -> None:
        """Look up the names.

        Args:
            addresses: The addresses of the ``monitor`` lines.
            log: The log for names that cannot be found.
            clock: The clock.

        Raises:
            OSError: If no descriptor is free.
        """
        self._addresses = addresses
        self._log = log
        self._clock = clock
        self._endpoints: dict[Address, Endpoint] = {}
        self._failures: dict[Address, str] = {}
        self._sockets = _new_sockets()
        #: The previous sockets, still open because another thread may be sending from one.
        self._retired: dict[int, socket.socket] = {}
        self._looked_up = -LOOKUP_PERIOD
        self.look_up()

    def look_up(self) -> None:
        """Look up unknown targets again, and all targets every `LOOKUP_PERIOD`; waits for the answers."""
        now = self._clock.monotonic()
        is_due = now - self._looked_up >= LOOKUP_PERIOD
        if is_due:
            self._looked_up = now
            self._renew_sockets()
        for address in self._addresses:
            if is_due or address in self._failures:
                self._look_up(address)

    def send(self, datagram: bytes) -> None:
        """Send to every target without waiting; the datagram is lost if nothing listens there."""
        for endpoint in list(self._endpoints.values()):
            with contextlib.suppress(OSError):
                self._sockets[endpoint.family].sendto(datagram, endpoint.address)

    def close(self) -> None:
        """Stop sending."""
        self._endpoints.clear()
        for sock in (*self._sockets.values(), *self._retired.values()):
            sock.close()

    def _renew_sockets(self) -> None:
        """Open new sockets for sending: a load balancer keeps sending an old socket's flow to the same server."""
        try:
            new = _new_sockets()
        except (OSError, MemoryError):
            return  # No descriptor is free: keep using the present sockets.
        for sock in self._retired.values():
            sock.close()
        self._retired, self._sockets = self._sockets, new

    def _look_up(self, address: Address) -> None:
        try:
            endpoints = lookup(address.host, address.port)
        except (
            OSError,
            UnicodeError,
            MemoryError,
        ) as error:  # An unknown host, or a name with an impossible label.
            reason = words_of(error) if isinstance(error, MemoryError) else str(error)
            if self._failures.get(address) != reason:
                self._failures[address] = reason
                self._log.error(f"monitor: {address} cannot be found: {reason}; it will keep retrying")
        else:
            self._failures.pop(address, None)
            # Prefer IPv4: the console of sqlalchemy-collectd listens on IPv4 only, ours on both.
            endpoints.sort(key=lambda endpoint: endpoint.family != socket.AF_INET)
            self._endpoints[address] = endpoints[0]


def _new_sockets() -> dict[int, socket.socket]:
    return {family: udp_socket(family) for family in (socket.AF_INET, socket.AF_INET6)}
