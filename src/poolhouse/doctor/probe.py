"""Sends real reports to the application's destination, and checks whether they arrive."""

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Self

from poolhouse.addresses import format_address
from poolhouse.clock import Clock
from poolhouse.doctor.finding import Finding, Verdict
from poolhouse.doctor.signals import stopped_by_signals
from poolhouse.feed.client import udp_feed
from poolhouse.feed.link import Link
from poolhouse.feed.protocol.datagrams import DenialReason
from poolhouse.feed.sockets import LARGEST_DATAGRAM, Endpoint, connected, lookup
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.report.destination import Destination
from poolhouse.report.protection import Protection
from poolhouse.report.sealer import Sealer
from poolhouse.verdicts.words import place_of, sentence
from poolhouse.wire.report import Report, ReportSums, encode_report
from poolhouse.wire.seal import Reason

#: The program of the reports: it is shown beside the application's, and is never part of its sums.
PROGRAM = "poolhouse-doctor"
#: Seconds between two reports: so few that the row disappears a second after the goodbye, five intervals later.
INTERVAL = 0.2
#: Seconds to wait for a refusal.
REFUSAL_TIME = 0.5
#: Seconds after which a console port without an answer counts as silent.
SILENCE = 3.0
#: The meaning of each reason for a refusal.
_REASONS = {reason.word: reason.value for reason in Reason}


def probe(destination: Destination, consoles_port: int, timeout: float, clock: Clock) -> Iterator[Finding]:
    """Look up the name, send reports, and ask the aggregator's console port whether they arrived.

    Args:
        destination: The application's destination.
        consoles_port: The port for consoles on the same host.
        timeout: Seconds to wait until the report is visible.
        clock: The source of time.
    """
    try:
        found = lookup(destination.host, destination.port)
    except OSError as error:
        yield Finding(Verdict.WRONG, "name", f"{destination.host} cannot be looked up: {error}")
        return
    # In the order in which reports try them.
    endpoints = sorted(found, key=lambda endpoint: endpoint.family == socket.AF_INET6)
    addresses = ", ".join(str(endpoint.address[0]) for endpoint in endpoints)
    yield Finding(Verdict.FINE, "name", f"{destination.host} is {addresses}")
    yield from _send(endpoints, destination, consoles_port, timeout, clock)


class _Sender:
    """Sends reports of a process without pools. A context manager, which says goodbye however it is left."""

    def __init__(self, sock: socket.socket, destination: Destination, clock: Clock) -> None:
        self.token = f"{os.getpid()}:{os.urandom(3).hex()}"
        self._sock = sock
        self._destination = destination
        protection = destination.protection
        self._seal = None if protection is None else protection.sealer()
        self._clock = clock
        self._began = clock.monotonic()
        self._number = 0
        self._sequence = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.send(goodbye=True)

    def send(self, goodbye: bool = False) -> None:
        """Send one report.

        Raises:
            OSError: If the address refuses it, or is unreachable.
        """
        self._number += 1
        datagrams = encode_report(
            Report(
                host=self._destination.report_host,
                program=PROGRAM,
                token=self.token,
                number=self._number,
                sequence=self._sequence,
                uptime=self._clock.monotonic() - self._began,
                wall_time=self._clock.wall_time(),
                interval=INTERVAL,
                goodbye=goodbye,
                sums=ReportSums(),
                pools=(),
            ),
            self._destination.detail,
        )
        self._sequence += len(datagrams)
        if self._seal is None:
            for datagram in datagrams:
                self._sock.send(datagram)
            return
        self._hear(self._seal)
        for datagram in datagrams:
            self._sock.send(self._seal(datagram))
        self._seal.end_report()

    def wait_for_refusal(self) -> None:
        """Wait for a refusal; return if there is none, or as soon as the aggregator answers.

        Raises:
            OSError: If the report is refused.
        """
        self._sock.settimeout(REFUSAL_TIME)
        with suppress(TimeoutError):
            answer = self._sock.recv(LARGEST_DATAGRAM)
            if self._seal is not None:
                self._seal.hear(answer)
        self._sock.setblocking(False)

    def _hear(self, seal: Sealer) -> None:
        """Read the aggregator's question whether these reports are current, if there is one."""
        with suppress(BlockingIOError):
            seal.hear(self._sock.recv(LARGEST_DATAGRAM))


def _send(
    endpoints: Sequence[Endpoint], destination: Destination, consoles_port: int, timeout: float, clock: Clock
) -> Iterator[Finding]:
    refusals: list[str] = []
    for endpoint in endpoints:
        address = format_address(*endpoint.address[:2])
        try:
            with connected(endpoint) as sock, stopped_by_signals(), _Sender(sock, destination, clock) as sender:
                sender.send()
                sender.wait_for_refusal()
                found = _confirm(sender, destination, consoles_port, timeout, clock)
            yield from found  # After the goodbye: if the reader of the output is gone, the process ends here.
            return
        except ConnectionRefusedError:
            refusals.append(f"{address} refuses: nobody listens there")
        except OSError as error:
            refusals.append(f"{address}: {error.strerror}")
    remedy = "Start connmond there, or collectd with the plugin; or correct collectd_host and collectd_port."
    yield Finding(Verdict.WRONG, "report", f"UDP {'; '.join(refusals)}.\n{remedy}")


def _confirm(
    sender: _Sender, destination: Destination, consoles_port: int, timeout: float, clock: Clock
) -> list[Finding]:
    """Keep reporting until the aggregator shows the process, or it is clear that it will not.

    The aggregator's view of the destination's program is a finding, too.

    Raises:
        OSError: If a later report is refused.
    """
    protection = destination.protection
    watch = _watch(sender, destination, consoles_port, timeout, clock, protection)
    if watch.link.denial is DenialReason.NO_KEYS and protection is not None and protection.security == "sign":
        # Without an AuthFile it accepts signed reports unchecked, and cannot sign its answers.
        watch = _watch(sender, destination, consoles_port, timeout, clock, None)
    findings = [_judge(watch, destination)]
    return findings + [judge_program(snapshot, destination.program_name) for snapshot in watch.shown]


class _Watch:
    """What a console received while reports were sent.

    Attributes:
        link: The state of the connection to the aggregator, at the end.
        shown: The snapshot that shows the process; ``None`` if none does.
    """

    def __init__(self, token: str, link: Link) -> None:
        self.link = link
        self.shown: list[Snapshot] = []
        self.is_seen = threading.Event()
        self._token = token
        self._first: Snapshot | None = None
        self._last: Snapshot | None = None

    def look(self, snapshot: Snapshot) -> None:
        """Take a snapshot."""
        self._first, self._last = self._first or snapshot, snapshot
        if _shows(snapshot, self._token):
            self.shown[:] = [snapshot]
            self.is_seen.set()

    @property
    def refusals(self) -> dict[str, int]:
        """How many datagrams the aggregator has refused meanwhile, from any sender, by reason."""
        if self._first is None or self._last is None:
            return {}
        before = dict(self._first.health.refusals)
        return {
            word: count - before.get(word, 0)
            for word, count in self._last.health.refusals
            if count > before.get(word, 0)
        }


def _watch(
    sender: _Sender,
    destination: Destination,
    consoles_port: int,
    timeout: float,
    clock: Clock,
    protection: Protection | None,
) -> _Watch:
    """Report, and ask as a console, until the answer is clear or the time is up."""
    watch = _Watch(sender.token, Link("connecting", ""))
    client = udp_feed(
        destination.host,
        consoles_port,
        "connect",
        on_snapshot=watch.look,
        on_link=lambda _: None,
        protection=protection,
    )
    client.ask(PROGRAM)
    client.start()
    began = clock.monotonic()
    try:
        while not watch.is_seen.wait(INTERVAL):
            sender.send()
            waited = clock.monotonic() - began
            if waited > timeout or _is_hopeless(client.link, waited):
                break
    finally:
        client.close()
    watch.link = client.link
    return watch


def judge_program(snapshot: Snapshot, program: str) -> Finding:
    """The aggregator's view of a program: whether it reports, and its standing verdicts."""
    if all(row.name != program for row in snapshot.programs):
        return Finding(Verdict.FINE, "program", f"no process of {program} reports at present")
    standing = [verdict for verdict in snapshot.verdicts if verdict.program == program]
    if not standing:
        return Finding(Verdict.FINE, "program", f"{program} reports, and nothing is wrong with its pools")
    is_bad = any(verdict.severity == "alarm" for verdict in standing)
    lines = [f"{one.cause}  {place_of(one)}: {sentence(one)} (poolhouse explain {one.cause})" for one in standing]
    return Finding(Verdict.WRONG if is_bad else Verdict.FINE, "program", "\n".join(lines))


def _shows(snapshot: Snapshot, token: str) -> bool:
    """Whether our process is shown; value lists show only that the program has a process."""
    if any(process.token == token for process in snapshot.processes):
        return True
    return snapshot.program is None and any(row.name == PROGRAM and row.processes for row in snapshot.programs)


def _is_hopeless(link: Link, waited: float) -> bool:
    return link.phase in ("refused", "unresolved") or (link.heard_at is None and waited > SILENCE)


def _judge(watch: _Watch, destination: Destination) -> Finding:
    link = watch.link
    server = link.server or "the aggregator"
    if watch.is_seen.is_set():
        return Finding(Verdict.FINE, "report", f"seen: {server} at {link.address} shows it")
    if link.denial is not None and (told := seal_words(link.denial, destination.protection)) is not None:
        return Finding(Verdict.WRONG, "report", f"sent to UDP {destination.address}.\n{link.address} says: {told}")
    if link.server is not None:
        text = f"sent to UDP {destination.address}, but {server} at {link.address} does not show it"
        if link.reports is not None:
            text += f".\nIt receives reports on UDP {link.reports}."
        for word, count in watch.refusals.items():
            text += f"\nMeanwhile it refused {count} datagrams: {_REASONS.get(word, word)}."
        return Finding(Verdict.WRONG, "report", text)
    why = link.error or ("no answer" if link.heard_at is None else "it has not sent the program yet")
    if link.denial is DenialReason.ADDRESS and destination.protection is not None:
        why += f"; user {destination.protection.username} and the password are right"
    text = (
        f"sent to UDP {destination.address} and not refused, which is all that UDP says.\n"
        f"Whether it arrived is not to be confirmed from here (consoles at {link.address}: {why}).\n"
        f"Where the aggregator runs, connmon shows the program {PROGRAM} while this runs."
    )
    return Finding(Verdict.UNKNOWN, "report", text)


def seal_words(denial: DenialReason, protection: Protection | None) -> str | None:
    """What a denial says about the reports' signature or encryption, in a sentence; ``None`` for nothing."""
    user = "" if protection is None else protection.username
    return {
        DenialReason.CREDENTIALS: f"its AuthFile does not have user {user} with this password, so it refuses the "
        "reports. Correct collectd_username, collectd_password or collectd_password_file, or the AuthFile there.",
        DenialReason.UNSIGNED: "it demands what is signed or encrypted, and these reports are neither. "
        "Set collectd_security to sign or encrypt, collectd_username, and collectd_password_file.",
        DenialReason.UNENCRYPTED: "it demands what is encrypted, and these reports are not. "
        "Set collectd_security to encrypt.",
        DenialReason.NO_KEYS: "it cannot decrypt: it has no AuthFile, or there is no package cryptography.",
    }.get(denial)
