"""The consoles that ask: who they are, and what they are sent.

Two threads of its own: the listeners' takes what consoles say, another sends our own consoles a snapshot a second.
A lock around the subscribers lets in one thread at a time, collectd's own that push values included.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice

from poolhouse.addresses import format_address
from poolhouse.clock import Clock
from poolhouse.collectd_plugin.config import Address
from poolhouse.collectd_plugin.listeners import Listeners
from poolhouse.collectd_plugin.log import Log
from poolhouse.defaults import SNAPSHOT_INTERVAL
from poolhouse.feed.protocol.chunks import datagrams
from poolhouse.feed.protocol.frame import Frame, encode_frame
from poolhouse.feed.protocol.subscribers import Network, Subscriber, Subscribers
from poolhouse.feed.wayback import Via, waiting_datagrams

#: Datagrams that are sent in one go, and the seconds that the console then has to read them.
BURST, PAUSE = 32, 0.005


class Consoles:
    """Every console that has asked; safe for threads."""

    def __init__(
        self, networks: Sequence[Network], frame: Callable[[str | None], Frame], log: Log, clock: Clock
    ) -> None:
        """Start the threads, listening nowhere yet.

        Args:
            networks: Where consoles may be, besides this machine.
            frame: What to send to a console that asked for this program's processes, or for none.
            log: Where to say what happens.
            clock: Where time comes from.
        """
        self._frame = frame
        self._log = log
        self._clock = clock
        # Held for whatever is done to the subscribers; never while something is sent.
        self._lock = threading.Lock()
        self._subscribers = Subscribers(os.urandom(32), networks)
        self._refused = 0
        self._is_closing = threading.Event()
        self._listeners = Listeners(self._receive, log)
        self._thread = threading.Thread(target=self._run, name="poolhouse consoles", daemon=True)
        self._thread.start()

    def open(self, addresses: Sequence[Address]) -> None:
        """Listen at whatever of `addresses` is not listened at yet."""
        self._listeners.open(addresses)

    def close(self) -> None:
        """Answer nobody any more."""
        self._is_closing.set()
        self._thread.join()
        self._listeners.close()

    def push(self, datagram: bytes) -> None:
        """Send a value list to every console of the earlier kind."""
        for console in self._living():
            if console.nonce is None:
                _send(console, datagram)

    def _living(self) -> list[Subscriber]:
        with self._lock:
            return self._subscribers.consoles(self._clock.monotonic())

    def _receive(self, sock: socket.socket) -> None:
        for content, sender, via in waiting_datagrams(sock):
            with self._lock:
                answer = self._subscribers.handle(content, sender, self._clock.monotonic(), via)
            if answer is not None:
                via.send(answer, sender)
            if self._log.is_debug:
                self._log.debug(f"received from {format_address(*sender[:2])}: {content[:16]!r}")
            if self._subscribers.refused > self._refused:
                self._refused = self._subscribers.refused
                self._log.seldom(
                    "refused",
                    f"{self._refused} datagrams from consoles refused so far, the last one from {sender[0]}: "
                    "malformed, or its network is not named by allow, or there are too many consoles",
                )

    def _run(self) -> None:
        numbers = count()
        while not self._is_closing.wait(SNAPSHOT_INTERVAL):
            try:
                self._send_snapshots(next(numbers))
            except Exception as error:  # Without this thread consoles would show a picture that stands still.
                self._log.seldom("snapshot", f"bug: no snapshot for consoles: {error!r}")

    def _send_snapshots(self, number: int) -> None:
        ours = [console for console in self._living() if console.nonce is not None]
        for program in {console.program for console in ours}:
            chunks = encode_frame(self._frame(program))
            for console in ours:
                if console.program == program and console.nonce is not None:
                    self._send_frame(console, datagrams(chunks, console.nonce, number))

    def _send_frame(self, console: Subscriber, frame: Iterator[bytes]) -> None:
        while burst := list(islice(frame, BURST)):
            for datagram in burst:
                _send(console, datagram)
            if len(burst) == BURST:
                self._is_closing.wait(PAUSE)


def _send(console: Subscriber, datagram: bytes) -> None:
    assert isinstance(console.via, Via)
    console.via.send(datagram, console.address)
