"""Where the console's data comes from, as the options and the configuration say together."""

from collections.abc import Callable
from typing import Literal, NamedTuple, Self

from poolhouse.addresses import format_address, parse_address
from poolhouse.configuration.files import load_configuration
from poolhouse.configuration.service import BUILT_IN, DEFAULT_SERVICE, Configuration, Login, Node, Service
from poolhouse.defaults import CONSOLES_PORT, SERVICE_PORT
from poolhouse.errors import SettingError
from poolhouse.feed.udp import Mode
from poolhouse.installing import install_command
from poolhouse.record import Record
from poolhouse.report.protection import Protection
from poolhouse.wire.aes import EXTRA, load_keystream
from poolhouse.wire.seal import LONGEST_USER

#: Reads the configuration at a path; ``None`` for the usual place.
Load = Callable[[str | None], Configuration]


class Options(Record, hidden=("password",)):
    """The command-line options that name a source of data; ``None`` for each that is not given."""

    way: Mode | None = None
    host: str | None = None
    port: int | None = None
    config: str | None = None
    service: str | None = None
    node: str | None = None
    user: str | None = None
    password: str | None = None
    security: str | None = None

    @property
    def is_udp(self) -> bool:
        """Whether the options ask for UDP."""
        return self.way is not None or self.port is not None


class Target(NamedTuple):
    """A place to ask: over TCP, over UDP, or over UDP until something answers on TCP.

    Attributes:
        service: The service; ``None`` for UDP only.
        udp: Host, port and mode; ``None`` for TCP only.
        user: The user whose password is still needed; ``None`` if there is none.
        protection: How a console over UDP signs or encrypts; ``None`` for neither.
        security: What the user's password does over UDP.
        warning: What the user should know, in a sentence; empty for nothing.
    """

    service: Service | None = None
    udp: tuple[str, int, Mode] | None = None
    user: str | None = None
    warning: str = ""
    protection: Protection | None = None
    security: Literal["sign", "encrypt"] = "encrypt"

    @property
    def address(self) -> str:
        """The source's name until it introduces itself."""
        if self.service is not None:
            return self.service.nodes[0].address
        assert self.udp is not None, "a target has one of the two"
        return format_address(*self.udp[:2])

    def with_login(self, login: Login) -> Self:
        """The same target with this login.

        Raises:
            SettingError: If the login cannot be used over UDP.
        """
        if self.service is None:
            if len(login.user.encode()) > LONGEST_USER[self.security]:
                raise SettingError("--user", f"expected at most {LONGEST_USER[self.security]} bytes")
            return self._replace(protection=Protection(self.security, login.user, login.password), user=None)
        return self._replace(service=self.service._replace(login=login), user=None)


def choose_target(options: Options, load: Load = load_configuration) -> Target:
    """The place that the options and the configuration name.

    Raises:
        SettingError: If an option or the configuration is wrong, or options exclude each other.
    """
    if options.is_udp:
        return _udp(options)
    if options.security is not None:
        raise SettingError("--security", "belongs to UDP: listen, connect and --port; TCP has the service's TLS")
    if options.host is not None:
        return _with_user(_host(options, options.host, load), options)
    configuration = load(options.config)
    service = configuration.service(options.service or DEFAULT_SERVICE)
    if options.node is not None:
        service = service._replace(nodes=(service.node(options.node),))
    is_usual = configuration is BUILT_IN and options == Options()
    return _with_user(Target(service, ("localhost", CONSOLES_PORT, "auto") if is_usual else None), options)


def _udp(options: Options) -> Target:
    for name in ("config", "service", "node"):
        if getattr(options, name) is not None:
            raise SettingError(f"--{name}", "belongs to TCP, and listen, connect and --port mean UDP")
    host, port = parse_address(options.host or "localhost", options.port or CONSOLES_PORT, "--host")
    security = _security(options)
    if options.user is None:
        for name in ("password", "security"):
            if getattr(options, name) is not None:
                raise SettingError(f"--{name}", "--user is missing")
        return Target(udp=(host, port, options.way or "auto"))
    if options.way == "listen":
        raise SettingError("--user", "nobody signs what is pushed to a console that listens; leave listen out")
    target = Target(udp=(host, port, "connect"), user=options.user, security=security)
    return target if options.password is None else target.with_login(Login(options.user, options.password))


def _security(options: Options) -> Literal["sign", "encrypt"]:
    """What a password does over UDP.

    Raises:
        SettingError: If the option is invalid, or if nothing is installed that can encrypt.
    """
    match options.security:
        case "sign":
            return "sign"
        case None | "encrypt":
            if options.user is not None and load_keystream() is None:
                command = install_command(EXTRA)
                raise SettingError(
                    "--security", f"encryption needs the package cryptography: {command}; or say sign"
                )
            return "encrypt"
        case other:
            raise SettingError("--security", f"expected sign or encrypt, not {other!r}")


def _host(options: Options, text: str, load: Load) -> Target:
    """One node, with the login and the certificate of its service if the configuration has one."""
    for name in ("service", "node"):
        if getattr(options, name) is not None:
            raise SettingError(f"--{name}", "names a node of the configuration, and --host names one itself")
    host, port = parse_address(text, SERVICE_PORT, "--host")
    if port == 0:
        raise SettingError("--host", f"{text!r}: expected a port from 1 to 65535")
    udp_port = CONSOLES_PORT if parse_address(text, 0, "--host")[1] == 0 else port
    udp: tuple[str, int, Mode] = (host, udp_port, "auto")
    warning = ""
    try:
        configuration = load(options.config)
    except SettingError as error:
        if options.config is not None:
            raise
        configuration, warning = BUILT_IN, f"{error}; --host does without it"
    if configuration is not BUILT_IN:
        for service in configuration.services.values():
            for node in service.nodes:
                if (node.host, node.port) == (host, port):
                    return Target(service._replace(nodes=(node,)), udp)
    return Target(Service("", (Node(format_address(host, port), host, port),)), udp, warning=warning)


def _with_user(target: Target, options: Options) -> Target:
    """The target with the login given by the options, else by the configuration."""
    assert target.service is not None, "this is TCP"
    configured = target.service.login
    user = options.user or (configured.user if configured is not None else None)
    if options.password is not None:
        if user is None:
            raise SettingError("--password", "--user is missing")
        return target.with_login(Login(user, options.password))._replace(udp=None)
    if options.user is None or (configured is not None and configured.user == options.user):
        return target
    return target._replace(user=options.user, udp=None)
