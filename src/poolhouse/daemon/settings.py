"""connmond's settings: its options, and the configuration of its service. An option wins over the file."""

import re
from dataclasses import dataclass

from poolhouse.addresses import format_address, parse_address
from poolhouse.configuration.files import load_configuration
from poolhouse.configuration.service import (
    BUILT_IN,
    DEFAULT_SERVICE,
    LOG_FORMATS,
    Configuration,
    CsvDump,
    Node,
    Service,
)
from poolhouse.daemon.logging_sections import check_logging, has_logging
from poolhouse.defaults import CONSOLES_PORT, REPORTS_PORT, SERVICE_PORT
from poolhouse.errors import SettingError
from poolhouse.feed.protocol.subscribers import Network, parse_network
from poolhouse.fleet.limits import FleetLimits

#: The value of ``--bind`` for no TCP at all.
OFF = "off"

#: Units of ``--memory``, and its bounds in bytes.
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LEAST_MEMORY, MOST_MEMORY = 16 << 20, 1 << 40


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; the defaults for UDP mean this machine only."""

    #: Hosts and UDP ports; a name stands for every address that it has.
    reports: tuple[tuple[str, int], ...] = (("localhost", REPORTS_PORT),)
    consoles: tuple[tuple[str, int], ...] = (("localhost", CONSOLES_PORT),)
    #: Where consoles may be over UDP, besides this machine.
    allow: tuple[Network, ...] = ()
    #: The configuration, and which service and node of it this is.
    configuration: Configuration = BUILT_IN
    service: Service = BUILT_IN.services[DEFAULT_SERVICE]
    node: Node = BUILT_IN.services[DEFAULT_SERVICE].nodes[0]
    #: Where clients connect over TCP; empty for nowhere.
    bind: tuple[tuple[str, int], ...] = (("0.0.0.0", SERVICE_PORT),)
    #: One of `LOG_FORMATS`; ``None`` if the log is as the configuration's sections for it say.
    log_format: str | None = "text"
    #: Bytes of memory for the fleet.
    memory: int = FleetLimits().bytes


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
) -> Settings:
    """Settings as they are typed; an empty list means the default.

    Raises:
        SettingError: If one of them or the configuration is wrong; it names the option, or the file and the line.
    """
    default = Settings()
    configuration = load_configuration(config)
    its_service = configuration.service(service)
    its_node = its_service.node(node)
    listen: tuple[tuple[str, int], ...] = ((its_node.bind_host, its_node.bind_port),)
    if bind:
        listen = tuple(parse_address(text, SERVICE_PORT, "--bind") for text in bind if bind != [OFF])
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
    )


def parse_memory(text: str) -> int:
    """An amount of memory in bytes, from a number and a unit.

    >>> parse_memory("256M"), parse_memory("2GiB")
    (268435456, 2147483648)

    Raises:
        SettingError: If it is none, or beyond the bounds.
    """
    found = re.fullmatch(r"(\d{1,15}) *([KMG]?)(?:I?B)?", text.strip().upper(), re.ASCII)
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if not LEAST_MEMORY <= size <= MOST_MEMORY:
        raise SettingError("--memory", f"expected an amount from 16M to 1024G, such as 512M, not {text!r}")
    return size


def _log_format(option: str | None, configuration: Configuration, service: Service) -> str | None:
    if option is None:
        check_logging(configuration)
        return None if has_logging(configuration) else service.log_format or LOG_FORMATS[0]
    if option not in LOG_FORMATS:
        raise SettingError("--log-format", f"expected {' or '.join(LOG_FORMATS)}, not {option!r}")
    return option


def described(settings: Settings) -> str:
    """The effect of these settings, a line for each."""
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
        f"login          {'user ' + service.login.user if service.login else 'none'}",
        f"TLS            {service.certificate.certfile if service.certificate else 'none'}",
        f"CSV file       {_csv_words(service.csv)}",
        f"memory         {settings.memory >> 20:,} MiB for the fleet",
        f"log            {settings.log_format or 'as [loggers] and [handlers] say'}",
        *(f"warning        {warning}" for warning in settings.configuration.warnings),
    ]
    return "\n".join(lines)


def _csv_words(dump: CsvDump | None) -> str:
    if dump is None:
        return "none"
    if dump.rotate_bytes is None:
        return f"{dump.path}, never rotated"
    return f"{dump.path}, renamed at {dump.rotate_bytes:,} bytes, {dump.keep} kept"
