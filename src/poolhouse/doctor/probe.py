"""Send a real report where the application reports to, and look whether it arrived."""

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
from poolhouse.feed.sockets import Endpoint, connected, lookup
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.report.destination import Destination
from poolhouse.wire.report import Report, ReportSums, encode_report

#: The program that the report is of: it is seen beside the application's, and never in its sums.
PROGRAM = "poolhouse-doctor"
#: Seconds between two reports: so short that the row is gone a second after the goodbye, which is five intervals.
INTERVAL = 0.2
#: Seconds to wait for a refusal.
REFUSAL_TIME = 0.5
#: Seconds after which a console port without an answer counts as silent.
SILENCE = 3.0


def probe(destination: Destination, consoles_port: int, timeout: float, clock: Clock) -> Iterator[Finding]:
    """Look the name up, send reports, and ask the aggregator's console port whether they arrived.

    Args:
        destination: Where the application reports to.
        consoles_port: The port of the same host that consoles ask.
        timeout: Seconds to wait for the report to be seen.
        clock: The source of time.
    """
    try:
        found = lookup(destination.host, destination.port)
    except OSError as error:
        yield Finding(Verdict.WRONG, "name", f"{destination.host} cannot be looked up: {error}")
        return
    # The order in which reports try them.
    endpoints = sorted(found, key=lambda endpoint: endpoint.family == socket.AF_INET6)
    addresses = ", ".join(str(endpoint.address[0]) for endpoint in endpoints)
    yield Finding(Verdict.FINE, "name", f"{destination.host} is {addresses}")
    yield from _send(endpoints, destination, consoles_port, timeout, clock)


class _Sender:
    """Reports of a process that has no pools. A context manager, which says goodbye however it is left."""

    def __init__(self, sock: socket.socket, destination: Destination, clock: Clock) -> None:
        self.token = f"{os.getpid()}:{os.urandom(3).hex()}"
        self._sock = sock
        self._destination = destination
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
        """One report.

        Raises:
            OSError: If the address refuses, or cannot be reached.
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
        for datagram in datagrams:
            self._sock.send(datagram)


def _send(
    endpoints: Sequence[Endpoint], destination: Destination, consoles_port: int, timeout: float, clock: Clock
) -> Iterator[Finding]:
    refusals: list[str] = []
    for endpoint in endpoints:
        address = format_address(*endpoint.address[:2])
        try:
            with connected(endpoint) as sock, stopped_by_signals(), _Sender(sock, destination, clock) as sender:
                sender.send()
                _wait_for_refusal(sock)
                found = _confirm(sender, destination, consoles_port, timeout, clock)
            yield found  # After the goodbye: the reader may have gone, which ends the process.
            return
        except ConnectionRefusedError:
            refusals.append(f"{address} refuses: nobody listens there")
        except OSError as error:
            refusals.append(f"{address}: {error.strerror}")
    remedy = "Start connmond there, or collectd with the plugin; or correct collectd_host and collectd_port."
    yield Finding(Verdict.WRONG, "report", f"UDP {'; '.join(refusals)}.\n{remedy}")


def _wait_for_refusal(sock: socket.socket) -> None:
    """Wait for a refusal; return if there is none.

    Raises:
        OSError: If there is one.
    """
    sock.settimeout(REFUSAL_TIME)
    with suppress(TimeoutError):
        sock.recv(1)


def _confirm(
    sender: _Sender, destination: Destination, consoles_port: int, timeout: float, clock: Clock
) -> Finding:
    """Keep reporting until the aggregator shows the process, or it is clear that it will not.

    Raises:
        OSError: If a later report is refused.
    """
    seen = threading.Event()

    def look(snapshot: Snapshot) -> None:
        if _shows(snapshot, sender.token):
            seen.set()

    client = udp_feed(destination.host, consoles_port, "connect", on_snapshot=look, on_link=lambda _: None)
    client.ask(PROGRAM)
    client.start()
    began = clock.monotonic()
    try:
        while not seen.wait(INTERVAL):
            sender.send()
            waited = clock.monotonic() - began
            if waited > timeout or _is_hopeless(client.link, waited):
                break
    finally:
        client.close()
    return _judge(seen.is_set(), client.link, destination)


def _shows(snapshot: Snapshot, token: str) -> bool:
    """Whether our process is shown; value lists only say that the program has a process."""
    if any(process.token == token for process in snapshot.processes):
        return True
    return snapshot.program is None and any(row.name == PROGRAM and row.processes for row in snapshot.programs)


def _is_hopeless(link: Link, waited: float) -> bool:
    return link.phase in ("refused", "unresolved") or (link.heard_at is None and waited > SILENCE)


def _judge(is_seen: bool, link: Link, destination: Destination) -> Finding:
    server = link.server or "the aggregator"
    if is_seen:
        return Finding(Verdict.FINE, "report", f"seen: {server} at {link.address} shows it")
    if link.server is not None:
        text = f"sent to UDP {destination.address}, but {server} at {link.address} does not show it"
        if link.reports is not None:
            text += f".\nIt receives reports on UDP {link.reports}."
        return Finding(Verdict.WRONG, "report", text)
    why = link.error or ("no answer" if link.heard_at is None else "it has not sent the program yet")
    text = (
        f"sent to UDP {destination.address} and not refused, which is all that UDP says.\n"
        f"Whether it arrived is not to be confirmed from here (consoles at {link.address}: {why}).\n"
        f"Where the aggregator runs, connmon shows the program {PROGRAM} while this runs."
    )
    return Finding(Verdict.UNKNOWN, "report", text)
