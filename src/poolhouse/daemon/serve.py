"""connmond at work: its sockets, its signals, and the configuration, which is read again on SIGHUP."""

import asyncio
import gc
import os
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from logging import ERROR, INFO, WARNING

from poolhouse.addresses import format_address, is_loopback
from poolhouse.configuration.service import BUILT_IN
from poolhouse.daemon.announcement import announcement, summary
from poolhouse.daemon.cluster_part import ClusterPart
from poolhouse.daemon.consoles import ConsoleFace
from poolhouse.daemon.csv_part import CsvPart
from poolhouse.daemon.log import Log
from poolhouse.daemon.notify import tell_ready, tell_reloading, tell_stopping
from poolhouse.daemon.part import Part
from poolhouse.daemon.ports import bound_to, open_ports, open_tcp_ports
from poolhouse.daemon.reports import ReportListener
from poolhouse.daemon.server import Daemon
from poolhouse.daemon.settings import Settings
from poolhouse.daemon.tcp import Desk, TcpListener
from poolhouse.errors import SettingError
from poolhouse.feed.product import product
from poolhouse.fleet.limits import FleetLimits
from poolhouse.report.tls import client_context, server_context
from poolhouse.wire.session import Role, Welcome

#: Seconds after a hangup in which a terminal that is going away has gone.
HANGUP_GRACE = 1.0


async def serve(settings: Settings, read: Callable[[], Settings]) -> None:
    """Receive and show until SIGTERM or SIGINT.

    Args:
        settings: What holds at the start.
        read: Reads the settings again, for SIGHUP.

    Raises:
        SettingError: If a port, a certificate or a log file cannot be had; nothing has been served then.
    """
    _collect_garbage_seldom()
    end = asyncio.Event()

    def finish() -> None:
        tell_stopping()
        end.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, finish)
    with ExitStack() as stack:
        reports = open_ports(settings.reports, "--reports", stack)
        consoles = open_ports(settings.consoles, "--consoles", stack)
        clients = open_tcp_ports(settings.bind, "--bind", stack)
        listening_at = tuple(format_address(*one) for one in bound_to(reports))
        face = ConsoleFace(consoles, listening_at, settings.allow)
        log = Log()
        changeable = _Changeable(settings, clients, face, log)
        log.begin(settings)
        _mind_hangups(end, lambda: changeable.reload(read))
        parts: list[Part] = [ReportListener(reports, log), face, changeable.listener, changeable.csv]
        limits = FleetLimits(bytes=settings.memory)
        if changeable.cluster is not None:
            # The first, so that no report is missed by the others.
            parts.insert(0, changeable.cluster)
            limits = limits.for_cluster()
        daemon = Daemon(parts, limits)
        changeable.warn(None)
        log.announce(
            announcement(
                bound_to(reports),
                bound_to(consoles),
                settings.allow,
                bound_to(clients),
                changeable.name,
                None if settings.configuration is BUILT_IN else settings.configuration.source,
            )
        )
        tell_ready(changeable.name)
        await daemon.run(end)
        log.end(summary(daemon.health(), face.refused))


def missing_login(settings: Settings, bound: Sequence[tuple[str, int]]) -> str | None:
    """The sentence that warns of clients from anywhere; ``None`` if there is no reason to.

    Args:
        settings: The settings.
        bound: Where the node listens over TCP.
    """
    places = [format_address(*one) for one in bound if not is_loopback(one[0])]
    if not places or settings.service.login is not None:
        return None
    and_watch = "" if settings.allow else " and watch"
    return (
        f"everybody who reaches TCP {', '.join(places)} may report{and_watch}: set use_auth in the configuration, "
        "or --bind to an address that only your programs reach"
    )


def context_of(settings: Settings) -> ssl.SSLContext | None:
    """The node's TLS context; ``None`` without TLS.

    Raises:
        SettingError: If its certificate cannot be used.
    """
    certificate = settings.service.certificate
    return None if certificate is None else server_context(certificate)


class _Changeable:
    """The parts that a new configuration changes while the daemon runs."""

    def __init__(self, settings: Settings, clients: list[socket.socket], face: ConsoleFace, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._bound = bound_to(clients)
        self._context = context_of(settings)
        me = Welcome(product("connmond"), settings.service.name, settings.node.name)
        desks: dict[Role, Desk] = {"console": face.desk}
        self.cluster = _cluster(settings, log)
        if self.cluster is not None:
            desks["node"] = self.cluster.desk
        self.listener = TcpListener(clients, me, settings.service.login, self._context, log, desks)
        self.csv = CsvPart(settings.service.csv, log)

    @property
    def name(self) -> str:
        """The service and the node in words."""
        return f"service {self._settings.service.name}, node {self._settings.node.name}"

    def reload(self, read: Callable[[], Settings]) -> None:
        """`read_again`, of which the service manager is told."""
        tell_reloading()
        self.read_again(read)
        tell_ready(self.name)

    def read_again(self, read: Callable[[], Settings]) -> None:
        """Read the configuration and apply it; the counters stay."""
        try:
            new = read()
            if (certificate := new.service.certificate) is not None and self._context is not None:
                server_context(certificate)
                self._context.load_cert_chain(certificate.certfile, certificate.keyfile)
        except SettingError as error:
            self._log(ERROR, f"{error}; connmond keeps running as it did")
            return
        if new.configuration is BUILT_IN:
            self._log(INFO, "SIGHUP: there is no configuration file to read again; connmond keeps running")
            return
        old, self._settings = self._settings, new
        self.listener.set_login(new.service.login)
        self.csv.set_dump(new.service.csv)
        if self.cluster is not None:
            self.cluster.login = new.service.login
        self._log.change(new, old)
        self._log(INFO, f"{new.configuration.source} was read again")
        self.warn(old)
        has_tls, had_tls = new.service.certificate is not None, self._context is not None
        if (new.bind, new.node, has_tls) != (old.bind, old.node, had_tls):
            self._log(WARNING, "where the node listens, and whether with TLS, changes at the next start only")
        if new.service.nodes != old.service.nodes:
            self._log(WARNING, "the nodes of the service change at the next start only")

    def warn(self, before: Settings | None) -> None:
        """Log what is accepted and may not be meant; that a login is missing once, unless one was there before."""
        for warning in self._settings.configuration.warnings:
            self._log(WARNING, warning)
        had_none = before is not None and before.service.login is None
        if (sentence := missing_login(self._settings, self._bound)) is not None and not had_none:
            self._log(WARNING, sentence)


def _cluster(settings: Settings, log: Log) -> ClusterPart | None:
    """The part for the other nodes; ``None`` where there are none, or no TCP."""
    service = settings.service
    if len(service.nodes) == 1 or not settings.bind:
        return None
    context = None if service.certificate is None else client_context(service.certificate)
    return ClusterPart(service, settings.node, product("connmond"), context, log)


def _collect_garbage_seldom() -> None:
    """A large fleet is many objects that live long: looking through them for garbage is a part of the work.

    10,000 processes: 37 µs a datagram with Python's thresholds, 33 with these, 30 without any collection.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _mind_hangups(end: asyncio.Event, read_again: Callable[[], None]) -> None:
    """End when the terminal that connmond was started from goes away; otherwise read the configuration again.

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
