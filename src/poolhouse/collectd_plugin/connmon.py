"""The connmon plugin: sends consoles the values of plugin ``sqlalchemy`` that collectd writes.

Consoles of sqlalchemy-collectd, and the targets of ``monitor``, get every value list when collectd writes it,
whichever plugin dispatched it. Our own consoles get snapshots: the fleet of the server plugin in the same
collectd, if it is loaded, together with the values that other collectds forward.
"""

import threading
from collections.abc import Callable, Iterator

from poolhouse.admission.door import open_door
from poolhouse.clock import Clock
from poolhouse.collectd_plugin.api import Collectd, DispatchedValues
from poolhouse.collectd_plugin.combined import combined
from poolhouse.collectd_plugin.config import Address, Config, ConnmonSettings, read_connmon
from poolhouse.collectd_plugin.consoles import ConsoleThread
from poolhouse.collectd_plugin.legacy import warn_of_legacy
from poolhouse.collectd_plugin.log import Log
from poolhouse.collectd_plugin.monitors import Monitors
from poolhouse.collectd_plugin.server import OWN, ServerPlugin
from poolhouse.defaults import CONSOLES_PORT
from poolhouse.errors import SettingError
from poolhouse.export.collectd import PLUGIN_NAME, console_datagram
from poolhouse.feed.product import product
from poolhouse.feed.protocol.frame import Processes
from poolhouse.feed.protocol.service import NOBODY
from poolhouse.feed.protocol.values import PartialFleet
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.shortage import is_shortage, shortage_in, words_of
from poolhouse.wire.values import DERIVE, GAUGE, Identifier, ValueList

#: The module that collectd.conf imports, whose ``<Module>`` block is the plugin's.
NAME = "sqlalchemy_collectd.connmon.plugin"
#: The plugin's name for consoles.
PRODUCT = "collectd connmon plugin"
#: The target of its pushes if its block has neither ``monitor`` nor ``listen``.
DEFAULT_MONITOR = (Address("localhost", CONSOLES_PORT),)


class ConnmonPlugin:
    """Everything behind ``Import "sqlalchemy_collectd.connmon.plugin"``."""

    def __init__(self, collectd: Collectd, server: Callable[[], ServerPlugin | None], clock: Clock) -> None:
        """Prepare; `start` binds the sockets and starts the threads.

        Args:
            collectd: The module ``collectd``.
            server: The server plugin in the same collectd, which may be imported after this one.
            clock: The clock.
        """
        self._collectd = collectd
        self._server = server
        self._clock = clock
        self._log = Log(collectd, "poolhouse connmon", clock)
        self._settings = ConnmonSettings()
        self._consoles: ConsoleThread | None = None
        self._monitors: Monitors | None = None
        self._is_open = True
        #: Whether it should begin, where it then pushes to, and why its last attempt failed.
        self._may_begin, self._failure = False, ""
        self._targets: tuple[Address, ...] = ()
        # Held during every access to the forwarded values: collectd writes in several threads.
        self._lock = threading.Lock()
        self._forwarded = PartialFleet(clock.monotonic())

    def register(self) -> None:
        """Register the callbacks with collectd."""
        self._collectd.register_config(self.configure, name=NAME)
        self._collectd.register_init(self.start, name=NAME)
        self._collectd.register_read(self.read, name=NAME)
        self._collectd.register_write(self.write, name=NAME)
        self._collectd.register_shutdown(self.stop, name=NAME)

    def configure(self, block: Config) -> None:
        """Take a ``<Module>`` block; each mistake in it is one line in the log."""
        self._settings, mistakes = read_connmon(block, self._settings)
        self._log.level = self._settings.loglevel
        for mistake in mistakes:
            self._log.error(mistake)

    def start(self) -> None:
        """Begin to push, and to answer consoles unless a security setting is wrong."""
        if self._server() is None:
            warn_of_legacy(self._log)
        listen, monitor = self._settings.listen, self._settings.monitor
        if not listen and not monitor:
            monitor = DEFAULT_MONITOR
        for address in monitor:
            self._log.info(f"pushing values to UDP {address}")
        self._targets, self._may_begin = monitor, True
        self._begin()

    def _begin(self) -> None:
        """Push and answer; every `read` retries whatever fails now."""
        door = None
        try:
            if self._monitors is None:
                self._monitors = Monitors(self._targets, self._log, self._clock)
            try:
                door = open_door(self._settings.demand)
            except SettingError as error:
                if is_shortage(shortage_in(error)):
                    raise
                self._log.error(f"{error}; no console is answered")
                self._is_open = False
            self._consoles = ConsoleThread(
                self._settings.allow, self, product(PRODUCT), self._reports, self._log, self._clock, door
            )
        except (OSError, RuntimeError, MemoryError, SettingError) as error:
            sentence = f"no console is answered: {words_of(error)}; it will keep retrying"
            if sentence != self._failure:
                self._failure = sentence
                self._log.error(sentence)
            return
        if self._settings.is_closed:
            self._log.error("no console is answered: a security setting is wrong")
            self._is_open = False
        for warning in door.warnings if door else ():
            self._log.warning(warning)
        self._listen()

    def stop(self) -> None:
        """Stop pushing and answering."""
        self._may_begin = False
        if self._consoles is not None:
            self._consoles.close()
        if self._monitors is not None:
            self._monitors.close()

    def read(self) -> None:
        """Retry what failed: threads, addresses and host names. collectd calls this once an interval."""
        if self._consoles is None and self._may_begin:
            self._begin()
        self._listen()
        if self._monitors is not None:
            self._monitors.look_up()

    def write(self, values: DispatchedValues) -> None:
        """Handle a value that collectd writes, from any plugin."""
        if values.plugin != PLUGIN_NAME or self._consoles is None or self._monitors is None:
            return
        told = _value_list(values)
        if not values.meta.get(OWN):
            with self._lock:
                self._forwarded.receive(told, self._clock.monotonic())
        if (datagram := console_datagram(told)) is not None:
            self._monitors.send(datagram)
            self._consoles.push(datagram)
            self._log.debug(f"pushed {str(told.identifier)!r} {told.values!r}")

    def _listen(self) -> None:
        if self._consoles is not None and self._is_open:
            self._consoles.open(self._settings.listen)

    def sums(self) -> Iterator[Snapshot | None]:
        """Make the snapshot for consoles, without processes (`poolhouse.feed.protocol.service.Source`)."""
        with self._lock:
            forwarded = self._forwarded.snapshot(self._clock.monotonic(), self._clock.wall_time())
        server = self._server()
        if server is None:
            yield forwarded
            return
        while server.advance():
            yield None
        for snapshot in server.source.sums():
            yield None if snapshot is None else combined(snapshot, forwarded)

    def processes(self, program: str) -> Processes:
        """The programs that report to this collectd."""
        server = self._server()
        return NOBODY if server is None else server.source.processes(program)

    def values(self) -> None:
        """Return None: `write` pushes value lists when collectd writes them."""

    def _reports(self) -> tuple[str, ...]:
        server = self._server()
        return () if server is None else server.reports


def _value_list(values: DispatchedValues) -> ValueList:
    """Values from collectd as a `ValueList`. Of plugin ``sqlalchemy`` only ``derive`` counts."""
    names = (values.host, values.plugin, values.plugin_instance, values.type, values.type_instance)
    identifier = Identifier(*map(_text, names))
    kind = GAUGE if values.type == "count" else DERIVE
    return ValueList(
        identifier, values.time, values.interval, bytes([kind] * len(values.values)), tuple(values.values)
    )


def _text(name: str | bytes) -> str:
    """A name from collectd, which passes names that are not UTF-8 as bytes."""
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")
