"""connmond's settings: its options, and the configuration of its service. Options take precedence."""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from poolhouse.addresses import format_address, parse_address
from poolhouse.admission.door import Demand, parse_level
from poolhouse.configuration.files import load_configuration
from poolhouse.configuration.otlp import OtlpTarget, metrics_url, otlp_target
from poolhouse.configuration.service import (
    BUILT_IN,
    DEFAULT_SERVICE,
    LOG_FORMATS,
    OFF,
    Configuration,
    CsvDump,
    Node,
    Service,
)
from poolhouse.daemon.logging_sections import check_logging, has_logging
from poolhouse.defaults import CONSOLES_PORT, HTTP_PORT, REPORTS_PORT, SERVICE_PORT
from poolhouse.errors import SettingError
from poolhouse.feed.protocol.subscribers import Network, parse_network
from poolhouse.fleet.limits import FleetLimits

#: Units of ``--memory``, and its bounds in bytes.
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LEAST_MEMORY, MOST_MEMORY = 16 << 20, 1 << 40


class Settings(NamedTuple):
    """Everything that can be set; the defaults for UDP mean this machine only."""

    #: Hosts and UDP ports; a name means all of its addresses.
    reports: tuple[tuple[str, int], ...] = (("localhost", REPORTS_PORT),)
    consoles: tuple[tuple[str, int], ...] = (("localhost", CONSOLES_PORT),)
    #: The networks of consoles over UDP, besides this machine.
    allow: tuple[Network, ...] = ()
    #: The configuration, and the service and node that this is.
    configuration: Configuration = BUILT_IN
    service: Service = BUILT_IN.services[DEFAULT_SERVICE]
    node: Node = BUILT_IN.services[DEFAULT_SERVICE].nodes[0]
    #: Addresses for clients over TCP; empty for none.
    bind: tuple[tuple[str, int], ...] = (("0.0.0.0", SERVICE_PORT),)
    #: One of `LOG_FORMATS`; ``None`` if the configuration's sections define the log.
    log_format: str | None = "text"
    #: Bytes of memory for the fleet.
    memory: int = FleetLimits().bytes
    #: Addresses for HTTP; empty for none.
    http: tuple[tuple[str, int], ...] = (("127.0.0.1", HTTP_PORT),)
    #: Whether HTTP was requested explicitly: then it is an error if it is not possible.
    is_http_asked_for: bool = False
    #: The seals that reports over UDP must have.
    demand: Demand = Demand(authfile_setting="--authfile", level_setting="--securitylevel")
    #: The destination of metrics; ``None`` for none. And what is invalid about it in the environment.
    otlp: OtlpTarget | None = None
    otlp_warnings: tuple[str, ...] = ()


def parse_settings(
    reports: list[str],
    consoles: list[str],
    allow: list[str],
    config: str | None = None,
    service: str = DEFAULT_SERVICE,
    node: str | None = None,
    bind: list[str] | None = None,
    log_format: str | None = None,
    memory: str | None = None,
    http: list[str] | None = None,
    authfile: str | None = None,
    securitylevel: str | None = None,
    strict: bool | None = None,
    otlp: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings from the values that the user typed; an empty list means the default.

    Raises:
        SettingError: If an option or the configuration is wrong; names the option, or the file and the line.
    """
    default = Settings()
    configuration = load_configuration(config)
    its_service = configuration.service(service)
    its_node = its_service.node(node)
    listen: tuple[tuple[str, int], ...] = ((its_node.bind_host, its_node.bind_port),)
    if bind:
        listen = tuple(parse_address(text, SERVICE_PORT, "--bind") for text in bind if bind != [OFF])
    serve_at = its_service.http
    if http:
        serve_at = tuple(parse_address(text, HTTP_PORT, "--http") for text in http if http != [OFF])
    otlp_url = its_service.otlp
    if otlp is not None:
        otlp_url = "" if otlp == OFF else metrics_url(otlp, "--otlp")
    return Settings(
        tuple(parse_address(text, REPORTS_PORT, "--reports") for text in reports) or default.reports,
        tuple(parse_address(text, CONSOLES_PORT, "--consoles") for text in consoles) or default.consoles,
        tuple(parse_network(text, "--allow") for text in allow),
        configuration,
        its_service,
        its_node,
        listen,
        _log_format(log_format, configuration, its_service),
        default.memory if memory is None else parse_memory(memory),
        default.http if serve_at is None else serve_at,
        serve_at is not None,
        _demand(its_service, authfile, securitylevel, strict),
        *otlp_target(otlp_url, environ),
    )


def parse_memory(text: str) -> int:
    """An amount of memory in bytes, from a number and a unit.

    >>> parse_memory("256M"), parse_memory("2GiB")
    (268435456, 2147483648)

    Raises:
        SettingError: If it is invalid or out of bounds.
    """
    found = re.fullmatch(r"(\d{1,15}) *([KMG]?)(?:I?B)?", text.strip().upper(), re.ASCII)
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if not LEAST_MEMORY <= size <= MOST_MEMORY:
        raise SettingError("--memory", f"expected an amount from 16M to 1024G, such as 512M, not {text!r}")
    return size


def _demand(service: Service, authfile: str | None, securitylevel: str | None, strict: bool | None) -> Demand:
    level = securitylevel or service.securitylevel
    return Demand(
        service.authfile if authfile is None else authfile,
        "none" if level is None else parse_level(level, "--securitylevel"),
        service.strict if strict is None else strict,
        "--authfile" if authfile is not None or service.authfile is None else "authfile",
        "--securitylevel" if securitylevel or service.securitylevel is None else "securitylevel",
    )


def _log_format(option: str | None, configuration: Configuration, service: Service) -> str | None:
    if option is None:
        check_logging(configuration)
        return None if has_logging(configuration) else service.log_format or LOG_FORMATS[0]
    if option not in LOG_FORMATS:
        raise SettingError("--log-format", f"expected {' or '.join(LOG_FORMATS)}, not {option!r}")
    return option


def described(settings: Settings) -> str:
    """The effect of these settings, one line each."""
    service, node = settings.service, settings.node

    def places(addresses: tuple[tuple[str, int], ...]) -> str:
        return ", ".join(format_address(*one) for one in addresses) or "nowhere"

    others = [one.name for one in service.nodes if one is not node]
    lines = [
        f"configuration  {settings.configuration.source}",
        f"service        {service.name}, node {node.name}"
        + (f"; other nodes: {', '.join(others)}" if others else ""),
        f"clients reach  {node.address}",
        f"listens        TCP {places(settings.bind)}; reports UDP {places(settings.reports)}; "
        f"consoles UDP {places(settings.consoles)}",
        f"HTTP           {places(settings.http)}",
        f"OTLP           {otlp_words(settings.otlp)}",
        f"reports        over UDP {settings.demand.words}",
        f"login          {'user ' + service.login.user if service.login else 'none'}",
        f"TLS            {service.certificate.certfile if service.certificate else 'none'}",
        f"CSV file       {_csv_words(service.csv)}",
        f"memory         {settings.memory >> 20:,} MiB for the fleet",
        f"log            {settings.log_format or 'as [loggers] and [handlers] say'}",
        *(f"warning        {one}" for one in (*settings.configuration.warnings, *settings.otlp_warnings)),
    ]
    return "\n".join(lines)


def otlp_words(target: OtlpTarget | None) -> str:
    """Where metrics are pushed, and how often."""
    return "nowhere" if target is None else f"{target.url} every {target.interval:g} s"


def _csv_words(dump: CsvDump | None) -> str:
    if dump is None:
        return "none"
    if dump.rotate_bytes is None:
        return f"{dump.path}, never rotated"
    return f"{dump.path}, renamed at {dump.rotate_bytes:,} bytes, {dump.keep} kept"
