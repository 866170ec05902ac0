"""UDP sockets on several addresses, and one thread that reads them all.

Unread datagrams wait in the kernel, in a buffer of fixed size for each socket: a flood loses datagrams, but takes
no memory.
"""

import errno
import selectors
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from poolhouse.addresses import format_address
from poolhouse.collectd_plugin.config import Address
from poolhouse.collectd_plugin.log import Log
from poolhouse.feed.return_path import note_destinations
from poolhouse.feed.sockets import Endpoint, lookup, udp_socket
from poolhouse.shortage import is_shortage, words_of

#: Seconds before the next attempt after `select` has failed.
PAUSE = 1.0
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Listeners:
    """The sockets of one plugin.

    An address that cannot be bound is logged once, in one line, and each `open` retries it.
    """

    def __init__(self, receive: Callable[[socket.socket], None], log: Log) -> None:
        """Start the thread, with no socket yet.

        Args:
            receive: Called in the listeners' thread with a non-blocking socket that has a datagram waiting.
            log: The log for addresses that are bound, or cannot be.

        Raises:
            OSError: If no descriptor is free.
            RuntimeError: If no thread can be started.
        """
        self._receive = receive
        self._log = log
        # Held while sockets are opened or closed, but never while `receive` runs.
        self._lock = threading.Lock()
        self._bound: dict[Endpoint, socket.socket] = {}
        self._opened: set[Address] = set()
        self._failures: dict[Address, str] = {}
        self._is_closed = False
        self._closing = threading.Event()
        with ExitStack() as stack:
            self._selector = selectors.DefaultSelector()
            stack.callback(self._selector.close)
            self._wake, self._woken = map(stack.enter_context, socket.socketpair())
            self._selector.register(self._woken, selectors.EVENT_READ)
            self._thread = threading.Thread(target=self._run, name="poolhouse listeners", daemon=True)
            self._thread.start()
            stack.pop_all()

    @property
    def bound(self) -> tuple[str, ...]:
        """The addresses that are bound, as ``host:port``."""
        with self._lock:
            return tuple(format_address(*endpoint.address[:2]) for endpoint in self._bound)

    def open(self, addresses: Sequence[Address]) -> None:
        """Bind every one of `addresses` that is not bound yet; host names wait for the name server.

        Only one thread at a time may call this.
        """
        for address in addresses:
            if address not in self._opened:
                self._note(address, self._open(address, addresses))

    def close(self) -> None:
        """End the thread and close the sockets: nothing is received after this returns."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._closing.set()
        self._wake.send(b"\0")
        self._thread.join()
        self._selector.close()
        for sock in (*self._bound.values(), self._wake, self._woken):
            sock.close()

    def _open(self, address: Address, addresses: Sequence[Address]) -> str | None:
        """Bind the socket addresses of `address`; returns why one cannot be bound, ``None`` if all are."""
        try:
            endpoints = lookup(address.host, address.port)
        except (OSError, UnicodeError) as error:  # An unknown host, or a name with an impossible label.
            return str(error)
        except MemoryError as error:
            return words_of(error)
        errors: list[OSError] = []
        for endpoint in endpoints:
            try:
                self._bind(endpoint, both=Address("0.0.0.0", address.port) not in addresses)
            except OSError as error:
                errors.append(error)
            except MemoryError as error:
                return words_of(error)
        if len(errors) < len(endpoints):
            # "localhost" is valid on a machine without IPv6, too.
            errors = [error for error in errors if error.errno not in _NO_SUCH_ADDRESS]
        return errors[0].strerror or str(errors[0]) if errors else None

    def _bind(self, endpoint: Endpoint, both: bool) -> None:
        with self._lock:
            if endpoint in self._bound or self._is_closed:
                return
            with ExitStack() as stack:
                sock = stack.enter_context(_bound_socket(endpoint, both))
                # epoll(7) allows this while another thread is waiting.
                self._selector.register(sock, selectors.EVENT_READ)
                stack.pop_all()
            self._bound[endpoint] = sock
        self._log.info(f"listening on UDP {format_address(*endpoint.address[:2])}")

    def _note(self, address: Address, failure: str | None) -> None:
        """Store the result, and log a failure if it is new."""
        if failure is None:
            self._opened.add(address)
        elif self._failures.get(address) != failure:
            self._failures[address] = failure
            self._log.error(f"listen: cannot receive on UDP {address}: {failure}; it will keep retrying")

    def _run(self) -> None:
        while True:
            try:
                sockets = [key.fileobj for key, _ in self._selector.select()]
            except (OSError, MemoryError) as error:
                self._log.seldom("select", f"datagrams have to wait: {words_of(error)}")
                self._closing.wait(PAUSE)
                sockets = []
            if self._is_closed:
                return
            for sock in sockets:
                assert isinstance(sock, socket.socket)
                try:
                    self._receive(sock)
                except Exception as error:  # This thread must survive: no other one reads the sockets.
                    bug = f"bug: a datagram was lost to {error!r}"
                    self._log.seldom(
                        "receive", f"datagrams were lost: {words_of(error)}" if is_shortage(error) else bug
                    )


def _bound_socket(endpoint: Endpoint, both: bool) -> socket.socket:
    """A non-blocking socket that is bound there; on ``::``, it takes IPv4 too if `both` is true."""
    sock = udp_socket(endpoint.family)
    try:
        if both and endpoint.address[0] == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        note_destinations(sock)
        sock.bind(endpoint.address)
    except BaseException:
        sock.close()
        raise
    return sock
