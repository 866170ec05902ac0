"""connmond's first and last words."""

import shlex
import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import urlencode

from poolhouse.addresses import format_address
from poolhouse.configuration.files import DEFAULT_PATH
from poolhouse.daemon.tcp import Why
from poolhouse.defaults import CONSOLES_PORT, REPORTS_PORT, SERVICE_PORT
from poolhouse.feed.product import product
from poolhouse.feed.protocol.subscribers import Network
from poolhouse.fleet.snapshot import Health
from poolhouse.wire.seal import Reason

Bound = tuple[str, int]


def announcement(
    reports: Sequence[Bound],
    consoles: Sequence[Bound],
    allow: Sequence[Network],
    service: Sequence[Bound] = (),
    name: str = "",
    node: str = "",
    config: str | None = None,
    http: Sequence[str] = (),
    otlp: str = "",
) -> str:
    """Where connmond listens, and how a program and a console reach it.

    Args:
        reports: Addresses for reports over UDP.
        consoles: Addresses for consoles over UDP.
        allow: The networks of these consoles, besides this machine.
        service: Addresses for clients and consoles over TCP.
        name: The service's name.
        node: This node's name.
        config: The path of the configuration; ``None`` without one.
        http: The URLs of its page.
        otlp: Where metrics are pushed, and how often; empty if they are not.
    """
    program = program_words(reports[0]) if config is None or not service else client_words(name, config)
    served = ", ".join(["this machine", *map(str, allow)])
    return "\n".join(
        (
            product("connmond"),
            f"  reports   UDP {_list(reports)}",
            f"  consoles  UDP {_list(consoles)}  (serves {served})",
            *((f"  clients   TCP {_list(service)}  (service {name}, node {node})",) if service else ()),
            *((f"  http      {', '.join(http)}",) if http else ()),
            *((f"  otlp      {otlp}",) if otlp else ()),
            f"A program reports here with  {program}  in its SQLAlchemy URL.",
            f"Watch with  {service_words(service[0], config) if service else console_words(consoles[0])}",
        )
    )


def program_words(reports: Bound) -> str:
    """The parameter for a program's database URL.

    >>> program_words(("127.0.0.1", 25827)), program_words(("::1", 9))
    ('?plugin=collectd', '?plugin=collectd&collectd_host=%3A%3A1&collectd_port=9')
    """
    host, port = _reachable(reports[0]), reports[1]
    settings = {"plugin": "collectd"}
    if host != "127.0.0.1":
        settings["collectd_host"] = host
    if port != REPORTS_PORT:
        settings["collectd_port"] = str(port)
    return "?" + urlencode(settings)


def client_words(service: str, config: str) -> str:
    """The parameters with which a program reports to a service over TCP.

    >>> client_words("default", "/etc/connmon.cfg"), client_words("nova", "my.cfg")
    ('?plugin=connmon&connmon_service=default', '?plugin=connmon&connmon_service=nova&connmon_config=my.cfg')
    """
    settings = {"plugin": "connmon", "connmon_service": service}
    if config != DEFAULT_PATH:
        settings["connmon_config"] = config
    return "?" + urlencode(settings, safe="/")


def console_words(consoles: Bound) -> str:
    """The command that shows the fleet.

    >>> console_words(("127.0.0.1", 25828)), console_words(("::1", 9))
    ('connmon', 'connmon --host ::1 --port 9')
    """
    host, port = _reachable(consoles[0]), consoles[1]
    words = ["connmon"]
    if host != "127.0.0.1":
        words += ["--host", host]
    if port != CONSOLES_PORT:
        words += ["--port", str(port)]
    return " ".join(words)


def service_words(service: Bound, config: str | None = None) -> str:
    """The command that shows the fleet over TCP.

    >>> service_words(("0.0.0.0", 5800)), service_words(("::1", 5900)), service_words(("::1", 5900), "my.cfg")
    ('connmon', 'connmon -H [::1]:5900', 'connmon -c my.cfg')
    """
    if config is not None:
        return "connmon" if config == DEFAULT_PATH else f"connmon -c {shlex.quote(config)}"
    host, port = service
    is_here = ip_address(host.partition("%")[0]).is_unspecified or host == "127.0.0.1"
    if is_here and port == SERVICE_PORT:
        return "connmon"
    return f"connmon -H {format_address('localhost' if is_here else host, port)}"


def summary(
    health: Health,
    refused_consoles: int,
    closed_connections: Mapping[Why, int],
    refused_seals: Mapping[Reason, int] | None = None,
) -> str:
    """The daemon's counters at its end.

    Args:
        health: The fleet's health.
        refused_consoles: Refused datagrams of consoles.
        closed_connections: Closed TCP connections, by reason.
        refused_seals: Reports that were refused, wholly or in part, for their seals.
    """
    refused = f"{health.refused:,} refused"
    if refused_seals:
        refused += f" ({', '.join(f'{count:,}: {reason.value}' for reason, count in refused_seals.items())})"
    closed = ", ".join(f"{count:,}: {why.value}" for why, count in closed_connections.items())
    limits = ", ".join(f"{name} {count:,}" for name, count in health.over_limit)
    if limits:
        refused += f" (over a limit: {limits})"
    return (
        f"connmond ends after {health.uptime:,.0f} s: {health.received:,} datagrams received, {refused}, "
        f"{health.lost:,} of {health.expected:,} datagrams lost; {refused_consoles:,} refused from consoles"
        + (f", {sum(closed_connections.values()):,} connections closed ({closed})" if closed else "")
        + (f"; {health.dropped:,} dropped by the kernel" if health.dropped else "")
        + (f"; {health.unwritten:,} writes of the CSV file failed" if health.unwritten else "")
    )


def _list(bound: Sequence[Bound]) -> str:
    return ", ".join(format_address(*one) for one in bound)


def _reachable(host: str) -> str:
    """A host name for an address that means every address of this machine."""
    return socket.gethostname() if ip_address(host.partition("%")[0]).is_unspecified else host
