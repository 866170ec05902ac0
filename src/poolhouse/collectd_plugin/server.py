"""The server plugin: receives reports, and hands the sums of programs and hosts to collectd.

Several threads meet here: collectd's, which reads once an interval, the listeners', which receives, and the
consoles'. A lock admits one of them at a time to the fleet, for a step, and then the next.
"""

import os
import socket
from collections import deque
from functools import partial

from poolhouse.addresses import format_address
from poolhouse.admission.door import SECRET_BYTES, Door, open_door
from poolhouse.admission.sources import Sources
from poolhouse.clock import Clock
from poolhouse.collectd_plugin.api import Collectd
from poolhouse.collectd_plugin.config import Address, Config, ServerSettings, read_server
from poolhouse.collectd_plugin.fair_lock import FairLock
from poolhouse.collectd_plugin.legacy import warn_of_legacy
from poolhouse.collectd_plugin.listeners import Listeners
from poolhouse.collectd_plugin.log import Log
from poolhouse.collectd_plugin.messages import describe
from poolhouse.defaults import GONE_INTERVALS, REPORTS_PORT
from poolhouse.errors import SettingError
from poolhouse.export.collectd import HOST_INSTANCE, PLUGIN_NAME, holder_lists, value_lists
from poolhouse.feed.fleet_source import FleetSource
from poolhouse.feed.protocol.subscribers import Address as SenderAddress
from poolhouse.feed.return_path import Datagram, waiting_datagrams
from poolhouse.fleet.diagnosis import ENDED
from poolhouse.fleet.fleet import MENDED, Fleet
from poolhouse.fleet.holders import TOP_LINES
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.names import plugin_instance
from poolhouse.fleet.snapshot import Event, Health, Snapshot
from poolhouse.shortage import is_shortage, shortage_in, words_of
from poolhouse.wire.names import utf8_name
from poolhouse.wire.parts import MESSAGE_BYTES
from poolhouse.wire.values import OKAY, WARNING, ValueList

#: The module that collectd.conf imports, whose ``<Module>`` block is the plugin's.
NAME = "sqlalchemy_collectd.server.plugin"
#: The address to listen on if its block has none.
DEFAULT_LISTEN = (Address("localhost", REPORTS_PORT),)
#: Marks values as this plugin's own, for the connmon plugin in the same collectd. It never leaves this collectd.
OWN = "poolhouse:own"
#: How many rows are copied while the fleet is locked: a millisecond at most.
ROWS_AT_ONCE = 200
#: The most notifications that wait for collectd's next read.
MOST_NOTIFICATIONS = 100

#: The plugin has no setting for networks, so it only tells this machine from all others.
SOURCES = Sources()


class ServerPlugin:
    """Everything behind ``Import "sqlalchemy_collectd.server.plugin"``."""

    def __init__(self, collectd: Collectd, clock: Clock) -> None:
        """Prepare; `start` binds the sockets and starts the thread.

        Args:
            collectd: The module ``collectd``.
            clock: The clock.
        """
        self._collectd = collectd
        self._clock = clock
        self._log = Log(collectd, "poolhouse server", clock)
        self._settings = ServerSettings()
        self._listeners: Listeners | None = None
        self._door: Door | None = None
        # Held during every access to the fleet, but never during anything that may block.
        self._lock = FairLock()
        self._fleet = Fleet(FleetLimits(), clock.monotonic(), os.urandom(SECRET_BYTES))
        #: When collectd last read, in monotonic seconds: collectd does not pass the interval to plugins.
        self._read_at = clock.monotonic()
        self._refused = self._mended = 0
        #: Whether it should begin, and why its last attempt failed.
        self._may_begin, self._failure = False, ""
        #: The verdicts that began, changed or ended since collectd last read.
        self._verdicts: deque[Event] = deque(maxlen=MOST_NOTIFICATIONS)
        self._fleet.note_verdict = self._verdicts.append
        self._fleet.advances_in_steps = True

    def register(self) -> None:
        """Register the callbacks."""
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
        """Begin to receive. Every `read` retries whatever fails now: descriptors, a thread, addresses."""
        warn_of_legacy(self._log)
        self._may_begin = True
        self._begin()

    def _begin(self) -> None:
        try:
            if self._door is None and (door := open_door(self._settings.demand)) is not None:
                clock = self._clock
                door.join(self._fleet, os.urandom(SECRET_BYTES), clock.monotonic(), clock.wall_time())
                self._door = door
            self._may_begin = not self._settings.is_closed
            if self._may_begin:
                self._listeners = Listeners(self._receive, self._log)
        except (OSError, RuntimeError, MemoryError, SettingError) as error:
            self._may_begin = is_shortage(shortage_in(error))
            ending = "; it will keep retrying" if self._may_begin else ""
            reason = f"{error}; reports are not received"
            if not isinstance(error, SettingError):
                reason = f"reports are not received: {words_of(error)}"
            self._fail(f"{reason}{ending}")
            return
        if self._listeners is None:
            self._log.error("reports are not received: a security setting is wrong")
            return
        for warning in self._door.warnings if self._door else ():
            self._log.warning(warning)
        self._listeners.open(self._addresses)

    def _fail(self, sentence: str) -> None:
        """Log why it does not begin, unless the last log line said the same."""
        if sentence != self._failure:
            self._failure = sentence
            self._log.error(sentence)

    def stop(self) -> None:
        """Stop receiving."""
        self._may_begin = False
        if self._listeners is not None:
            self._listeners.close()

    def read(self) -> None:
        """Hand the sums of all programs and hosts to collectd."""
        if self._listeners is None and self._may_begin:
            self._begin()
        try:
            if self._listeners is not None:
                self._read(self._listeners)
        except MemoryError as error:  # collectd calls a plugin that raises less and less often.
            self._log.seldom("read", f"some values were not written this time: {words_of(error)}")

    def _read(self, listeners: Listeners) -> None:
        now, wall_time = self._clock.monotonic(), self._clock.wall_time()
        with self._lock:
            self._fleet.set_linger(GONE_INTERVALS * (now - self._read_at))
        while self.advance():
            pass
        with self._lock:
            rows = self._fleet.host_rows(now)
            health = self._fleet.health(now)
            holders = self._fleet.holders_states() if self._settings.values == "all" else []
        self._read_at = now
        for at in range(0, len(rows), ROWS_AT_ONCE):
            with self._lock:
                states = self._fleet.row_states(rows[at : at + ROWS_AT_ONCE], now)
            for host, program, state in states:
                instance = plugin_instance(program) if program else HOST_INSTANCE
                for values in value_lists(host, instance, state.row(), wall_time, self._settings.values):
                    self._dispatch(values)
        for state_of_lines in holders:
            for lines in state_of_lines.steps(TOP_LINES, with_use=False):
                for holder in lines or ():
                    for values in holder_lists(holder, wall_time):
                        self._dispatch(values)
        while self._verdicts:
            self._notify(self._verdicts.popleft())
        self._tell_refused(health)
        if self._fleet.mended > self._mended:
            self._mended = self._fleet.mended
            self._log.seldom("mended", MENDED)
        listeners.open(self._addresses)

    def advance(self) -> bool:
        """`Fleet.advance`; takes the fleet's lock for a step."""
        with self._lock:
            return self._fleet.advance(self._clock.monotonic())

    def snapshot(self, program: str | None = None) -> Snapshot:
        """The fleet now, with the processes of `program` if given; takes the fleet's lock."""
        with self._lock:
            return self._fleet.snapshot(self._clock.monotonic(), self._clock.wall_time(), program)

    @property
    def source(self) -> FleetSource:
        """The fleet as a source of snapshots for consoles."""
        return FleetSource(self._fleet, self._clock, self._lock)

    @property
    def reports(self) -> tuple[str, ...]:
        """The addresses on which it receives reports, as ``host:port``."""
        return () if self._listeners is None else self._listeners.bound

    @property
    def _addresses(self) -> tuple[Address, ...]:
        return self._settings.listen or DEFAULT_LISTEN

    def _receive(self, sock: socket.socket) -> None:
        batch = list(waiting_datagrams(sock))
        now, wall_time = self._clock.monotonic(), self._clock.wall_time()
        if self._door is not None:
            self._receive_sealed(self._door, batch, now, wall_time)
            return
        with self._lock:
            refusals = [
                self._fleet.receive(one.content, now, wall_time, source=SOURCES.of(one.sender[0])) for one in batch
            ]
        if self._log.is_debug:
            for (content, sender, _), refusal in zip(batch, refusals, strict=True):
                self._note(sender, content, refusal)

    def _receive_sealed(self, door: Door, batch: list[Datagram], now: float, wall_time: float) -> None:
        """Open sealed datagrams and receive those that pass; only the listeners' thread uses the door."""
        with self._lock:
            questions = [self._ask(door, one, now, wall_time) for one in batch]
        for one, question in zip(batch, questions, strict=True):
            if question is not None:
                one.via.send(question, one.sender)
        for sentence in door.look(now):
            self._log.warning(sentence)

    def _ask(self, door: Door, one: Datagram, now: float, wall_time: float) -> bytes | None:
        note = partial(self._note, one.sender) if self._log.is_debug else None
        return door.receive(
            self._fleet, one.content, one.sender[0], now, wall_time, note, SOURCES.of(one.sender[0])
        )

    def _note(self, sender: SenderAddress, datagram: bytes, refusal: str | None) -> None:
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
        except Exception as error:  # If collectd refuses one value list, the others must still get through.
            self._log.seldom(f"dispatch {told.identifier.type}", f"collectd refused {told.identifier}: {error}")

    def _notify(self, event: Event) -> None:
        """Notify collectd that a verdict began, changed or ended, unless ``values`` is "earlier"."""
        if self._settings.values != "all":
            return
        try:
            told = self._collectd.Notification()
            told.host, told.plugin, told.plugin_instance = event.host, PLUGIN_NAME, plugin_instance(event.program)
            told.type = "count"
            told.message = utf8_name(event.text, MESSAGE_BYTES).decode()
            told.severity = OKAY if event.kind == ENDED else WARNING
            told.time = event.wall_time
            told.dispatch()
        except Exception as error:  # If collectd refuses a notification, the values must still get through.
            self._log.seldom("notify", f"collectd refused a notification: {error}")

    def _tell_refused(self, health: Health) -> None:
        """Log at most one line a minute about datagrams that were refused."""
        if health.refused > self._refused:
            self._refused = health.refused
            over = "".join(f"; over the limit of {limit}: {count}" for limit, count in health.over_limit)
            reasons = ", ".join(f"{reason} {count}" for reason, count in health.refusals)
            by_reason = f" ({reasons})" if reasons else ""
            line = f"{health.refused} of {health.received} datagrams refused so far{by_reason}{over}"
            self._log.seldom("refused", line)
