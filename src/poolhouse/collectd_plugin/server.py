"""The server plugin: reports in, sums of programs and hosts out to collectd.

Two threads meet here: collectd's own, which reads once an interval, and the listeners', which receives. A lock
around the fleet lets in one of them at a time.
"""

import socket
import threading
from collections.abc import Iterator

from poolhouse.addresses import format_address
from poolhouse.clock import Clock
from poolhouse.collectd_plugin.api import Collectd
from poolhouse.collectd_plugin.config import Address, Config, ServerSettings, read_server
from poolhouse.collectd_plugin.legacy import warn_of_legacy
from poolhouse.collectd_plugin.listeners import Listeners
from poolhouse.collectd_plugin.log import Log
from poolhouse.collectd_plugin.messages import describe
from poolhouse.defaults import GONE_INTERVALS, REPORTS_PORT
from poolhouse.export.collectd import HOST_INSTANCE, value_lists
from poolhouse.feed.fleet_source import FleetSource
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.names import plugin_instance
from poolhouse.fleet.snapshot import Health, Snapshot
from poolhouse.wire.values import ValueList

#: The module that collectd.conf imports, whose ``<Module>`` block is the plugin's.
NAME = "sqlalchemy_collectd.server.plugin"
#: Where it listens if its block does not say.
DEFAULT_LISTEN = (Address("localhost", REPORTS_PORT),)
#: Marks values as this plugin's own for the connmon plugin beside it. Stays inside this collectd.
OWN = "poolhouse:own"
#: The longest datagram that is read whole; ours and collectd's have at most 1,452 bytes.
DATAGRAM_BYTES = 4096
#: Datagrams that are read before the fleet is locked for them.
BATCH = 64
#: Rows whose state is taken while the fleet is locked: a millisecond at most.
ROWS_AT_ONCE = 200


class ServerPlugin:
    """Everything behind ``Import "sqlalchemy_collectd.server.plugin"``."""

    def __init__(self, collectd: Collectd, clock: Clock) -> None:
        """Prepare; nothing is bound and no thread runs before `start`.

        Args:
            collectd: The module of that name.
            clock: The clock.
        """
        self._collectd = collectd
        self._clock = clock
        self._log = Log(collectd, "poolhouse server", clock)
        self._settings = ServerSettings()
        self._listeners: Listeners | None = None
        # Held for whatever is done to the fleet; nothing that may wait is done while it is held.
        self._lock = threading.Lock()
        self._fleet = Fleet(FleetLimits(), clock.monotonic())
        #: When collectd last read, by the monotonic clock: the interval is not passed to plugins.
        self._read_at = clock.monotonic()
        self._refused = 0

    def register(self) -> None:
        """Let collectd call."""
        self._collectd.register_config(self.configure, name=NAME)
        self._collectd.register_init(self.start, name=NAME)
        self._collectd.register_read(self.read, name=NAME)
        self._collectd.register_shutdown(self.stop, name=NAME)

    def configure(self, block: Config) -> None:
        """Take a ``<Module>`` block; each mistake in it is one line in the log."""
        self._settings, mistakes = read_server(block, self._settings)
        self._log.level = self._settings.loglevel
        for mistake in mistakes:
            self._log.error(mistake)

    def start(self) -> None:
        """Begin to receive. Every `read` retries addresses that cannot be bound now."""
        warn_of_legacy(self._log)
        self._listeners = Listeners(self._receive, self._log)
        self._listeners.open(self._addresses)

    def stop(self) -> None:
        """Receive no more."""
        if self._listeners is not None:
            self._listeners.close()

    def read(self) -> None:
        """Hand the sums of all programs and hosts to collectd."""
        if self._listeners is None:
            return
        now, wall_time = self._clock.monotonic(), self._clock.wall_time()
        with self._lock:
            self._fleet.set_linger(GONE_INTERVALS * (now - self._read_at))
            rows = self._fleet.host_rows(now)
            health = self._fleet.health(now)
        self._read_at = now
        for at in range(0, len(rows), ROWS_AT_ONCE):
            with self._lock:
                states = self._fleet.row_states(rows[at : at + ROWS_AT_ONCE], now)
            for host, program, state in states:
                instance = plugin_instance(program) if program else HOST_INSTANCE
                for values in value_lists(host, instance, state.row(), wall_time, self._settings.values):
                    self._dispatch(values)
        self._tell_refused(health)
        self._listeners.open(self._addresses)

    def snapshot(self, program: str | None = None) -> Snapshot:
        """The fleet now, with the processes of `program` if it is named; the fleet is locked meanwhile."""
        with self._lock:
            return self._fleet.snapshot(self._clock.monotonic(), self._clock.wall_time(), program)

    @property
    def source(self) -> FleetSource:
        """The fleet for consoles."""
        return FleetSource(self._fleet, self._clock, self._lock)

    @property
    def reports(self) -> tuple[str, ...]:
        """Where it receives reports, as ``host:port``."""
        return () if self._listeners is None else self._listeners.bound

    @property
    def _addresses(self) -> tuple[Address, ...]:
        return self._settings.listen or DEFAULT_LISTEN

    def _receive(self, sock: socket.socket) -> None:
        batch = list(_waiting(sock))
        now, wall_time = self._clock.monotonic(), self._clock.wall_time()
        with self._lock:
            refusals = [self._fleet.receive(datagram, now, wall_time) for datagram, _ in batch]
        if self._log.is_debug:
            for (datagram, sender), refusal in zip(batch, refusals, strict=True):
                said = describe(datagram) if refusal is None else f"refused: {refusal}"
                self._log.debug(f"received from {format_address(*sender[:2])}: {said}")

    def _dispatch(self, told: ValueList) -> None:
        values = self._collectd.Values()
        try:
            values.host, values.plugin, values.plugin_instance, values.type, values.type_instance = told.identifier
            values.time = told.time
            values.values = told.values
            values.meta = {OWN: True}
            values.dispatch()
        except Exception as error:  # One that collectd refuses must not cost the others.
            self._log.seldom(f"dispatch {told.identifier.type}", f"collectd refused {told.identifier}: {error}")

    def _tell_refused(self, health: Health) -> None:
        """One line a minute at most about datagrams that could not be used."""
        if health.refused > self._refused:
            self._refused = health.refused
            over = "".join(f"; over the limit of {limit}: {count}" for limit, count in health.over_limit)
            self._log.seldom("refused", f"{health.refused} of {health.received} datagrams refused so far{over}")


def _waiting(sock: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    """The datagrams waiting in a non-blocking socket, with their senders; at most `BATCH`."""
    for _ in range(BATCH):
        try:
            yield sock.recvfrom(DATAGRAM_BYTES)
        except OSError:  # Nothing waits any more.
            return
