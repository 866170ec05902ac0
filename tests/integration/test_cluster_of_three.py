"""Three connmonds on three machines, with programs beside each of them: every node shows what truly happened."""

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from poolhouse.console.command import connmon
from poolhouse.daemon.tcp import MOST_UNKNOWN
from poolhouse.defaults import REPORTS_PORT
from poolhouse.fleet.snapshot import Snapshot
from support.connmon import CONNMON, SEED_CLUSTER
from support.connmond import Connmond, Watcher
from support.machines import Ethernet
from support.mariadb import MariaDB
from support.pages import ROOT, under
from support.postgres import Postgres
from support.system_clock import SystemClock
from support.waiting import wait_until
from support.workload import POOL, Workload

NODES = {"node1": "192.168.1.205", "node2": "192.168.1.206", "node3": "192.168.1.207"}
CONSOLES = 25828
COUNTS = ("checkouts", "connects", "invalidated", "timeouts", "commits", "rollbacks")
#: Programs beside each node, by what they use: three dozen in all.
EACH = {"sqlite": 6, "postgres": 2, "mariadb": 2, "pool": 2}
INTERVAL = 0.5
#: For everything that a busy machine may delay.
PATIENCE = 60.0


class Service:
    """The nodes, and the processes with what is true of them."""

    def __init__(self, stack: ExitStack, folder: Path, postgres: Postgres, mariadb: MariaDB) -> None:
        self._stack = stack
        self._databases = {
            "sqlite": f"sqlite+pysqlite:///{folder}/shop.db",
            # By their sockets in the file system: a namespace does not reach this machine's loopback.
            "postgres": f"postgresql+psycopg://postgres@/postgres?host={postgres.socket_folder}&port={postgres.port}",
            # PyMySQL would read the machine's certificates for each connection.
            "mariadb": f"mysql+pymysql://tester@localhost/trial?unix_socket={mariadb.socket}&ssl_disabled=true",
            "pool": f"{POOL}host={postgres.socket_folder} port={postgres.port} user=postgres dbname=postgres",
        }
        self.config = folder / "connmon.cfg"
        self.config.write_text(SEED_CLUSTER)
        self.net = stack.enter_context(Ethernet(*NODES.values()).plugged())
        self.nodes: dict[str, Connmond] = {}
        self.watchers: dict[str, Watcher] = {}
        for name in NODES:
            self.start(name)
        self.workloads = {
            (name, kind): stack.enter_context(self.workload(name, kind)) for name in NODES for kind in EACH
        }
        self.truths: dict[tuple[str, str, int], dict[str, int]] = {
            (*key, workload.fork()): {"checkouts": 0}
            for key, workload in self.workloads.items()
            for _ in range(EACH[key[1]])
        }

    def workload(self, name: str, kind: str) -> Workload:
        url, prefix = self._databases[kind], self.machine(name).prefix
        if kind == "pool":
            settings = f"service=default&config={self.config}&program_name=shop&interval={INTERVAL}"
            return Workload(url, prefix=(*prefix, "env", f"POOLHOUSE_REPORT=connmon:///?{settings}"))
        settings = (
            f"plugin=connmon&connmon_service=default&connmon_config={self.config}"
            f"&connmon_program_name=shop&connmon_interval={INTERVAL}"
        )
        return Workload(f"{url}{'&' if '?' in url else '?'}{settings}", prefix=prefix)

    def machine(self, name: str):
        return self.net.machines[NODES[name]]

    def start(self, name: str, *prefix: str) -> None:
        """Start a node, behind further words of a command."""
        machine = self.machine(name)
        options = "--config", str(self.config), "--node", name
        self.nodes[name] = self._stack.enter_context(
            Connmond(
                *options, reports=REPORTS_PORT, consoles=CONSOLES, has_tcp=True, prefix=(*machine.prefix, *prefix)
            )
        )
        with machine.entered():
            self.watchers[name] = self._stack.enter_context(Watcher(CONSOLES))

    def signal(self, name: str, number: int) -> None:
        os.kill(self.nodes[name].process.pid, number)

    def work(self, **operations: int) -> None:
        """Every process does so much."""
        for name, kind, number in self.truths:
            self.truths[name, kind, number] = self.workloads[name, kind].work(number, **operations)

    def total(self, what: str) -> int:
        return sum(truth[what] for truth in self.truths.values())

    def show(self, told: Callable[[Snapshot], object], *names: str) -> None:
        """Wait until these nodes, all if none is named, show something."""
        for name in names or NODES:
            watcher = self.watchers[name]
            try:
                wait_until(lambda watcher=watcher: watcher.snapshots and told(watcher.snapshots[-1]), PATIENCE)
            except AssertionError:
                shown = figures(watcher.snapshots[-1]) if watcher.snapshots else None
                raise AssertionError(f"{name} shows {shown}, and {self.truth()} is true") from None

    def show_truth(self, *names: str) -> None:
        """Wait until these nodes show exactly what is true."""
        truth = self.truth()
        self.show(lambda snapshot: figures(snapshot) == truth, *names)

    def tell_truth(self) -> None:
        """``connmon --json`` of each node tells exactly what is true."""
        for name in NODES:
            with self.machine("node1").entered():
                told = CliRunner().invoke(connmon, ["--json", "-c", str(self.config), "-n", name])
            assert told.exit_code == 0, told.output
            assert json_figures(json.loads(told.stdout)) == self.json_truth()

    def json_truth(self) -> dict[str, int]:
        return {name: number for name, number in self.truth().items() if name != "returned"}

    def truth(self) -> dict[str, int]:
        returned = self.total("checkouts") - self.total("used")
        counts = {name: self.total(name) for name in COUNTS}
        return {"processes": len(self.truths), "used": self.total("used"), "returned": returned, **counts}

    def missing(self, name: str) -> Callable[[Snapshot], bool]:
        return lambda snapshot: any(
            node.name == name and node.missing_for is not None and not node.is_here
            for node in snapshot.health.nodes
        )

    @staticmethod
    def all_there(snapshot: Snapshot) -> bool:
        return len(snapshot.health.nodes) == 3 and all(node.missing_for is None for node in snapshot.health.nodes)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, mariadb: MariaDB) -> Iterator[Service]:
    """One for all tests: each leaves all nodes there, and what is true goes on to be true."""
    with ExitStack() as stack:
        yield Service(stack, tmp_path_factory.mktemp("service"), postgres, mariadb)


def test_the_how_to_has_connmon_s_own_example() -> None:
    assert under(ROOT / "docs" / "howto" / "connmond.md", "Several nodes", "ini") == [SEED_CLUSTER]


WORK = {"together": 2, "plain": 3, "commit": 2, "rollback": 1, "invalidate": 1}


def test_all_nodes_show_the_truth_and_go_on_when_one_is_killed(service: Service) -> None:
    service.work(**WORK, hold=1)
    service.show_truth()
    service.show(service.all_there)
    for name in NODES:
        assert json_figures(json_of(service, name)) == service.json_truth()
    # Killed: its programs go to the others, which say that it is missing.
    service.signal("node2", signal.SIGKILL)
    service.work(**WORK)
    service.show(service.missing("node2"), "node1", "node3")
    service.show_truth("node1", "node3")
    service.work(**WORK)
    service.show_truth("node1", "node3")
    # It returns with empty memory.
    service.start("node2")
    service.show_truth()
    service.show(service.all_there)
    service.work(**WORK)
    service.show_truth()
    service.tell_truth()
    falls(service)


def test_a_stopped_node_costs_the_others_nothing_and_catches_up(service: Service) -> None:
    service.work(**WORK)
    service.show_truth()
    service.signal("node3", signal.SIGSTOP)
    service.work(**WORK)
    service.show(service.missing("node3"), "node1", "node2")
    service.show_truth("node1", "node2")
    service.signal("node3", signal.SIGCONT)
    service.show_truth()
    service.show(service.all_there)
    service.tell_truth()
    falls(service)


def test_both_sides_of_a_partition_go_on_and_agree_afterwards(service: Service) -> None:
    service.work(**WORK)
    service.show_truth()
    service.net.pull(NODES["node1"])
    service.show(service.missing("node1"), "node2", "node3")
    service.show(service.missing("node2"), "node1")
    service.show(service.missing("node3"), "node1")
    service.work(**WORK)
    # Each side has the processes that reach it.
    service.show(lambda snapshot: snapshot.fleet.processes == sum(EACH.values()), "node1")
    service.show(lambda snapshot: snapshot.fleet.processes == 2 * sum(EACH.values()), "node2", "node3")
    service.net.plug(NODES["node1"])
    service.show_truth()
    service.show(service.all_there)
    service.work(**WORK)
    service.show_truth()
    service.tell_truth()
    falls(service)


def test_a_node_whose_clock_is_wrong_by_a_day_and_jumps_agrees_with_the_others(service: Service) -> None:
    with SystemClock() as clock:
        service.signal("node2", signal.SIGKILL)
        service.show(service.missing("node2"), "node1", "node3")
        clock.step(86_400)
        service.start("node2", *clock.prefix)
        service.work(**WORK)
        service.show_truth()
        service.show(lambda snapshot: snapshot.wall_time - time.time() > 80_000, "node2")
        clock.step(-86_400)
        service.work(**WORK)
        service.show_truth()
        service.show(lambda snapshot: time.time() - snapshot.wall_time > 80_000, "node2")
        service.show(service.all_there)
        service.tell_truth()
        # With the machine's clock again.
        service.signal("node2", signal.SIGKILL)
        service.show(service.missing("node2"), "node1", "node3")
        service.start("node2")
    service.show_truth()
    service.show(service.all_there)
    falls(service)


def test_a_node_that_is_flooded_and_the_others_show_the_truth(service: Service) -> None:
    rng = random.Random(1)
    with ExitStack() as stack:
        # More silent connections than a node keeps, from a machine that also has programs.
        with service.machine("node3").entered():
            for _ in range(2 * MOST_UNKNOWN):
                stack.enter_context(socket.create_connection((NODES["node1"], 5800), PATIENCE))
            for _ in range(20):
                with socket.create_connection((NODES["node1"], 5800), PATIENCE) as stranger:
                    stranger.sendall(rng.randbytes(50_000))
        with service.machine("node1").entered():
            flood = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for _ in range(10_000):
                flood.sendto(rng.randbytes(200), ("127.0.0.1", REPORTS_PORT))
        service.work(**WORK)
        service.show_truth()
        service.show(lambda snapshot: snapshot.health.refused > 0, "node1")
    service.show(service.all_there)
    service.tell_truth()
    falls(service)


def figures(snapshot: Snapshot) -> dict[str, int | None]:
    """What a node shows of what the processes count for themselves."""
    fleet = snapshot.fleet
    use = fleet.since_start.use
    counts = {name: getattr(fleet.totals, name) for name in COUNTS}
    returned = None if use is None else use.count
    return {"processes": fleet.processes, "used": fleet.used, "returned": returned, **counts}


def json_figures(snapshot: dict) -> dict[str, int]:
    """The same of what ``connmon --json`` prints, which has no `returned`."""
    fleet = snapshot["fleet"]
    counts = {name: fleet[f"{name}_total"] for name in COUNTS}
    return {"processes": fleet["processes"], "used": fleet["used_connections"], **counts}


def json_of(service: Service, name: str) -> dict:
    """What ``connmon --json`` prints of a node, over TCP from another machine."""
    command = [*service.machine("node1").prefix, *CONNMON, "--json", "-c", str(service.config), "-n", name]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE).stdout)


def falls(service: Service) -> None:
    """No node ever showed a total that fell, since its start."""
    for watcher in service.watchers.values():
        began = None
        least = (0,) * 10
        for snapshot in watcher.snapshots:
            if began is not None and snapshot.health.uptime < began:
                least = (0,) * 10
            began = snapshot.health.uptime
            totals = tuple(count or 0 for count in snapshot.fleet.totals)
            assert all(now >= then for now, then in zip(totals, least, strict=True))
            least = totals
