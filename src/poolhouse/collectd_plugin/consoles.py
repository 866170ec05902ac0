"""The consoles that subscribe, and their snapshots.

There are two threads: one receives the consoles' datagrams, the other sends our own consoles their snapshots. A
lock admits one thread at a time to the service, including collectd's threads that push values. The steps of work
on a snapshot run without the lock.
"""

import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from poolhouse.addresses import format_address
from poolhouse.admission.door import Door
from poolhouse.clock import Clock, cpu_seconds
from poolhouse.collectd_plugin.config import Address
from poolhouse.collectd_plugin.listeners import Listeners
from poolhouse.collectd_plugin.log import Log
from poolhouse.feed.protocol.service import ConsoleService, Source
from poolhouse.feed.protocol.subscribers import Network, Subscriber, Subscribers
from poolhouse.feed.return_path import Via, waiting_datagrams
from poolhouse.feed.sealed_via import Opener, SealedVia
from poolhouse.shortage import is_shortage, words_of

#: Seconds of work before a pause for other threads, and the seconds of that pause.
SLICE, REST = 0.004, 0.001
#: Why consoles are refused, by the reasons of `Subscribers.refused`.
_WHY = {
    "malformed": "they are malformed",
    "address": "their network is not named by allow",
    "full": "there are too many consoles",
    "cookie": "they do not prove their address",
}


class ConsoleThread:
    """Serves every console that has subscribed; thread-safe."""

    def __init__(
        self,
        networks: Sequence[Network],
        source: Source,
        name: str,
        reports: Callable[[], tuple[str, ...]],
        log: Log,
        clock: Clock,
        door: Door | None = None,
    ) -> None:
        """Start the threads, listening nowhere yet.

        Args:
            networks: The networks where consoles may be, besides this machine.
            source: The source of their snapshots.
            name: The plugin's name for consoles.
            reports: The present addresses for reports, as ``host:port``.
            log: The log.
            clock: The clock.
            door: Opens and seals datagrams; ``None`` if no protection is demanded.

        Raises:
            OSError: If no descriptor is free.
            RuntimeError: If no thread can be started.
        """
        self._opener = Opener()
        self._door = door
        self._guard = None if door is None else door.consoles
        self._log = log
        self._clock = clock
        # Held during every access to the service, but never during a send or a step of work.
        self._lock = threading.Lock()
        self._subscribers = Subscribers(os.urandom(32), networks)
        self._service = ConsoleService(source, name, reports, self._subscribers, clock.monotonic())
        self._refused: Counter[str] = Counter()
        self._is_closing = False
        self._wake = threading.Event()
        self._listeners = Listeners(self._receive, log)
        try:
            self._thread = threading.Thread(target=self._run, name="poolhouse consoles", daemon=True)
            self._thread.start()
        except BaseException:
            self._listeners.close()
            raise

    def open(self, addresses: Sequence[Address]) -> None:
        """Listen on every one of `addresses` that is not bound yet."""
        self._listeners.open(addresses)

    def close(self) -> None:
        """Stop answering."""
        self._is_closing = True
        self._wake.set()
        self._thread.join()
        self._listeners.close()

    def push(self, datagram: bytes) -> None:
        """Send a value list to every console of sqlalchemy-collectd."""
        for console in self._living():
            if console.nonce is None:
                _send(console, datagram)

    def _living(self) -> list[Subscriber]:
        with self._lock:
            return self._subscribers.consoles(self._clock.monotonic())

    def _receive(self, sock: socket.socket) -> None:
        for datagram in waiting_datagrams(sock):
            opened = self._opener.opened(datagram, self._guard, self._clock.monotonic())
            if opened is None:
                continue
            (content, via), sender = opened, datagram.sender
            with self._lock:
                answer = self._service.receive(content, sender, self._clock.monotonic(), via)
            self._wake.set()
            if answer is not None:
                via.send(answer, sender)
            if self._log.is_debug:
                self._log.debug(f"received from {format_address(*sender[:2])}: {content[:16]!r}")
            self._tell_refused(sender[0])

        for sentence in () if self._door is None else self._door.look(self._clock.monotonic()):
            self._log.warning(sentence)

    def _tell_refused(self, host: str) -> None:
        """Log what was refused since the last call, at most one line a minute for each reason."""
        refused = self._subscribers.refused
        for reason, count in refused.items():
            if count > self._refused[reason]:
                self._refused[reason] = count
                line = f"{count} datagrams from consoles refused so far, the last one from {host}"
                self._log.seldom(f"refused {reason}", f"{line}: {_WHY.get(reason, reason)}")

    def _run(self) -> None:
        while not self._is_closing:
            rest = 1.0
            try:
                rest = self._work()
            except Exception as error:  # If this thread died, consoles would freeze.
                reason = words_of(error) if is_shortage(error) else repr(error)
                bug = "" if is_shortage(error) else "bug: "
                self._log.seldom("snapshot", f"{bug}no snapshot for consoles: {reason}")
            self._wake.wait(rest)
            self._wake.clear()

    def _work(self) -> float:
        """Work for some milliseconds. Returns the seconds to sleep before the next call."""
        begin, cost = self._clock.monotonic(), cpu_seconds()
        with self._lock:
            outgoing = self._service.outgoing(begin)
        for via, address, datagram in outgoing:
            assert isinstance(via, Via | SealedVia)
            via.send(datagram, address)
        cost, before = cpu_seconds(), cost
        with self._lock:
            self._service.sent(cost - before)
        while (now := self._clock.monotonic()) - begin < SLICE:
            with self._lock:
                work = self._service.next(now)
            if work is None:
                break
            work.run()
            cost, before = cpu_seconds(), cost
            with self._lock:
                self._service.done(work, cost - before, self._clock.monotonic())
        with self._lock:
            return max(REST, self._service.next_due(now) - now)


def _send(console: Subscriber, datagram: bytes) -> None:
    assert isinstance(console.via, Via | SealedVia)
    console.via.send(datagram, console.address)
