"""Three connmonds on three machines, with programs beside each of them: every node shows what truly happened."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from poolhouse.fleet.snapshot import Snapshot
from support.connmon import CONNMON, SEED_CLUSTER
from support.connmond import Connmond, Watcher
from support.machines import Ethernet
from support.pages import ROOT, under
from support.waiting import wait_until
from support.workload import Workload

NODES = {"node1": "192.168.1.205", "node2": "192.168.1.206", "node3": "192.168.1.207"}
CONSOLES = 25828
COUNTS = ("checkouts", "connects", "invalidated", "timeouts", "commits", "rollbacks")
#: Programs beside each node.
EACH = 4
INTERVAL = 0.5
#: For everything that a busy machine may delay.
PATIENCE = 60.0


class Service:
    """The nodes, and the processes with what is true of them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self.config = folder / "connmon.cfg"
        self.config.write_text(SEED_CLUSTER)
        self.net = stack.enter_context(Ethernet(*NODES.values()).plugged())
        self.nodes: dict[str, Connmond] = {}
        self.watchers: dict[str, Watcher] = {}
        for name in NODES:
            self.start(name)
        self.workloads = {name: stack.enter_context(self.workload(name)) for name in NODES}
        self.truths = {
            (name, w.fork()): {"checkouts": 0} for name, w in self.workloads.items() for _ in range(EACH)
        }

    def workload(self, name: str) -> Workload:
        url = (
            f"sqlite+pysqlite:///{self.config.parent}/{name}.db?plugin=connmon&connmon_service=default"
            f"&connmon_config={self.config}&connmon_program_name=shop&connmon_interval={INTERVAL}"
        )
        return Workload(url, prefix=self.machine(name).prefix)

    def machine(self, name: str):
        return self.net.machines[NODES[name]]

    def start(self, name: str) -> None:
        machine = self.machine(name)
        options = "--config", str(self.config), "--node", name
        self.nodes[name] = self._stack.enter_context(
            Connmond(*options, consoles=CONSOLES, has_tcp=True, prefix=machine.prefix)
        )
        with machine.entered():
            self.watchers[name] = self._stack.enter_context(Watcher(CONSOLES))

    def signal(self, name: str, number: int) -> None:
        os.kill(self.nodes[name].process.pid, number)

    def work(self, **operations: int) -> None:
        """Every process does so much."""
        for name, number in self.truths:
            self.truths[name, number] = self.workloads[name].work(number, **operations)

    def total(self, what: str) -> int:
        return sum(truth[what] for truth in self.truths.values())

    def show(self, told: Callable[[Snapshot], object], *names: str) -> None:
        """Wait until these nodes, all if none is named, show something."""
        for name in names or NODES:
            watcher = self.watchers[name]
            try:
                wait_until(lambda watcher=watcher: watcher.snapshots and told(watcher.snapshots[-1]), PATIENCE)
            except AssertionError:
                shown = watcher.snapshots[-1] if watcher.snapshots else None
                raise AssertionError(f"{name}: {shown}") from None

    def show_truth(self, *names: str) -> None:
        """Wait until these nodes show exactly what is true."""
        self.show(self.is_truth, *names)

    def is_truth(self, snapshot: Snapshot) -> bool:
        fleet = snapshot.fleet
        return (
            fleet.processes == len(self.truths)
            and fleet.used == self.total("used")
            and all(getattr(fleet.totals, name) == self.total(name) for name in COUNTS)
            and fleet.since_start.use is not None
            and fleet.since_start.use.count == self.total("checkouts") - self.total("used")
        )

    def missing(self, name: str) -> Callable[[Snapshot], bool]:
        return lambda snapshot: any(
            node.name == name and node.missing_for is not None and not node.is_here
            for node in snapshot.health.nodes
        )

    @staticmethod
    def all_there(snapshot: Snapshot) -> bool:
        return len(snapshot.health.nodes) == 3 and all(node.missing_for is None for node in snapshot.health.nodes)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with ExitStack() as stack:
        yield Service(stack, tmp_path)


def test_the_how_to_has_connmon_s_own_example() -> None:
    assert under(ROOT / "docs" / "howto" / "connmond.md", "Several nodes", "ini") == [SEED_CLUSTER]


WORK = {"together": 2, "plain": 3, "commit": 2, "rollback": 1, "invalidate": 1}


def test_all_nodes_show_the_truth_and_go_on_when_one_is_killed(service: Service) -> None:
    service.work(**WORK, hold=1)
    service.show_truth()
    service.show(service.all_there)
    for name in NODES:
        fleet = json_of(service, name)["fleet"]
        assert fleet["processes"] == len(service.truths)
        assert {key: fleet[f"{key}_total"] for key in COUNTS} == {key: service.total(key) for key in COUNTS}
        assert fleet["used_connections"] == service.total("used")
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
    service.show(lambda snapshot: snapshot.fleet.processes == EACH, "node1")
    service.show(lambda snapshot: snapshot.fleet.processes == 2 * EACH, "node2", "node3")
    service.net.plug(NODES["node1"])
    service.show_truth()
    service.show(service.all_there)
    service.work(**WORK)
    service.show_truth()
    falls(service)


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
