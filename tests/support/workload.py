"""A program that forks processes which use SQLAlchemy in known numbers, and tell what truly happened.

Run as ``python -m support.workload URL``; `Workload` is the test's end of it. What a process did to the database
is counted at the database driver, not by anything of ours.
"""

import gc
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Self

from support import zygote
from support.paths import PYTHONPATH

#: What `Workload.work` may ask for, each a number of times, in this order.
OPERATIONS = (
    *("refused", "together", "plain", "commit", "rollback"),
    *("invalidate", "detach", "hold", "hold_detached", "timeout"),
)
#: What each process's pool may hold.
POOL_SIZE, MAX_OVERFLOW = 4, 6
#: What a pool of ours has: for what is held, and two together.
POOL_CONNECTIONS = 3
#: In place of a URL's scheme: a pool of ours.
POOL = "pool:"
#: What a process counts for itself, the driver's connects and disconnects apart.
COUNTED = (
    *("checkouts", "invalidated", "commits", "rollbacks", "transactions"),
    *("timeouts", "acquireerrors", "connecterrors"),
)


class CountedConnection(sqlite3.Connection):
    """A driver's connection that tells how many were opened and closed in this process."""

    opened = closed = 0
    is_refused = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.is_refused:
            raise sqlite3.OperationalError("refused")
        super().__init__(*args, **kwargs)
        type(self).opened += 1

    def close(self) -> None:
        super().close()
        type(self).closed += 1


class Counting:
    """How many connections of a server's driver were opened and closed in this process."""

    opened = closed = 0

    @classmethod
    def of(cls, driver: type[Any]) -> type[Any]:
        """The driver's class of connections, counted."""

        class Counted(driver):  # type: ignore[misc]  # it is whatever the driver has
            is_counted_closed = False

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                cls.opened += 1

            def close(self) -> None:
                super().close()
                if not self.is_counted_closed:
                    self.is_counted_closed = True
                    cls.closed += 1

        return Counted


class Worker:
    """One forked process: an engine of its own, and the truth about it."""

    def __init__(self, url: str) -> None:
        import sqlalchemy

        self.select = sqlalchemy.text("SELECT 1")
        self.counting: Any = Counting
        is_file = url.startswith("sqlite")
        self.engine = sqlalchemy.create_engine(
            url,
            connect_args={"factory": CountedConnection, "check_same_thread": False} if is_file else {},
            poolclass=sqlalchemy.pool.QueuePool,
            pool_size=POOL_SIZE,
            max_overflow=MAX_OVERFLOW,
            pool_timeout=0.05,
        )
        if is_file:
            self.counting = CountedConnection
        else:
            connect = counted_connect(self.engine.dialect.driver)
            sqlalchemy.event.listen(
                self.engine, "do_connect", lambda dialect, record, given, named: connect(*given, **named)
            )
        self.errors = sqlalchemy.exc.OperationalError, sqlalchemy.exc.TimeoutError
        self.held: list[Any] = []
        self.detached: list[Any] = []
        self.truth = dict.fromkeys(COUNTED, 0)

    def work(self, operations: Mapping[str, int]) -> dict[str, int]:
        """Do this much of each, and tell everything that is true since the beginning."""
        for name in OPERATIONS:
            number = operations.get(name, 0)
            if name == "together":
                connections = [self.checkout() for _ in range(number)]
                for connection in connections:
                    connection.close()
            else:
                for _ in range(number):
                    getattr(self, name)()
        opened, closed = self.counting.opened, self.counting.closed
        gauges = {"used": len(self.held), "detached": len(self.detached), "connections": opened - closed}
        return self.truth | gauges | {"connects": opened, "disconnects": closed}

    def checkout(self) -> Any:
        connection = self.engine.connect()
        self.truth["checkouts"] += 1
        return connection

    def refused(self) -> None:
        """Needs a pool without idle connections."""
        CountedConnection.is_refused = True
        try:
            self.checkout().close()
        except self.errors[0]:
            self.truth["acquireerrors"] += 1
            self.truth["connecterrors"] += 1
        finally:
            CountedConnection.is_refused = False

    def timeout(self) -> None:
        """Needs a pool of which everything is held."""
        try:
            self.checkout().close()
        except self.errors[1]:
            self.truth["timeouts"] += 1

    def plain(self) -> None:
        self.checkout().close()

    def commit(self) -> None:
        with self.checkout() as connection:
            connection.execute(self.select)
            connection.commit()
        self.truth["transactions"] += 1
        self.truth["commits"] += 1

    def rollback(self) -> None:
        with self.checkout() as connection:
            connection.execute(self.select)
            connection.rollback()
        self.truth["transactions"] += 1
        self.truth["rollbacks"] += 1

    def invalidate(self) -> None:
        with self.checkout() as connection:
            connection.invalidate()
        self.truth["invalidated"] += 1

    def detach(self) -> None:
        with self.checkout() as connection:
            connection.detach()

    def hold(self) -> None:
        self.held.append(self.checkout())

    def hold_detached(self) -> None:
        connection = self.checkout()
        connection.detach()
        self.detached.append(connection)


class PoolWorker:
    """One forked process with a pool of ours; what the pool does not see, such as commits, is not counted."""

    def __init__(self, conninfo: str) -> None:
        import psycopg

        import poolhouse

        self.pool = poolhouse.ConnectionPool(
            conninfo,
            connection_class=Counting.of(psycopg.Connection),
            # All at once: a pool that grows connects behind its clients, and the truth would change unasked.
            min_size=POOL_CONNECTIONS,
            max_size=POOL_CONNECTIONS,
            open=True,
        )
        self.pool.wait()
        self.held: list[Any] = []
        self.truth = dict.fromkeys(COUNTED, 0)

    def work(self, operations: Mapping[str, int]) -> dict[str, int]:
        """Check out as often as the same operations do in an engine."""
        together = [self.checkout() for _ in range(operations.get("together", 0))]
        for connection in together:
            self.pool.putconn(connection)
        for name in ("plain", "commit", "rollback"):
            for _ in range(operations.get(name, 0)):
                connection = self.checkout()
                connection.execute("SELECT 1")
                if name != "plain":
                    getattr(connection, name)()
                self.pool.putconn(connection)
        self.held += [self.checkout() for _ in range(operations.get("hold", 0))]
        opened, closed = Counting.opened, Counting.closed
        gauges = {"used": len(self.held), "detached": 0, "connections": opened - closed}
        return self.truth | gauges | {"connects": opened, "disconnects": closed}

    def checkout(self) -> Any:
        connection = self.pool.getconn()
        self.truth["checkouts"] += 1
        return connection


def counted_connect(driver: str) -> Any:
    """The ``connect`` of a counted driver."""
    if driver == "psycopg":
        import psycopg

        return Counting.of(psycopg.Connection).connect
    import pymysql

    return Counting.of(pymysql.connections.Connection)


class Workload:
    """The program, from entering to leaving, driven from a test.

    Args:
        url: The engine's URL, plugin and all; or, for a pool of ours, `POOL` and what libpq needs.
        prefix: What stands before the command (`support.collectd.Namespace.prefix`).
        python: The interpreter; by default the one of the tests.
        path: Where it finds modules.
    """

    def __init__(
        self, url: str, *, prefix: tuple[str, ...] = (), python: str = sys.executable, path: str = PYTHONPATH
    ) -> None:
        self._command = [*prefix, python, "-m", "support.workload", url]
        self._environment = {**os.environ, "PYTHONPATH": path}

    def __enter__(self) -> Self:
        self.process = zygote.Popen[str](
            self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.process.communicate()
        if kind is None:
            assert self.process.returncode == 0

    def fork(self) -> int:
        """Start one more process; its number."""
        return int(self._ask({"fork": True})["number"])

    def work(self, number: int, **operations: int) -> dict[str, int]:
        """Let this process do so much of each of `OPERATIONS`; what is true of it since its beginning."""
        assert set(operations) <= set(OPERATIONS)
        return self._ask({"work": operations, "number": number})

    def exit(self, number: int) -> None:
        """Let this process end by itself."""
        self._ask({"exit": True, "number": number})

    def kill(self, number: int) -> None:
        """Kill -9."""
        self._ask({"kill": True, "number": number})

    def _ask(self, command: dict[str, Any]) -> dict[str, int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the workload ended with {self.process.wait()}"
        told: dict[str, int] = json.loads(answer)
        return told


def summed(truths: list[dict[str, int]]) -> dict[str, int]:
    """What collectd must say of processes of which this is true, all living."""
    sums = {name: sum(truth[name] for truth in truths) for name in truths[0]}
    used, detached, connections = (sums.pop(name) for name in ("used", "detached", "connections"))
    counts = {
        "checkedin": connections - used - detached,
        "checkedout": used,
        "connections": connections,
        "detached": detached,
        "numpools": len(truths),
        "numprocs": len(truths),
        "waiting": 0,
        "max": (POOL_SIZE + MAX_OVERFLOW) * len(truths),
        "maxidle": POOL_SIZE * len(truths),
        "minidle": 0,
    }
    return {f"count-{name}": count for name, count in counts.items()} | {
        f"derive-{name}": total for name, total in sums.items()
    }


def load(url: str) -> None:
    """Import what the children need, once for all of them; nothing of it is used here."""
    if url.startswith(POOL):
        for name in ("psycopg", "poolhouse.pool.sync", "poolhouse.report.reporter"):
            import_module(name)
    else:
        import sqlalchemy
        from sqlalchemy.dialects import plugins

        parsed = sqlalchemy.engine.make_url(url)
        parsed.get_dialect().import_dbapi()
        plugins.load(parsed.query["plugin"])
    # Else each child looks for garbage in it at its end, and has a copy of all of it.
    gc.collect()
    gc.freeze()


def main(url: str) -> None:
    """Do what the lines of standard input say, and answer each with one line."""
    load(url)
    children: list[tuple[int, socket.socket]] = []
    for line in sys.stdin:
        command = json.loads(line)
        if "fork" in command:
            ours, theirs = socket.socketpair()
            pid = os.fork()
            if not pid:
                ours.close()
                serve(theirs, url)
                sys.exit()
            theirs.close()
            children.append((pid, ours))
            answer = {"number": len(children) - 1}
        else:
            answer = obey(command, *children[command["number"]])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for _, sock in children:
        sock.close()  # Whoever still lives reads an end, and exits.
    for pid, _ in children:
        reap(pid)


def obey(command: dict[str, Any], pid: int, sock: socket.socket) -> Any:
    """Let one child do what the command says."""
    if "work" in command:
        sock.sendall(json.dumps(command["work"]).encode())
        return json.loads(sock.recv(4096))
    sock.close() if "exit" in command else os.kill(pid, signal.SIGKILL)
    reap(pid)
    return {}


def reap(pid: int) -> None:
    """Wait for a child's end, unless that was done before."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return


def serve(sock: socket.socket, url: str) -> None:
    """The child: work until the other end is closed."""
    worker = PoolWorker(url.removeprefix(POOL)) if url.startswith(POOL) else Worker(url)
    while asked := sock.recv(4096):
        sock.sendall(json.dumps(worker.work(json.loads(asked))).encode())


if __name__ == "__main__":
    main(sys.argv[1])
