"""connmond at work: its sockets, its signals, and its configuration, which is read again on SIGHUP."""

import asyncio
import gc
import os
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from logging import ERROR, INFO, WARNING

from poolhouse.addresses import format_address
from poolhouse.admission.door import open_door
from poolhouse.admission.sources import Sources
from poolhouse.configuration.service import BUILT_IN, Certificate
from poolhouse.daemon.announcement import announcement, summary
from poolhouse.daemon.cautions import at_next_start, missing_login, only_here, open_to_all
from poolhouse.daemon.cluster_part import ClusterPart
from poolhouse.daemon.consoles import ConsoleFace
from poolhouse.daemon.csv_part import CsvPart
from poolhouse.daemon.given import take_given
from poolhouse.daemon.http.part import HttpPart, open_http
from poolhouse.daemon.log import Log
from poolhouse.daemon.notify import tell_ready, tell_reloading, tell_stopping
from poolhouse.daemon.otlp_part import OtlpPart
from poolhouse.daemon.otlp_sender import prepare
from poolhouse.daemon.part import Part
from poolhouse.daemon.ports import bound_to, open_ports, open_tcp_ports
from poolhouse.daemon.privileges import become, find_user, prepare_process
from poolhouse.daemon.reports import ReportListener
from poolhouse.daemon.server import Daemon
from poolhouse.daemon.settings import Settings, otlp_words
from poolhouse.daemon.tcp import Desk, TcpListener
from poolhouse.errors import SettingError
from poolhouse.feed.product import product
from poolhouse.fleet.limits import FleetLimits
from poolhouse.report.tls import client_context, server_context
from poolhouse.shortage import words_of
from poolhouse.wire.session import Role, Welcome

#: Seconds after a hangup within which a terminal that is going away is gone.
HANGUP_GRACE = 1.0
#: Thresholds of Python's garbage collector: with 10,000 processes, a datagram costs 37 µs with the default ones,
#: 33 if old objects are examined as rarely as here, 30 without any collection.
GARBAGE_THRESHOLDS = (5_000, 80, 100)


async def serve(settings: Settings, read: Callable[[], Settings], user: str | None = None) -> None:
    """Receive and show until SIGTERM or SIGINT.

    Args:
        settings: The settings at the start.
        read: Reads the settings again, for SIGHUP.
        user: The user to become once the ports are open; ``None`` for no change.

    Raises:
        SettingError: If a port, a certificate, an AuthFile, a log file or a user is not available; nothing has
            been served then.
    """
    _collect_garbage_seldom()
    prepare_process()
    end = asyncio.Event()

    def finish() -> None:
        tell_stopping()
        end.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, finish)
    with ExitStack() as stack:
        owner = None if user is None else find_user(user)
        given = take_given(stack)
        reports = given.get("reports") or open_ports(settings.reports, "--reports", stack)
        consoles = given.get("consoles") or open_ports(settings.consoles, "--consoles", stack)
        clients = given.get("clients") or open_tcp_ports(settings.bind, "--bind", stack)
        listening_at = tuple(format_address(*one) for one in bound_to(reports))
        face = ConsoleFace(consoles, listening_at, settings.allow)
        log = Log()
        listener = ReportListener(reports, log, open_door(settings.demand))
        face.set_door(listener.door)
        changeable = _Changeable(settings, clients, face, log, listener)
        http = changeable.http = open_http(settings, changeable.context, log, stack, given.get("http", ()))
        if owner is not None:
            become(owner)
        log.begin(settings)
        for sentence in () if owner is None else unreadable(settings, owner.pw_name):
            log(WARNING, sentence)
        _mind_hangups(end, lambda: changeable.reload(read))
        parts: list[Part] = [listener, face, changeable.listener, changeable.csv, changeable.otlp]
        if http is not None:
            parts.append(http)
        limits = FleetLimits(bytes=settings.memory)
        if changeable.cluster is not None:
            # First, so that it misses no report received by the others.
            parts.insert(0, changeable.cluster)
            limits = limits.for_cluster()
        daemon = Daemon(parts, limits, sources=Sources(settings.allow))
        changeable.warn(None)
        log.announce(
            announcement(
                bound_to(reports),
                bound_to(consoles),
                settings.allow,
                bound_to(clients),
                settings.service.name,
                settings.node.name,
                None if settings.configuration is BUILT_IN else settings.configuration.source,
                [] if http is None else http.urls,
                "" if settings.otlp is None else otlp_words(settings.otlp),
            )
        )
        tell_ready(changeable.name)
        await daemon.run(end)
        seals = listener.door.refused if listener.door else None
        log.end(summary(daemon.health(), face.refused.total(), changeable.listener.refused_by_reason, seals))


def unreadable(settings: Settings, user: str) -> list[str]:
    """The sentences about files that were read at the start but that the new user cannot read again."""
    service = settings.service
    paths = [
        None if settings.configuration is BUILT_IN else settings.configuration.source,
        settings.demand.authfile,
    ]
    if service.certificate is not None:
        paths += [service.certificate.certfile, service.certificate.keyfile]
    return [
        f"{path} cannot be read by user {user!r}: a change is not seen before the next start"
        for path in paths
        if path is not None and not os.access(path, os.R_OK)
    ]


def context_of(settings: Settings) -> ssl.SSLContext | None:
    """The node's TLS context; ``None`` without TLS.

    Raises:
        SettingError: If its certificate cannot be used.
    """
    certificate = settings.service.certificate
    return None if certificate is None else server_context(certificate)


class _Changeable:
    """The parts that a new configuration changes while the daemon runs.

    Attributes:
        context: The node's TLS context; ``None`` without TLS.
        http: The part that serves HTTP; ``None`` if there is none.
    """

    def __init__(
        self,
        settings: Settings,
        clients: list[socket.socket],
        face: ConsoleFace,
        log: Log,
        reports: ReportListener,
    ) -> None:
        self._started = self._settings = settings
        self._reports = reports
        self._face = face
        self._log = log
        self._bound = bound_to(clients)
        self.context = context_of(settings)
        self.http: HttpPart | None = None
        me = Welcome(product("connmond"), settings.service.name, settings.node.name)
        desks: dict[Role, Desk] = {"console": face.desk}
        self.cluster = _cluster(settings, log)
        if self.cluster is not None:
            desks["node"] = self.cluster.desk
        self.listener = TcpListener(clients, me, settings.service.login, self.context, log, desks)
        self.csv = CsvPart(settings.service.csv, log)
        host = socket.gethostname()
        instance = f"{host}/{settings.service.name}/{settings.node.name}"
        self.otlp = OtlpPart(settings.otlp, instance, host, log)

    @property
    def name(self) -> str:
        """The service and the node, in words."""
        return f"service {self._settings.service.name}, node {self._settings.node.name}"

    def reload(self, read: Callable[[], Settings]) -> None:
        """`read_again`, with messages to the service manager."""
        tell_reloading()
        try:
            self.read_again(read)
        finally:
            tell_ready(self.name)

    def read_again(self, read: Callable[[], Settings]) -> None:
        """Read the configuration and apply it; the counters are kept."""
        try:
            new = read()
            door = self._reports.door if new.demand == self._settings.demand else open_door(new.demand)
            of_otlp = None if new.otlp is None else prepare(new.otlp)
            context, trusted = self._contexts(new.service.certificate)
        except (SettingError, MemoryError) as error:
            self._log(ERROR, f"{words_of(error)}; connmond keeps running as it did")
            return
        if new.configuration is BUILT_IN:
            self._log(INFO, "SIGHUP: there is no configuration file to read again; connmond keeps running")
            return
        old, self._settings = self._settings, new
        if door is not self._reports.door:
            self._reports.set_door(door)
            self._face.set_door(door)
        self.listener.set_login(new.service.login)
        self.csv.set_dump(new.service.csv)
        self.otlp.set_target(new.otlp, of_otlp)
        self.context = context
        self.listener.set_context(context)
        if self.http is not None:
            self.http.set_login(new.service.login)
            self.http.set_context(context)
        if self.cluster is not None:
            self.cluster.login = new.service.login
            self.cluster.context = trusted
        self._log.change(new, old)
        self._log(INFO, f"{new.configuration.source} was read again")
        self.warn(old)
        for sentence in at_next_start(self._started, new, has_tls=self.context is not None):
            self._log(WARNING, sentence)

    def _contexts(self, certificate: Certificate | None) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
        """This node's new server context, and its context for connecting to others; ``None`` without TLS.

        They are new objects: a load that fails half way would leave one in use with the key of another
        certificate.

        Raises:
            SettingError: If the certificate cannot be used.
        """
        if certificate is None:
            return self.context, None if self.cluster is None else self.cluster.context
        shown = server_context(certificate)
        return (None, None) if self.context is None else (shown, client_context(certificate))

    def warn(self, before: Settings | None) -> None:
        """Log settings that are valid but may be unintended; a missing login once, unless there was one before."""
        door, settings = self._reports.door, self._settings
        of_door = door.warnings if door else ()
        for warning in (*settings.configuration.warnings, *settings.otlp_warnings, *of_door):
            self._log(WARNING, warning)
        had_none = before is not None and before.service.login is None
        watched = [] if self.http is None else self.http.bound
        if (sentence := only_here(settings)) is not None and (before is None or before.otlp is None):
            self._log(WARNING, sentence)
        for sentence in (missing_login(settings, self._bound), open_to_all(settings, watched)):
            if sentence is not None and not had_none:
                self._log(WARNING, sentence)


def _cluster(settings: Settings, log: Log) -> ClusterPart | None:
    """The part for the other nodes; ``None`` if there are none, or no TCP."""
    service = settings.service
    if len(service.nodes) == 1 or not settings.bind:
        return None
    context = None if service.certificate is None else client_context(service.certificate)
    return ClusterPart(service, settings.node, product("connmond"), context, log)


def _collect_garbage_seldom() -> None:
    """Collect garbage less often: a large fleet has many long-lived objects, and examining them takes time.

    Young objects are examined in portions of a millisecond.
    """
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _mind_hangups(end: asyncio.Event, read_again: Callable[[], None]) -> None:
    """End when the terminal that started connmond goes away; otherwise read the configuration again.

    Under ``nohup``, where the signal is ignored, it stays ignored.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    loop, had_terminal = asyncio.get_running_loop(), has_terminal()

    def end_without_terminal() -> None:
        if had_terminal and not has_terminal():
            end.set()

    def hang_up() -> None:
        end_without_terminal()
        if not end.is_set():
            read_again()
            loop.call_later(HANGUP_GRACE, end_without_terminal)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
