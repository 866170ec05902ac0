"""The console's end of the feed: a thread that keeps asking, or listening, and passes on the snapshots."""

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

from poolhouse.clock import Clock, SystemClock
from poolhouse.feed.link import Link
from poolhouse.feed.source import Source
from poolhouse.feed.udp import Mode, UdpSource
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.report.protection import Protection

#: Seconds between two snapshots made from value lists.
TICK = 1.0
#: Seconds that `FeedClient.close` waits for the thread, which may be in a name lookup.
CLOSE_TIMEOUT = 1.0


class FeedClient:
    """Snapshots from a source, through two callbacks that are called by a thread of its own.

    Call `start` once, then `ask` and `retry` as needed, then `close`. Any thread may call them.
    """

    def __init__(
        self,
        source: Source,
        *,
        on_snapshot: Callable[[Snapshot], None],
        on_link: Callable[[Link], None],
        clock: Clock | None = None,
    ) -> None:
        """Prepare; nothing is sent or bound before `start`.

        Args:
            source: The source, used by this client only from now on.
            on_snapshot: Called with each snapshot, about once a second.
            on_link: Called with the link whenever it has changed.
            clock: ``None`` for `SystemClock`.
        """
        self._source = source
        self._on_snapshot = on_snapshot
        self._on_link = on_link
        self._clock = clock or SystemClock()
        self._commands: SimpleQueue[Callable[[Source, float], None] | None] = SimpleQueue()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._thread = Thread(target=self._run, name="poolhouse-feed", daemon=True)
        self._link = source.link()

    @property
    def link(self) -> Link:
        """The latest state of the link."""
        return self._link

    def start(self) -> None:
        """Start the thread.

        Raises:
            SettingError: If the source cannot start: the port to listen on is taken.
        """
        self._source.prepare(self._clock.monotonic())
        self._thread.start()

    def ask(self, program: str | None) -> None:
        """Request the processes of this program in the snapshots too; ``None`` for none."""
        self._command(lambda source, now: source.ask(program, now))

    def retry(self) -> None:
        """Try now, if the server does not answer."""
        self._command(lambda source, now: source.retry(now))

    def close(self) -> None:
        """Say goodbye to the server and end the thread; returns within about a second."""
        self._command(None)
        if self._thread.ident is None:
            self._end()
        elif self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT)

    def _command(self, command: Callable[[Source, float], None] | None) -> None:
        self._commands.put(command)
        with suppress(OSError):  # Full: the thread is awake. Closed: it has ended.
            self._wake_writer.send(b"\0")

    def _run(self) -> None:
        self._link = self._source.link()
        self._on_link(self._link)
        try:
            next_tick = self._clock.monotonic()
            while self._obey():
                now = self._clock.monotonic()
                self._tell(self._source.step(now))
                if now >= next_tick:
                    next_tick = now + TICK
                    self._tell(self._source.summed(now, self._clock.wall_time()))
                self._tell(None)
                self._wait(max(0.0, min(next_tick, self._source.next_due) - now))
        finally:
            self._end()

    def _end(self) -> None:
        self._source.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _obey(self) -> bool:
        """Carry out the requests of other threads. False if one of them is to stop."""
        while True:
            try:
                command = self._commands.get_nowait()
            except Empty:
                return True
            if command is None:
                return False
            command(self._source, self._clock.monotonic())

    def _wait(self, timeout: float) -> None:
        """Wait for datagrams and commands, and read the datagrams."""
        sockets = {sock.fileno(): sock for sock in self._source.sockets}
        poll = select.poll()
        for descriptor in (*sockets, self._wake_reader.fileno()):
            poll.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(timeout * 1000)]
        now = self._clock.monotonic()
        for descriptor in ready:
            if descriptor not in sockets:
                self._wake_reader.recv(4096)
            elif sockets[descriptor] in self._source.sockets:  # Another source that answered may have replaced it.
                self._tell(self._source.receive(sockets[descriptor], now))

    def _tell(self, snapshot: Snapshot | None) -> None:
        link = self._source.link()
        if link != self._link:
            self._link = link
            self._on_link(link)
        if snapshot is not None:
            self._on_snapshot(snapshot)


def udp_feed(
    host: str,
    port: int,
    mode: Mode = "auto",
    *,
    on_snapshot: Callable[[Snapshot], None],
    on_link: Callable[[Link], None],
    clock: Clock | None = None,
    protection: Protection | None = None,
) -> FeedClient:
    """A client of a daemon's UDP port, or of a collectd that pushes here; arguments as for `UdpSource`."""
    source = UdpSource(host, port, mode, protection)
    return FeedClient(source, on_snapshot=on_snapshot, on_link=on_link, clock=clock)
