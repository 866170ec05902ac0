"""A destination: where a process reports, under which names and how often.

A destination is made from settings, either those of SQLAlchemy's URL and ``create_engine`` (``poolhouse_host`` or
``collectd_host``, …) or bare ones (``host``, …), or from a URL ``collectd://host:port/?program_name=…``. A
connmond service is named by ``connmon_service``, ``connmon_addr`` or ``connmon_config``, or by a URL
``connmon://host:port/``. A mistake raises a `SettingError` when the destination is made, with the setting as the
user typed it.
"""

import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from poolhouse.addresses import format_address
from poolhouse.defaults import REPORT_INTERVAL, REPORT_VARIABLE, REPORTS_PORT
from poolhouse.errors import SettingError
from poolhouse.record import Record
from poolhouse.report.protection import (
    NAMES as PROTECTION_NAMES,
)
from poolhouse.report.protection import (
    Protection,
    Security,
    protection_of,
    read_secret,
    read_secret_file,
    read_security,
    read_username,
)
from poolhouse.report.service_settings import NAMES, service_of
from poolhouse.report.unknown import no_such_setting

if TYPE_CHECKING:
    from poolhouse.configuration.service import Service

#: The shortest and the longest time between two reports, in seconds.
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.1, 3600.0

Detail = Literal["full", "plain"]

#: The target of reports: a service, or a port of some hosts, with their protection on the way there.
Target: TypeAlias = "Service | tuple[tuple[str, ...], int, Protection | None]"

#: The prefixes of an engine's settings, which mean the same.
PREFIXES = ("poolhouse_", "collectd_")
#: The prefix of settings that name a service.
CONNMON_PREFIX = "connmon_"
#: An engine's settings that do not concern its destination, without the prefix.
ENGINE_SETTINGS = ("skip", "hold_warning")
#: The settings that reports to a service share with others.
_SHARED = ("program_name", "report_host", "interval")


class Destination(Record, hidden=("password",)):
    """An aggregator, and how this process presents itself to it.

    Attributes:
        host: A host name, an IPv4 or an IPv6 address (without brackets; ``fe80::1%eth0`` for a zone). Several are
            separated by commas; each is sent every report.
        port: A UDP port.
        program_name: The name under which processes are added up; see `default_program_name`.
        report_host: The name of this process's host in reports; see `default_report_host`.
        interval: Seconds between two reports.
        detail: ``full``, or ``plain`` for aggregators that know only sqlalchemy-collectd's values.
        service: The connmond service to report to over TCP; ``None`` for `host` and `port` over UDP.
        protection: How reports over UDP are signed or encrypted; ``None`` for neither.
    """

    host: str
    port: int
    program_name: str
    report_host: str
    interval: float
    detail: Detail
    service: "Service | None"
    #: The settings of a protection; `protection` is what they mean together.
    username: str | None
    password: str | None
    security: Security | None
    protection: Protection | None

    def __init__(
        self,
        host: str = "localhost",
        port: int = REPORTS_PORT,
        program_name: str | None = None,
        report_host: str | None = None,
        interval: float = REPORT_INTERVAL,
        detail: Detail = "full",
        service: "Service | None" = None,
        username: str | None = None,
        password: str | None = None,
        security: Security | None = None,
        protection: Protection | None = None,
    ) -> None:
        """A destination; the names of program and host are this process's if they are left out."""
        super().__init__(
            host,
            port,
            default_program_name() if program_name is None else program_name,
            default_report_host() if report_host is None else report_host,
            interval,
            detail,
            service,
            username,
            password,
            security,
            protection,
        )

    @classmethod
    def from_settings(
        cls,
        settings: Mapping[str, Any],
        prefixes: tuple[str, ...] = PREFIXES,
        base: "Destination | None" = None,
    ) -> "Destination":
        """The destination named by settings.

        Args:
            settings: Texts, or numbers where a number is meant. Every key must be a setting of ours.
            prefixes: The prefixes that keys may have; ``("",)`` for bare keys.
            base: Provides each setting that is left out; ``None`` for the defaults.

        Raises:
            SettingError: If a key is unknown, if its value is not allowed, or if a setting is spelled with two
                prefixes.
        """
        require_one_spelling(settings, prefixes)
        given = {_known(key, prefixes): _value(key, prefixes, value) for key, value in settings.items()}
        prefix = next((_prefix_of(key, prefixes) for key in settings), prefixes[-1])
        protecting = [name for name in PROTECTION_NAMES if name in given]
        if "password_file" in given:
            if "password" in given:
                raise SettingError(
                    f"{prefix}password_file", f"there is a {prefix}password too; expected one of them"
                )
            given["password"] = given.pop("password_file")
        base = base or cls()
        if "host" in given or "port" in given:
            base = base.replace(service=None)
        made = base.replace(**given)
        if made.service is not None:
            if protecting:
                raise SettingError(
                    f"{prefix}{protecting[0]}",
                    "reports to a service go over TCP, which has a login and TLS of its own; remove it",
                )
            return made
        protection = protection_of(made.username, made.password, made.security, prefix)
        return made.replace(protection=protection)

    @classmethod
    def from_service_settings(
        cls, settings: Mapping[str, Any], prefix: str = CONNMON_PREFIX, base: "Destination | None" = None
    ) -> "Destination":
        """The service named by settings.

        Args:
            settings: `poolhouse.report.service_settings.NAMES`, program name, reporting host and interval.
            prefix: The prefix of each key.
            base: Provides program name, reporting host and interval if they are left out.

        Raises:
            SettingError: If a key is unknown or its value is not allowed.
        """
        given: dict[str, Any] = {}
        for key, value in settings.items():
            name = key.removeprefix(prefix)
            if name in _SHARED:
                given[name] = _value(key, (prefix,), value)
            elif name not in NAMES:
                raise no_such_setting(key, prefix, (*NAMES, *_SHARED, *_of_engines(prefix)))
        # Over TCP a login and TLS protect reports; they are in the service's configuration.
        unsealed: dict[str, Any] = dict.fromkeys(("username", "password", "security", "protection"))
        return (base or cls()).replace(**unsealed, **given, service=service_of(settings, prefix))

    @classmethod
    def from_url(cls, url: str) -> "Destination":
        """The destination named by ``collectd://host:port/?program_name=…&interval=…``.

        Everything but the scheme may be left out. An IPv6 address is written in brackets; names may be
        percent-encoded. ``connmon://host:port/`` names a node over TCP, ``connmon:///?service=…&config=…`` a
        service.

        Raises:
            SettingError: If the URL is malformed, or as in `from_settings`.
        """
        # None of these errors repeats the URL, which may contain a password.
        try:
            parts = urlsplit(url)
        except ValueError:
            raise SettingError("host", "expected a host name or an address, IPv6 in brackets") from None
        try:
            port = parts.port
        except ValueError:
            raise SettingError("port", "expected a port from 1 to 65535") from None
        if parts.scheme not in ("collectd", "connmon"):
            raise SettingError("url", "expected collectd://host:port/?program_name=…, or connmon://host:port/")
        is_service = parts.scheme == "connmon"
        if parts.username is not None and is_service:
            raise SettingError(
                "url", "a service's login stands in its configuration; expected connmon://host:port/"
            )
        if parts.path not in ("", "/") or parts.fragment:
            raise SettingError(
                "url", f"expected nothing between {parts.scheme}://host:port/ and its settings, ?name=value"
            )
        # A setting without "=" or without a value is wrong, too.
        settings: dict[str, str] = {}
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        for name, value in (("username", parts.username), ("password", parts.password)):
            if value is not None:
                pairs.append((name, unquote(value)))
        if is_service and parts.netloc:
            pairs.append(("addr", unquote(parts.netloc)))
        elif parts.hostname:
            pairs.append(("host", unquote(parts.hostname)))
        if port is not None and not is_service:
            pairs.append(("port", str(port)))
        for name, value in pairs:
            if not _NAME.fullmatch(name) or (not value and name not in _READERS):
                raise SettingError(
                    "url", "expected settings as name=value; an & in a value must be encoded (%26), and a ? (%3F)"
                )
            if name in settings:
                raise SettingError(name, "given twice")
            settings[name] = value
        return cls.from_service_settings(settings, "") if is_service else cls.from_settings(settings, ("",))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Destination":
        """The destination named by ``POOLHOUSE_REPORT``; the default one if that is not set, or empty.

        Raises:
            SettingError: As in `from_url`; it names the variable, then the setting.
        """
        url = environment.get(REPORT_VARIABLE)
        if not url:
            return cls()
        try:
            return cls.from_url(url)
        except SettingError as error:
            raise SettingError(REPORT_VARIABLE, str(error)) from None

    @property
    def address(self) -> str:
        """Its address as a person would write it, for example ``[::1]:25827``."""
        if self.service is not None:
            return ", ".join(node.address for node in self.service.nodes)
        return ", ".join(format_address(host, self.port) for host in self.hosts)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts in `host`, one or more."""
        return tuple(self.host.split(","))

    @property
    def target(self) -> Target:
        """The target of the reports."""
        return self.service or (self.hosts, self.port, self.protection)


#: The name of a nameless machine in reports: an aggregator refuses an empty one.
NAMELESS = "unnamed"


def default_report_host() -> str:
    """The name of this machine; `NAMELESS` if it has none, as in some serverless environments."""
    try:
        return socket.gethostname().strip() or NAMELESS
    except (OSError, UnicodeError):
        return NAMELESS


def default_program_name() -> str:
    """The name of this process if none was set."""
    argv = getattr(sys, "argv", None) or [""]  # An embedding program may have set anything, or nothing.
    try:
        return program_name_of(os.fsdecode(argv[0]))
    except (TypeError, ValueError, KeyError, OSError):  # OSError: the working directory was removed.
        return "python"


def program_name_of(argv0: str) -> str:
    """The program's name: the base name of its script.

    ``python -m package`` runs a script called ``__main__.py``: the name is then the package's. Without a script it
    is ``python``. Only the path matters, so that multiprocessing's spawned children, which run another main
    module, have their parent's name.

    >>> program_name_of("/usr/bin/nova-api"), program_name_of("-c"), program_name_of("")
    ('nova-api', 'python', 'python')
    """
    directory, name = os.path.split(argv0)
    if name == "__main__.py":
        return _package_name(os.path.abspath(directory))
    return "python" if name in ("", "-", "-c", "-m") else name


def _package_name(directory: str) -> str:
    """The dotted name of the package in a directory; the directory's name if it belongs to no package."""
    parent, name = os.path.split(directory)
    while os.path.exists(os.path.join(parent, "__init__.py")):
        parent, package = os.path.split(parent)
        name = f"{package}.{name}"
    return name or "python"


def require_one_spelling(settings: Mapping[str, Any], prefixes: tuple[str, ...] = PREFIXES) -> None:
    """Refuse a setting that is given with two of the prefixes.

    Args:
        settings: By their names as typed by the user; others than ours are ignored.
        prefixes: The first one takes precedence.

    Raises:
        SettingError: With the setting that applies, and the one to remove.

    >>> require_one_spelling({"collectd_host": "web1", "poolhouse_port": 7})
    """
    first, *others = prefixes
    for key in settings:
        for prefix in others:
            other = first + key.removeprefix(prefix)
            if key.startswith(prefix) and other in settings:
                raise SettingError(key, f"{other} is given too, and counts; remove {key}")


def _prefix_of(key: str, prefixes: tuple[str, ...]) -> str:
    """The prefix of a key; the last prefix for a key that is not ours."""
    return next((prefix for prefix in prefixes if key.startswith(prefix)), prefixes[-1])


def _known(key: str, prefixes: tuple[str, ...]) -> str:
    """The field of `Destination` that a key means."""
    prefix = _prefix_of(key, prefixes)
    name = key.removeprefix(prefix)
    if key.startswith(prefix) and name in _READERS:
        return name
    raise no_such_setting(key, prefix, (*DESTINATION_SETTINGS, *_of_engines(prefix)))


def _of_engines(prefix: str) -> tuple[str, ...]:
    """An engine's further settings; none without a prefix, since there is no engine then."""
    return ENGINE_SETTINGS if prefix else ()


def _value(key: str, prefixes: tuple[str, ...], value: Any) -> Any:
    """The value of a setting, converted and checked."""
    if isinstance(value, (list, tuple)):
        raise SettingError(key, "given twice")
    name = key.removeprefix(_prefix_of(key, prefixes))
    if name == "password_file":
        return read_secret_file(value, key)
    try:
        return _READERS[name](value)
    except ValueError as error:
        raise SettingError(key, str(error)) from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a text, not {value!r}")
    return value


def _hosts(value: Any) -> str:
    """One host or several: ``web1``, ``web1,[::1]``; duplicates are removed."""
    return ",".join(dict.fromkeys(_host(one) for one in _text(value).split(",")))


def _is_name(host: str) -> bool:
    """Whether ``getaddrinfo`` accepts it: that encodes a name by IDNA, whose codec is large to import.

    >>> [_is_name(host) for host in ("db.example.", "127.0.0.1", "bücher.example", "a..b", "x" * 64)]
    [True, True, True, False, False]
    """
    if host.isascii():
        *labels, last = host.split(".")
        return all(0 < len(label) < 64 for label in labels) and len(last) < 64
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _host(value: Any) -> str:
    host = _text(value).strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or not _is_name(host) or any(character.isspace() or character in "/[]@\0" for character in host):
        _, at, behind = value.rpartition("@")  # What is before it may be a password.
        raise ValueError(f"expected a host name or an address, not {f'…@{behind}' if at else value!r}")
    return host


def _port(value: Any) -> int:
    port = _number(int, value)
    if port is None or not 1 <= port <= 65535:
        raise ValueError(f"expected a port from 1 to 65535, not {value!r}")
    return int(port)


def _interval(value: Any) -> float:
    seconds = _number(float, value)
    if seconds is None or not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:
        raise ValueError(f"expected seconds from {SHORTEST_INTERVAL:g} to {LONGEST_INTERVAL:g}, not {value!r}")
    return seconds


def _number(number_type: type[int] | type[float], value: Any) -> float | None:
    """The number in a text, or the number itself; ``None`` if it is neither."""
    try:
        number = number_type(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if isinstance(value, bool) or (not isinstance(value, str) and number != value) else number


def _detail(value: Any) -> Detail:
    match value:
        case "full":
            return "full"
        case "plain":
            return "plain"
        case _:
            raise ValueError(f"expected full or plain, not {value!r}")


#: Anything else in a URL is a mistake, perhaps a piece of a password, and no message repeats it.
_NAME = re.compile("[a-z_]+")
#: Each setting, and the function that converts and checks its value.
_READERS: dict[str, Callable[[Any], Any]] = {
    "host": _hosts,
    "port": _port,
    "program_name": _text,
    "report_host": _text,
    "interval": _interval,
    "detail": _detail,
    "username": read_username,
    "password": read_secret,
    "password_file": str,
    "security": read_security,
}

#: The names of these settings, without a prefix.
DESTINATION_SETTINGS = tuple(_READERS)
