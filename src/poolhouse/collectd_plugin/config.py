"""A ``<Module>`` block of collectd.conf, read into settings.

Pure: takes collectd's configuration objects, returns settings and sentences about mistakes. A mistake affects only
its own line; the rest of the block applies. Directives are recognised in any case, like collectd's own.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar

from poolhouse.addresses import LARGEST_PORT, format_address
from poolhouse.admission.door import Demand, parse_level
from poolhouse.defaults import CONSOLES_PORT, REPORTS_PORT
from poolhouse.errors import SettingError
from poolhouse.feed.protocol.subscribers import Network, parse_network


class Config(Protocol):
    """A node of collectd's configuration: a line, or a block with lines inside."""

    @property
    def key(self) -> str:
        """The line's first word."""
        ...

    @property
    def values(self) -> "tuple[str | float | bool, ...]":
        """The words after it; every number is a float."""
        ...

    @property
    def children(self) -> "tuple[Config, ...]":
        """The lines of a block."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """A host name or IP address, and a UDP port."""

    host: str
    port: int

    def __str__(self) -> str:
        """The usual notation, for example ``[::1]:25827``."""
        return format_address(self.host, self.port)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings of the server plugin's block."""

    #: Where to receive reports.
    listen: tuple[Address, ...] = ()
    loglevel: str = "info"
    #: Which values to dispatch: all, or only sqlalchemy-collectd's thirteen.
    values: Literal["all", "earlier"] = "all"
    #: The seals that reports must have.
    demand: Demand = Demand()
    #: Whether a line about seals has a mistake: nothing is then received, since it might have to be refused.
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class ConnmonSettings:
    """The settings of the connmon plugin's block."""

    #: Where to push values, whether or not anything listens there.
    monitor: tuple[Address, ...] = ()
    #: Where to answer consoles that ask.
    listen: tuple[Address, ...] = ()
    #: Networks whose consoles are answered, in addition to loopback.
    allow: tuple[Network, ...] = ()
    loglevel: str = "info"
    #: The seals that datagrams of consoles must have.
    demand: Demand = Demand()
    #: Whether a line about seals has a mistake: no console is then answered, since it might have to be refused.
    is_closed: bool = False


#: The level for each name, collectd's names and the usual ones, most important first.
LOG_LEVELS = {
    "error": "error",
    "err": "error",
    "critical": "error",
    "fatal": "error",
    "warning": "warning",
    "warn": "warning",
    "notice": "notice",
    "info": "info",
    "debug": "debug",
}

Settings = TypeVar("Settings", ServerSettings, ConnmonSettings)
Directive = Callable[[Settings, Config], Settings]


def read_server(block: Config, before: ServerSettings = ServerSettings()) -> tuple[ServerSettings, list[str]]:
    """The server plugin's settings, and a sentence about every mistake that names its directive.

    Args:
        block: The ``<Module>`` block.
        before: The settings from an earlier block of the same plugin.
    """
    settings, mistakes = _read(block, before, _SERVER)
    if any(_is_of_protection(mistake) for mistake in mistakes):
        settings = replace(settings, is_closed=True)
    return settings, mistakes


def _is_of_protection(mistake: str) -> bool:
    """Whether a mistake is in a security directive, or in a word that may be a misspelt one."""
    return any(
        mistake.lower().startswith(f"{name}:") or f'did you mean "{name}"' in mistake for name in _PROTECTING
    )


def read_connmon(block: Config, before: ConnmonSettings = ConnmonSettings()) -> tuple[ConnmonSettings, list[str]]:
    """The same as `read_server` for the connmon plugin."""
    settings, mistakes = _read(block, before, _CONNMON)
    if any(_is_of_protection(mistake) for mistake in mistakes):
        settings = replace(settings, is_closed=True)
    return settings, mistakes


def _read(
    block: Config, settings: Settings, directives: "dict[str, Directive[Settings]]"
) -> tuple[Settings, list[str]]:
    mistakes = []
    for line in block.children:
        directive = directives.get(line.key.lower())
        if directive is None:
            mistakes.append(
                f'"{line.key}" is not a directive: {_nearest(line.key, directives)}; the line was ignored'
            )
        elif line.children:
            mistakes.append(f"{line.key}: is a line of its own, not a block; the block was ignored")
        else:
            try:
                settings = directive(settings, line)
            except SettingError as error:
                mistakes.append(f"{error}; the line was ignored")
    return settings, mistakes


def _nearest(key: str, directives: "dict[str, Directive[Settings]]") -> str:
    near = difflib.get_close_matches(key.lower(), directives, n=1)
    return f'did you mean "{near[0]}"?' if near else f"there are {', '.join(directives)}"


def _listen(settings: Settings, line: Config) -> Settings:
    default = REPORTS_PORT if isinstance(settings, ServerSettings) else CONSOLES_PORT
    return replace(settings, listen=_with(settings.listen, _address(line, default)))


def _monitor(settings: ConnmonSettings, line: Config) -> ConnmonSettings:
    return replace(settings, monitor=_with(settings.monitor, _address(line, CONSOLES_PORT)))


def _allow(settings: ConnmonSettings, line: Config) -> ConnmonSettings:
    if not line.values:
        raise SettingError(line.key, 'takes one or more networks, for example "10.0.0.0/8"')
    return replace(
        settings, allow=settings.allow + tuple(parse_network(str(word), line.key) for word in line.values)
    )


def _loglevel(settings: Settings, line: Config) -> Settings:
    level = LOG_LEVELS.get(_only(line).lower())
    if level is None:
        raise SettingError(line.key, f'there is no level "{line.values[0]}": there are {", ".join(LOG_LEVELS)}')
    return replace(settings, loglevel=level)


def _values(settings: ServerSettings, line: Config) -> ServerSettings:
    match _only(line).lower():
        case "all":
            return replace(settings, values="all")
        case "earlier":
            return replace(settings, values="earlier")
        case _:
            raise SettingError(line.key, f'takes "all" or "earlier", not "{line.values[0]}"')


def _authfile(settings: Settings, line: Config) -> Settings:
    return replace(settings, demand=settings.demand._replace(authfile=_only(line)))


def _securitylevel(settings: Settings, line: Config) -> Settings:
    return replace(settings, demand=settings.demand._replace(level=parse_level(_only(line), line.key)))


def _strict(settings: Settings, line: Config) -> Settings:
    match line.values:
        case (bool(strict),):
            return replace(settings, demand=settings.demand._replace(strict=strict))
        case _:
            raise SettingError(line.key, "takes true or false, without quotes")


#: The security directives of both plugins: a mistake in one must not let in datagrams that should be refused.
_PROTECTING = ("authfile", "securitylevel", "strict")

_SERVER: "dict[str, Directive[ServerSettings]]" = {
    "listen": _listen,
    "loglevel": _loglevel,
    "values": _values,
    "authfile": _authfile,
    "securitylevel": _securitylevel,
    "strict": _strict,
}
_CONNMON: "dict[str, Directive[ConnmonSettings]]" = {
    "monitor": _monitor,
    "listen": _listen,
    "allow": _allow,
    "loglevel": _loglevel,
    "authfile": _authfile,
    "securitylevel": _securitylevel,
    "strict": _strict,
}


def _address(line: Config, default_port: int) -> Address:
    """The host and port of a line, with `default_port` if the line has no port."""
    if len(line.values) > 2:
        raise SettingError(line.key, f"takes a host and a port, not {len(line.values)} words")
    host, port = (*line.values, default_port)[:2]
    if not isinstance(host, str) or not host.strip("[] "):
        raise SettingError(line.key, f"{host!r} is not a host; put it in quotes")
    try:
        number = float(port)
    except ValueError:
        number = -1.0
    if isinstance(port, bool) or not number.is_integer() or not 1 <= number <= LARGEST_PORT:
        raise SettingError(line.key, f"{port!r} is not a port: a number from 1 to {LARGEST_PORT}")
    return Address(host.strip("[] "), int(number))


def _only(line: Config) -> str:
    match line.values:
        case (str(word),):
            return word
        case _:
            raise SettingError(line.key, "takes one word in quotes")


def _with(addresses: tuple[Address, ...], address: Address) -> tuple[Address, ...]:
    return addresses if address in addresses else (*addresses, address)
