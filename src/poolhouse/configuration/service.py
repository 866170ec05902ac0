"""What ``connmon.cfg`` says: services, their nodes, their login, their certificate and their CSV file."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolhouse.addresses import format_address
from poolhouse.defaults import SERVICE_PORT
from poolhouse.errors import SettingError

#: How a daemon may log.
LOG_FORMATS = ("text", "json")

#: What stands for no listener at all, in the file and in options.
OFF = "off"

#: What may be demanded of reports over UDP, the least first.
SECURITY_LEVELS = ("none", "sign", "encrypt")

#: How many renamed CSV files are kept where the file does not say.
CSV_KEEP = 5

#: The name of the service where none is named.
DEFAULT_SERVICE = "default"

#: The columns of the CSV file, in connmon's order; see `poolhouse.export.csv`.
CSV_COLUMNS = (
    "timestamp",
    "token",
    "hostname",
    "progname",
    "process_count",
    "connection_count",
    "checkout_count",
    "max_process_count",
    "max_connections",
    "max_checkedout",
    "checkouts_per_second",
)


@dataclass(frozen=True, slots=True)
class Node:
    """One connmond of a service.

    Attributes:
        name: Its name in the service.
        host: Where clients, consoles and the other nodes reach it: a name or an address, IPv6 without brackets.
        port: The TCP port there.
        bind_host: The address on which it listens; `poolhouse.addresses.EVERYWHERE` for all.
        bind_port: The TCP port on which it listens.
    """

    name: str
    host: str
    port: int
    bind_host: str = "0.0.0.0"
    bind_port: int = SERVICE_PORT

    @property
    def address(self) -> str:
        """Host and port in one word."""
        return format_address(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Login:
    """The user and the password of a service; its `repr` keeps the password to itself."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files with which a node speaks TLS, in PEM.

    Attributes:
        certfile: The certificate, with the chain behind it.
        keyfile: Its key; ``None`` if it stands in `certfile`.
    """

    certfile: str
    keyfile: str | None = None


@dataclass(frozen=True, slots=True)
class CsvDump:
    """The CSV file of a service.

    Attributes:
        path: The file.
        token: What stands in the column ``token`` of each row.
        columns: The columns, in their order.
        rotate_bytes: The size from which the file is renamed and begun again; ``None`` for never.
        keep: How many renamed files are kept.
    """

    path: str
    token: str = "connmon"
    columns: tuple[str, ...] = CSV_COLUMNS
    rotate_bytes: int | None = None
    keep: int = CSV_KEEP


@dataclass(frozen=True, slots=True)
class LoggingSection:
    """A section for `logging.config.fileConfig`.

    Attributes:
        line: Where it begins in the file.
        options: Its settings by name, with references replaced but for those of a formatter.
        lines: The line of each setting.
    """

    line: int
    options: Mapping[str, str]
    lines: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Service:
    """The nodes that share one view, and how to speak to them.

    Attributes:
        name: What ``--service`` and ``connmon_service`` call it.
        nodes: At least one.
        login: What clients, consoles and nodes prove; ``None`` if nobody has to.
        certificate: Set if the nodes speak TLS.
        csv: Set if the nodes write a CSV file.
        http: Where each node serves HTTP, as host and port; empty for nowhere, ``None`` if the file does not say.
        log_format: How the nodes log: one of `LOG_FORMATS`; ``None`` if the file does not say.
        authfile: The AuthFile of reports over UDP; ``None`` if the file does not say.
        securitylevel: What is demanded of them, as it is written; ``None`` if the file does not say.
        strict: Whether what is encrypted must be signed too.
        otlp: Where metrics are pushed to; empty for nowhere, ``None`` if the file does not say.
    """

    name: str
    nodes: tuple[Node, ...]
    login: Login | None = None
    certificate: Certificate | None = None
    csv: CsvDump | None = None
    log_format: str | None = None
    http: tuple[tuple[str, int], ...] | None = None
    authfile: str | None = None
    securitylevel: str | None = None
    strict: bool = True
    otlp: str | None = None

    def node(self, name: str | None, setting: str = "--node") -> Node:
        """The node of this name; without a name the only one.

        Raises:
            SettingError: If there is no such node, or if there are several and none is named.
        """
        names = ", ".join(node.name for node in self.nodes)
        if name is None:
            first, *others = self.nodes
            if others:
                raise SettingError(setting, f"expected one of the nodes of service {self.name!r}: {names}")
            return first
        for node in self.nodes:
            if node.name == name:
                return node
        raise SettingError(setting, f"service {self.name!r} has no node {name!r}; it has {names}")


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole configuration.

    Attributes:
        source: The file's path; a sentence's part where it is the built-in default.
        services: By name, at least one.
        logging: The sections for ``logging.config.fileConfig``, by name; empty if there are none. They may hold
            passwords, of a mail server for example, and are no part of the `repr`.
        warnings: Sentences about what is accepted and has no effect.
    """

    source: str
    services: Mapping[str, Service]
    logging: Mapping[str, LoggingSection] = field(default_factory=dict[str, LoggingSection], repr=False)
    warnings: tuple[str, ...] = ()

    def service(self, name: str = DEFAULT_SERVICE, setting: str = "--service") -> Service:
        """The service of this name.

        Raises:
            SettingError: If there is none.
        """
        try:
            return self.services[name]
        except KeyError:
            names = ", ".join(self.services)
            raise SettingError(setting, f"there is no service {name!r} in {self.source}; it has {names}") from None


#: What holds where there is no file: one node on this machine, which everybody may reach.
BUILT_IN = Configuration(
    "the built-in configuration",
    {DEFAULT_SERVICE: Service(DEFAULT_SERVICE, (Node("node1", "localhost", SERVICE_PORT),))},
)
