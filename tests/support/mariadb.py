"""A real MariaDB server in a temporary folder, from Debian's ``mariadb-server-core``."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from support.servers import free_tcp_port, freeze, open_folder, run, unprivileged
from support.waiting import wait_until

_SERVER = "/usr/sbin/mariadbd"
_SQL = Path("/usr/share/mysql")

#: What ``mariadb-install-db`` does with programs that only the larger packages bring.
_BOOTSTRAP = """
create database mysql;
use mysql;
{tables}
set @auth_root_socket = null;
{data}
flush privileges;
create user tester@'127.0.0.1';
grant all on *.* to tester@'127.0.0.1';
create user tester@localhost;
grant all on *.* to tester@localhost;
create database trial;
"""


class MariaDB:
    """One server, from entering to leaving; it may be stopped and started again meanwhile.

    Args:
        folder: Where its data live; of the user that `unprivileged` makes.
    """

    user = "tester"
    database = "trial"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "log"
        self.port = free_tcp_port()
        #: For clients in another network namespace; they are root.
        self.socket = folder / "socket"
        run(["mkdir", str(self._data)])
        sql = _BOOTSTRAP.format(
            tables=(_SQL / "mysql_system_tables.sql").read_text(),
            data=(_SQL / "mysql_system_tables_data.sql").read_text(),
        )
        done = subprocess.run(
            unprivileged([*self._command(), "--bootstrap", "--skip-grant-tables"]),
            input=sql,
            capture_output=True,
            text=True,
            cwd="/",
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"

    def _command(self) -> list[str]:
        return [
            _SERVER,
            "--no-defaults",
            f"--datadir={self._data}",
            "--skip-log-bin",
            "--aria-log-file-size=8M",
            "--innodb-buffer-pool-size=16M",
            "--innodb-log-file-size=4M",
            "--innodb-flush-method=nosync",
            # In a folder that two servers share, each would remove the other's temporary tables.
            f"--tmpdir={self._folder}",
        ]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it serves."""
        pid_file = self._folder / "pid"
        pid_file.unlink(missing_ok=True)
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                unprivileged(
                    [
                        *self._command(),
                        "--bind-address=127.0.0.1",
                        f"--port={self.port}",
                        f"--socket={self.socket}",
                        f"--pid-file={pid_file}",
                    ]
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        wait_until(lambda: self._serves(pid_file), what="MariaDB to be ready")

    def _serves(self, pid_file: Path) -> bool:
        """Whether it has said so: it writes its number just before it accepts connections."""
        assert self._process.poll() is None, f"MariaDB ended:\n{self._log.read_text()}"
        return pid_file.exists()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """A server that accepts connections (the kernel does) and never answers."""
        freeze([self._process.pid])
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """``kill -9``: no word to anybody."""
        self._process.kill()
        self._process.wait(timeout=30)


@contextlib.contextmanager
def mariadb_server() -> Iterator[MariaDB]:
    """A new server of its own."""
    with open_folder("poolhouse-mariadb-") as folder, MariaDB(folder) as server:
        yield server
