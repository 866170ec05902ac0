"""A real collectd in the foreground, in a temporary folder; its own csv files tell what it wrote."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from support.waiting import wait_until

SOURCES = Path(__file__).parents[2] / "src"

#: What no run of ours may make collectd say.
COMPLAINTS = ("Traceback", "Unhandled python exception", "Will suspend", "segfault", "invalid loglevel")

_CONFIG = """\
BaseDir "{folder}"
PIDFile "{folder}/collectd.pid"
TypesDB "{types_db}"
Hostname "{hostname}"
FQDNLookup false
Interval {interval}
ReadThreads 2
WriteThreads 2
LoadPlugin logfile
<Plugin logfile>
    LogLevel info
    File "{folder}/log"
    Timestamp false
    PrintSeverity true
</Plugin>
LoadPlugin csv
<Plugin csv>
    DataDir "{folder}/csv"
    StoreRates {store_rates}
</Plugin>
{more}
LoadPlugin python
<Plugin python>
    ModulePath "{sources}"
    LogTraces true
{python}
</Plugin>
"""


class Namespace:
    """A network of its own with a loopback interface, so that a test may use fixed ports.

    Needs root; without it, entering fails with the sentence that says so.

    Args:
        addresses: Given to its loopback interface besides 127.0.0.1 and ::1.
    """

    def __init__(self, addresses: tuple[str, ...] = ()) -> None:
        self._addresses = addresses

    def __enter__(self) -> Self:
        assert os.geteuid() == 0, "a network namespace needs root: run the tests as root"
        add = "".join(f"ip address add {address}/32 dev lo && " for address in self._addresses)
        hold = f"ip link set lo up && {add}echo ready && exec sleep infinity"
        self._holder = subprocess.Popen(["unshare", "--net", "sh", "-c", hold], stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n", "no network namespace: install iproute2, util-linux"
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command that is to run inside."""
        return ("nsenter", "--net", f"--target={self._holder.pid}")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread opens, and threads and processes that it starts, are inside."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as outside, open(f"/proc/{self._holder.pid}/ns/net") as inside:
            assert libc.setns(inside.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(outside.fileno(), 0) == 0, os.strerror(ctypes.get_errno())


class Collectd:
    """One daemon from entering to leaving; leaving checks that it ended well and complained of nothing.

    Args:
        folder: Where everything of it lives; may be used by several daemons one after the other.
        python: The lines inside its ``<Plugin python>`` block.
        more: Further lines of collectd.conf, outside that block.
        sources: What ``ModulePath`` says.
        types_db: The types that it knows.
        store_rates: Write rates, as collectd computes them, instead of the values themselves.
        prefix: What stands before the command (`Namespace.prefix`).
        environment: Added to an otherwise almost empty environment.
        expected: Complaints (see `COMPLAINTS`) that the test is about, and which are therefore no failure.
    """

    def __init__(
        self,
        folder: Path,
        python: str,
        *,
        more: str = "",
        sources: Path = SOURCES,
        interval: float = 1,
        hostname: str = "collector",
        types_db: Path = Path("/usr/share/collectd/types.db"),
        store_rates: bool = False,
        prefix: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        expected: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self._prefix = prefix
        self._environment = environment or {}
        self._expected = expected
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "collectd.conf"
        self._config.write_text(
            _CONFIG.format(
                folder=folder,
                python=python,
                more=more,
                sources=sources,
                interval=interval,
                hostname=hostname,
                types_db=types_db,
                store_rates=str(store_rates).lower(),
            )
        )

    def __enter__(self) -> Self:
        (self.folder / "log").unlink(missing_ok=True)
        self.output = (self.folder / "output").open("w+")
        self.process = subprocess.Popen(
            [*self._prefix, "/usr/sbin/collectd", "-f", "-C", str(self._config)],
            stdout=self.output,
            stderr=subprocess.STDOUT,
            # A virtual environment on PATH would become the embedded interpreter's home.
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self._environment},
        )
        try:
            self.wait_for_log("Initialization complete")
        except BaseException:
            self.process.kill()
            self.process.wait()
            self.output.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()
        if error is None:
            assert self.process.returncode == 0, f"collectd ended with {self.process.returncode}:\n{self.log()}"
            assert not self.complaints(), self.log()

    def log(self) -> str:
        """Everything it has logged so far, and written to its standard output and error."""
        parts = (self.folder / "output", self.folder / "log")
        return "".join(part.read_text(errors="replace") for part in parts if part.exists())

    def complaints(self) -> list[str]:
        """Lines of the log that must not be there."""
        return [
            line
            for line in self.log().splitlines()
            if any(word in line for word in COMPLAINTS) and not any(word in line for word in self._expected)
        ]

    def wait_for_log(self, text: str, count: int = 1) -> str:
        """The whole log as soon as `text` stands in it `count` times."""

        def seen() -> str | None:
            assert self.process.poll() is None, f"collectd ended with {self.process.returncode}:\n{self.log()}"
            log = self.log()
            return log if log.count(text) >= count else None

        try:
            return wait_until(seen, what=f"{text!r} in the log")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def written(self) -> dict[str, list[float]]:
        """All values it wrote so far, oldest first, by ``host/plugin-instance/type-instance``.

        Of a type with several data sources the first.
        """
        series: dict[str, list[tuple[float, float]]] = {}
        root = self.folder / "csv"
        # A file a day: "count-checkedin-2024-02-29".
        for path in sorted(root.glob("*/*/*")):
            name = str(path.relative_to(root))[: -len("-2024-02-29")]
            # The last line may be half there: collectd writes it meanwhile.
            lines = path.read_text().rpartition("\n")[0].splitlines()[1:]
            pairs = (line.split(",")[:2] for line in lines)
            series.setdefault(name, []).extend((float(epoch), float(value)) for epoch, value in pairs)
        # collectd writes in several threads, of which one may overtake another.
        return {name: [value for _, value in sorted(pairs)] for name, pairs in series.items()}

    def newest(self) -> dict[str, float]:
        """The newest value of every series."""
        return {name: values[-1] for name, values in self.written().items() if values}

    def wait_for_values(self, expected: Mapping[str, float]) -> dict[str, float]:
        """`newest` as soon as it holds all that is expected; what differs is told if it never does."""

        def arrived() -> dict[str, float] | None:
            newest = self.newest()
            return newest if all(newest.get(name) == value for name, value in expected.items()) else None

        try:
            return wait_until(arrived)
        except AssertionError:
            newest = self.newest()
            wrong = {n: (newest.get(n), value) for n, value in expected.items() if newest.get(n) != value}
            raise AssertionError(f"written and expected differ: {wrong}\n{self.log()}") from None


def server_block(*directives: str) -> str:
    """The lines that load the server plugin with these directives."""
    return _block("sqlalchemy_collectd.server.plugin", directives)


def connmon_block(*directives: str) -> str:
    """The lines that load the connmon plugin with these directives."""
    return _block("sqlalchemy_collectd.connmon.plugin", directives)


def _block(module: str, directives: tuple[str, ...]) -> str:
    lines = "\n".join(directives)
    return f'Import "{module}"\n<Module "{module}">\n{lines}\n</Module>\n'


def free_port(host: str = "127.0.0.1") -> int:
    """A UDP port of this address that nothing uses now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def udp_socket(host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    """A bound datagram socket whose ``recv`` waits at most 20 s."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, port))
        sock.settimeout(20)
        yield sock


def send(datagrams: list[bytes], port: int, host: str = "127.0.0.1") -> None:
    """Send these datagrams from a socket that is closed afterwards."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        for datagram in datagrams:
            sock.sendto(datagram, (host, port))
