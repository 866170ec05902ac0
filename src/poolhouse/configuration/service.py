"""The content of ``connmon.cfg``: services, their nodes, their login, their certificate and their CSV file."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from poolhouse.addresses import format_address
from poolhouse.defaults import SERVICE_PORT
from poolhouse.errors import SettingError
from poolhouse.record import Record

#: How a daemon may log.
LOG_FORMATS = ("text", "json")

#: The word for no listener at all, in the file and in options.
OFF = "off"

#: The protection that may be demanded of reports over UDP, the weakest first.
SECURITY_LEVELS = ("none", "sign", "encrypt")

#: How many renamed CSV files are kept by default.
CSV_KEEP = 5

#: The service that is used if none is named.
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


class Node(NamedTuple):
    """One connmond of a service.

    Attributes:
        name: Its name in the service.
        host: The name or address by which clients, consoles and the other nodes reach it; IPv6 without brackets.
        port: The TCP port at `host`.
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
        """Host and port as one string."""
        return format_address(self.host, self.port)


class Login(Record, hidden=("password",)):
    """The user and the password of a service; its `repr` does not show the password."""

    user: str
    password: str


class Certificate(NamedTuple):
    """The files with which a node speaks TLS, in PEM.

    Attributes:
        certfile: The certificate, followed by its chain.
        keyfile: The certificate's key; ``None`` if it is in `certfile`.
    """

    certfile: str
    keyfile: str | None = None


class CsvDump(NamedTuple):
    """The CSV file of a service.

    Attributes:
        path: The file.
        token: The text in the column ``token`` of each row.
        columns: The columns, in their order.
        rotate_bytes: The size at which the file is renamed and a new one begun; ``None`` for never.
        keep: How many renamed files are kept.
    """

    path: str
    token: str = "connmon"
    columns: tuple[str, ...] = CSV_COLUMNS
    rotate_bytes: int | None = None
    keep: int = CSV_KEEP


class LoggingSection(Record, hidden=("options",)):
    """A section for `logging.config.fileConfig`.

    Attributes:
        line: The line where it begins in the file.
        options: Its settings by name, with references replaced, except a formatter's. They may hold passwords, for
            example a mail server's, so the `repr` leaves them out.
        lines: The line of each setting.
    """

    line: int
    options: Mapping[str, str]
    lines: Mapping[str, int]


class Service(NamedTuple):
    """The nodes that share one view, and how to speak to them.

    Attributes:
        name: The name for ``--service`` and ``connmon_service``.
        nodes: The nodes, at least one.
        login: The login that clients, consoles and nodes must prove; ``None`` if there is none.
        certificate: Set if the nodes speak TLS.
        csv: Set if the nodes write a CSV file.
        http: The hosts and ports where each node serves HTTP; empty for none, ``None`` if the file does not say.
        log_format: How the nodes log: one of `LOG_FORMATS`; ``None`` if the file does not say.
        authfile: The AuthFile of reports over UDP; ``None`` if the file does not say.
        securitylevel: The protection demanded of those reports, as written; ``None`` if the file does not say.
        strict: Whether encrypted reports must be signed too.
        otlp: The address to push metrics to; empty for none, ``None`` if the file does not say.
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
        """The node of this name; without a name, the only node.

        Raises:
            SettingError: If there is no such node, or if there are several and no name is given.
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


class Configuration(NamedTuple):
    """A whole configuration.

    Attributes:
        source: The file's path; a phrase for messages if it is the built-in default.
        services: The services by name, at least one.
        logging: The sections for ``logging.config.fileConfig``, by name; empty if there are none.
        warnings: Sentences about settings that are accepted but have no effect.
    """

    source: str
    services: Mapping[str, Service]
    logging: Mapping[str, LoggingSection] = MappingProxyType({})
    warnings: tuple[str, ...] = ()

    def service(self, name: str = DEFAULT_SERVICE, setting: str = "--service") -> Service:
        """The service of this name.

        Raises:
            SettingError: If there is no such service.
        """
        try:
            return self.services[name]
        except KeyError:
            names = ", ".join(self.services)
            raise SettingError(setting, f"there is no service {name!r} in {self.source}; it has {names}") from None


#: The configuration without a file: one node on this machine, open to everybody.
BUILT_IN = Configuration(
    "the built-in configuration",
    {DEFAULT_SERVICE: Service(DEFAULT_SERVICE, (Node("node1", "localhost", SERVICE_PORT),))},
)
