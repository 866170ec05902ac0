"""Parses the text of ``connmon.cfg`` into a `Configuration`; every mistake is one sentence with its line."""

import re

from poolhouse.addresses import EVERYWHERE, as_ip, is_ipv6, parse_address
from poolhouse.conceal import conceal
from poolhouse.configuration.ini import Ini, Line, Section, parse_ini, shown
from poolhouse.configuration.otlp import metrics_url
from poolhouse.configuration.service import (
    CSV_COLUMNS,
    CSV_KEEP,
    LOG_FORMATS,
    OFF,
    SECURITY_LEVELS,
    Certificate,
    Configuration,
    CsvDump,
    LoggingSection,
    Login,
    Node,
    Service,
)
from poolhouse.defaults import HTTP_PORT, UNNAMED_SERVICE_PORT
from poolhouse.errors import SettingError

_PREFIX = "connmon_service"
#: Every setting of a service's section.
_OPTIONS = (
    "name",
    "nodes",
    "csv_dump",
    "csv_token",
    "csv_columns",
    "csv_rotate_bytes",
    "csv_keep",
    "use_auth",
    "auth_key",
    "auth_secret",
    "ssl_keyfile",
    "ssl_certfile",
    "log_format",
    "http",
    "otlp",
    "authfile",
    "securitylevel",
    "strict",
    "cluster_servers",
)
#: The sections of `logging.config.fileConfig`.
_LOGGING = re.compile(r"loggers|handlers|formatters|(logger|handler|formatter)_.+")
#: The smallest size for rotation, in bytes: a smaller file would be renamed every few seconds.
LEAST_ROTATE_BYTES = 4096
#: The largest numbers that a file may have.
MOST_ROTATE_BYTES, MOST_KEPT = 1 << 50, 1000
#: An IPv6 address whose last group looks like a port.
_PERHAPS_A_PORT = re.compile(r"(?P<host>.+):(?P<port>\d{4})", re.ASCII)
_YES = ("true", "yes", "1", "on")
_NO = ("false", "no", "0", "off")


def parse_configuration(text: str, source: str) -> Configuration:
    """The configuration that a file's text describes.

    Args:
        text: The text.
        source: The file's path.

    Raises:
        SettingError: If there is a mistake; it names the file, the line, and what was expected there.
    """
    ini = parse_ini(text, source)
    services: dict[str, Service] = {}
    logging: dict[str, LoggingSection] = {}
    warnings: list[str] = []
    for section in ini.sections.values():
        if section.name.startswith(_PREFIX):
            service = _service(ini, section, warnings)
            if service.name in services:
                warnings.append(
                    f"{ini.where(section.line)}: a second service {service.name!r}; this one replaces the first"
                )
            services[service.name] = service
        elif _LOGGING.fullmatch(section.name):
            logging[section.name] = _logging(ini, section)
        else:
            warnings.append(f"{ini.where(section.line)}: [{section.name}] is not read; services are [{_PREFIX}_…]")
    if not services:
        raise SettingError(source, f"expected a section [{_PREFIX}_default] with name and nodes")
    return Configuration(source, services, logging, tuple(map(conceal, warnings)))


def _service(ini: Ini, section: Section, warnings: list[str]) -> Service:
    name = ini.value(section, "name")
    if name is None:
        raise SettingError(ini.where(section.line), f"[{section.name}] has no name; expected name: default")
    for option in section.options.values():
        if option.name not in _OPTIONS:
            from difflib import get_close_matches  # Imported here: most configurations never need it.

            near = get_close_matches(option.name, _OPTIONS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            warnings.append(f"{ini.where(option.line)}: {option.name} is no setting of a service{hint}")
    return Service(
        name,
        _nodes(ini, section, warnings),
        _login(ini, section, warnings),
        _certificate(ini, section),
        _csv(ini, section, warnings),
        _log_format(ini, section),
        _http(ini, section),
        ini.value(section, "authfile"),
        _level(ini, section),
        ini.value(section, "strict") is None or _is_yes(ini, section, "strict"),
        _otlp(ini, section),
    )


def _logging(ini: Ini, section: Section) -> LoggingSection:
    """A section as Python 2's ``fileConfig`` reads it: ``%`` in formats and dates is left to the formatter."""
    options = ini.options(section)
    is_formatter = section.name.startswith("formatter_")
    return LoggingSection(
        section.line,
        {name: option.raw if is_formatter else ini.text(section, option) for name, option in options.items()},
        {name: option.line for name, option in options.items()},
    )


def _log_format(ini: Ini, section: Section) -> str | None:
    value = ini.value(section, "log_format")
    if value is None or value in LOG_FORMATS:
        return value
    line = ini.options(section)["log_format"].line
    raise SettingError(ini.where(line), f"log_format: expected {' or '.join(LOG_FORMATS)}, not {value!r}")


def _http(ini: Ini, section: Section) -> tuple[tuple[str, int], ...] | None:
    value = ini.value(section, "http")
    if value is None:
        return None
    where = ini.where(ini.options(section)["http"].line)
    return () if value == OFF else (_address(value, HTTP_PORT, f"{where}: http"),)


def _otlp(ini: Ini, section: Section) -> str | None:
    value = ini.value(section, "otlp")
    if value is None:
        return None
    where = ini.where(ini.options(section)["otlp"].line)
    return "" if value == OFF else metrics_url(value, f"{where}: otlp")


def _level(ini: Ini, section: Section) -> str | None:
    value = ini.value(section, "securitylevel")
    if value is None or value.lower() in SECURITY_LEVELS:
        return value
    line = ini.options(section)["securitylevel"].line
    raise SettingError(ini.where(line), f"securitylevel: expected none, sign or encrypt, not {value!r}")


# -- Nodes ------------------------------------------------------------------------------------------------------


def _nodes(ini: Ini, section: Section, warnings: list[str]) -> tuple[Node, ...]:
    option = ini.options(section).get("nodes")
    lines = [] if option is None else [line for line in option.lines if line.text and line.text[0] != "#"]
    if ini.value(section, "nodes") is None or not lines:
        at = section.line if option is None else option.line
        raise SettingError(ini.where(at), f"[{section.name}] has no nodes; expected node1 hostname=host:port")
    nodes: dict[str, Node] = {}
    for line in lines:
        node = _node(ini, line, warnings)
        if node.name in nodes:
            raise SettingError(ini.where(line.number), f"a second node {node.name!r}; expected another name")
        nodes[node.name] = node
    return tuple(nodes.values())


def _node(ini: Ini, line: Line, warnings: list[str]) -> Node:
    """The node of one line: ``node1 hostname=host:port bind=address:port``, blanks around ``=`` allowed."""
    where = ini.where(line.number)
    name, *words = "=".join(part.strip() for part in line.text.split("=")).split()
    settings: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if "=" in name or not equals or not key or not value:
            raise SettingError(
                where,
                f"expected a name, then hostname=host:port and bind=address:port, not {shown(line.text, word)}",
            )
        if key in settings:
            raise SettingError(where, f"{key} stands twice for node {name!r}")
        settings[key] = value
        if key not in ("hostname", "bind"):
            warnings.append(f"{where}: {key} is not read; a node has hostname and bind")
    if "=" in name or "hostname" not in settings:
        raise SettingError(where, f"expected a name, then hostname=host:port, not {shown(line.text)}")
    host, port = _address(settings["hostname"], UNNAMED_SERVICE_PORT, where)
    if (match := _PERHAPS_A_PORT.fullmatch(settings["hostname"])) and is_ipv6(match["host"]):
        warnings.append(
            f"{where}: {host} is read as an address alone, with port {port}; "
            f"if {match['port']} is the port, write [{match['host']}]:{match['port']}"
        )
    # Listen on every address of the family of `host`; a name may resolve to either family.
    everywhere = "::" if is_ipv6(host) else EVERYWHERE if as_ip(host) is None else "0.0.0.0"
    bind_host, bind_port = _address(settings.get("bind", everywhere), port, where)
    return Node(name, host, port, bind_host, bind_port)


def _address(text: str, port: int, where: str) -> tuple[str, int]:
    host, port = parse_address(text, port, where)
    if port == 0:
        raise SettingError(where, f"{text!r}: expected a port from 1 to 65535")
    return host, port


# -- What a service may have --------------------------------------------------------------------------------------


def _login(ini: Ini, section: Section, warnings: list[str]) -> Login | None:
    user, password = ini.value(section, "auth_key"), ini.value(section, "auth_secret")
    if not _is_yes(ini, section, "use_auth"):
        if password is not None and ini.value(section, "use_auth") is None:
            line = ini.options(section)["auth_secret"].line
            warnings.append(f"{ini.where(line)}: auth_secret has no effect without use_auth: yes")
        return None
    if user is None or password is None:
        line = ini.options(section)["use_auth"].line
        missing = "auth_key" if user is None else "auth_secret"
        raise SettingError(ini.where(line), f"use_auth is on, so {missing} is expected too")
    return Login(user, password)


def _certificate(ini: Ini, section: Section) -> Certificate | None:
    certfile, keyfile = ini.value(section, "ssl_certfile"), ini.value(section, "ssl_keyfile")
    if certfile is None:
        if keyfile is not None:
            line = ini.options(section)["ssl_keyfile"].line
            raise SettingError(ini.where(line), "ssl_keyfile is set, so ssl_certfile is expected too")
        return None
    return Certificate(certfile, keyfile)


def _csv(ini: Ini, section: Section, warnings: list[str]) -> CsvDump | None:
    path = ini.value(section, "csv_dump")
    rotate_bytes = _number(ini, section, "csv_rotate_bytes", LEAST_ROTATE_BYTES, MOST_ROTATE_BYTES)
    keep = _number(ini, section, "csv_keep", 1, MOST_KEPT)
    if keep is not None and rotate_bytes is None:
        line = ini.options(section)["csv_keep"].line
        warnings.append(f"{ini.where(line)}: csv_keep has no effect without csv_rotate_bytes")
    columns = ini.value(section, "csv_columns")
    names = CSV_COLUMNS if columns is None else tuple(re.split(r"[\s,]+", columns.strip(", \n\t")))
    for name in names:
        if name not in CSV_COLUMNS:
            line = ini.options(section)["csv_columns"].line
            raise SettingError(
                ini.where(line), f"no column is called {name!r}; there are {', '.join(CSV_COLUMNS)}"
            )
    if path is None:
        return None
    token = ini.value(section, "csv_token") or "connmon"
    return CsvDump(path, token, names, rotate_bytes, CSV_KEEP if keep is None else keep)


def _number(ini: Ini, section: Section, name: str, least: int, most: int) -> int | None:
    value = ini.value(section, name)
    if value is None:
        return None
    if value.isascii() and value.isdigit() and len(value) <= len(str(most)) and least <= int(value) <= most:
        return int(value)
    line = ini.options(section)[name].line
    raise SettingError(
        ini.where(line), f"{name}: expected a whole number from {least:,} to {most:,}, not {value!r}"
    )


def _is_yes(ini: Ini, section: Section, name: str) -> bool:
    value = ini.value(section, name)
    if value is None or value.lower() in _NO:
        return False
    if value.lower() in _YES:
        return True
    line = ini.options(section)[name].line
    raise SettingError(ini.where(line), f"{name}: expected one of {', '.join((*_YES, *_NO))}, not {value!r}")
