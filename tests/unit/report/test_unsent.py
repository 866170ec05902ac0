"""Pools that somebody in this process reads, and nobody reports."""

import pytest

from poolhouse.meter.reading import PoolReading
from poolhouse.report import reporter, unsent
from poolhouse.report.unsent import MANY, Unsent, moved


class Source:
    def __init__(self) -> None:
        self.gone = False
        self.forks = 0

    def is_gone(self) -> bool:
        return self.gone

    def read(self, number: int) -> PoolReading:
        return PoolReading(0, "db", "QueuePool")

    def after_fork(self) -> None:
        self.forks += 1
        raise RuntimeError("a pool of the application's own make")


class Stream:
    def add(self, source: object, /) -> None: ...

    def expect(self, source: object, /) -> None: ...


def test_a_pool_is_read_from_its_first_use_until_its_end() -> None:
    pools, source = Unsent(), Source()
    pools.expect(source)
    assert pools.sources == []
    pools.add(source)
    pools.add(source)
    assert pools.sources == [source]
    pools.remove(source)
    assert pools.sources == []


def test_what_has_ended_does_not_gather_where_nobody_reads() -> None:
    pools, living = Unsent(), Source()
    pools.add(living)
    for _ in range(3 * MANY):
        source = Source()
        source.gone = True
        pools.add(source)
    assert len(pools.sources) <= MANY + 1
    assert living in pools.sources


def test_a_child_begins_with_no_pool_and_every_pool_afresh(caplog: pytest.LogCaptureFixture) -> None:
    pools, used, expected = Unsent(), Source(), Source()
    pools.add(used)
    pools.expect(expected)
    pools.after_fork()
    assert (used.forks, expected.forks, pools.sources) == (1, 1, [])
    assert len(caplog.records) == 2


def test_a_pool_leaves_for_a_stream_that_is_sent_and_only_for_that() -> None:
    pools, source, sent, other = Unsent(), Source(), Stream(), Stream()
    pools.add(source)
    assert moved(source, pools, Unsent()) is pools
    assert pools.sources == [source]
    assert moved(source, pools, sent) is sent
    assert pools.sources == []
    assert moved(source, sent, other) is sent
    assert moved(source, sent, pools) is sent


def test_a_destination_that_somebody_names_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsent, "_is_default", [True])
    monkeypatch.delenv("POOLHOUSE_REPORT", raising=False)
    assert reporter.automatic_stream() is unsent.UNSENT
    monkeypatch.setenv("POOLHOUSE_REPORT", "collectd://127.0.0.1:9/")
    assert reporter.automatic_stream() is not unsent.UNSENT
    monkeypatch.delenv("POOLHOUSE_REPORT")
    monkeypatch.setattr(unsent, "_is_default", [])
    assert reporter.automatic_stream() is not unsent.UNSENT
