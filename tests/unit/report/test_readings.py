"""Others in the process are told what each report has read, and cannot harm it."""

from collections.abc import Iterator

import pytest

from poolhouse.meter.reading import PoolReading
from poolhouse.report import readings
from poolhouse.report.roster import Roster


class Source:
    def __init__(self) -> None:
        self.gone, self.error = False, False

    def is_gone(self) -> bool:
        return self.gone

    def read(self, number: int) -> PoolReading:
        if self.error:
            raise RuntimeError("no figures")
        return PoolReading(0, "db", "QueuePool")

    def after_fork(self) -> None: ...


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(readings._observers, None, ())
    yield
    readings._told.clear()


def test_every_observer_is_told_once() -> None:
    told: list[readings.Readings] = []
    readings.observe(told.append)
    readings.observe(told.append)
    one = [(Source(), PoolReading(0, "db", "QueuePool"))]
    readings.tell(one)
    assert told == [one]


def test_an_observer_that_raises_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    told: list[readings.Readings] = []

    def broken(_: readings.Readings) -> None:
        raise RuntimeError("broken")

    readings.observe(broken)
    readings.observe(told.append)
    for _ in range(3):
        readings.tell([])
    assert len(told) == 3
    assert len(caplog.records) == 1


def test_a_report_has_read_every_pool_that_could_be_read_also_those_without_a_place() -> None:
    roster, sources = Roster(places=1), [Source(), Source(), Source()]
    sources[2].error = True
    assert [source for source, _ in roster.read(sources, 1).readings] == sources[:2]
    sources[1].gone, sources[2].error = True, False
    last = dict(roster.read((), 2).readings)
    assert {source: reading.pools for source, reading in last.items()} == dict(
        zip(sources, (1, 0, 1), strict=True)
    )
    assert [source for source, _ in roster.read((), 3).readings] == [sources[0], sources[2]]
