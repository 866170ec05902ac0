"""A fleet and its time."""

import pytest

from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.snapshot import Row, Snapshot
from support.reporting import ModelProcess

WALL = 1.7e9


class Aggregator:
    """A `Fleet` whose time the test moves."""

    def __init__(self, limits: FleetLimits | None = None) -> None:
        self.now = 1000.0
        self.fleet = Fleet(limits or FleetLimits(), self.now)

    def receive(self, *datagrams: bytes) -> list[str | None]:
        return [self.fleet.receive(datagram, self.now, WALL + self.now) for datagram in datagrams]

    def report(self, *processes: ModelProcess, **how) -> None:
        """All of them report now; none is refused."""
        for process in processes:
            assert set(self.receive(*process.report(self.now, **how))) == {None}

    def every_interval(self, *processes: ModelProcess, times: int = 1) -> None:
        for _ in range(times):
            self.now += processes[0].interval
            self.report(*processes)

    def snapshot(self, program: str | None = None) -> Snapshot:
        return self.fleet.snapshot(self.now, WALL + self.now, program)

    def program(self, name: str = "nova") -> Row | None:
        return next((row for row in self.snapshot().programs if row.name == name), None)

    def host(self, name: str = "web1") -> Row | None:
        return next((row for row in self.snapshot().hosts if row.name == name), None)

    def events(self) -> list[tuple[str, str]]:
        return [(event.kind, event.text) for event in self.snapshot().events]


@pytest.fixture
def aggregator() -> Aggregator:
    return Aggregator()


@pytest.fixture
def make_aggregator():
    return Aggregator
