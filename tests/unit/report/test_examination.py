import logging
import weakref

import pytest

from poolhouse.meter.reading import Counters, PoolReading
from poolhouse.meter.signs import PoolSigns, ProcessSigns
from poolhouse.report.examination import Examination
from poolhouse.verdicts.standing import Examiner
from poolhouse.verdicts.verdict import Verdict
from support.troubled import Life, busy


class Pool:
    """A source that is told verdicts."""

    def __init__(self) -> None:
        self.told: list[tuple[Verdict, ...]] = []

    def judged(self, verdicts: tuple[Verdict, ...]) -> None:
        self.told.append(verdicts)

    def is_gone(self) -> bool:
        return False

    def read(self, number: int) -> PoolReading:
        raise NotImplementedError

    def after_fork(self) -> None:
        raise NotImplementedError


def trouble(seconds: float = 12.0, calm: float = 40.0) -> Life:
    """A pool whose statements are slow, and then nothing happens any more."""
    life = Life()
    life.work(lambda: busy(1.5), 12)
    life.live(seconds)
    for request in (*life.queue, *life.out):
        request.then = None
    life.live(calm)
    return life


def test_a_verdict_is_logged_when_it_begins_and_when_it_ends_and_told_to_its_pool(
    caplog: pytest.LogCaptureFixture,
) -> None:
    examination, pool = Examination("shop", "web1"), Pool()
    sources = {1: pool}
    with caplog.at_level(logging.INFO, "poolhouse.verdicts"):
        found = [
            examination.examine(moment.at, 1000 + moment.at, moment.pools, moment.process, sources)
            for moment in trouble().moments
        ]
    began, ended = caplog.records
    assert (began.levelno, ended.levelno) == (logging.WARNING, logging.WARNING)
    assert began.getMessage().startswith(
        "poolhouse finds trouble with QueuePool 'db:5432/shop': slow_statement: app.py:10 in "
        "query holds connections inside the database for 1.5 s each: "
        "5 of 5 connections in use; 7 wait"
    )
    assert began.getMessage().endswith(" (poolhouse explain slow_statement)")
    assert ended.getMessage().startswith(
        "poolhouse finds that the trouble with QueuePool 'db:5432/shop' has ended after "
    )
    assert ended.getMessage().endswith(" s: slow_statement")
    assert [findings[0].cause for findings in found if findings] == ["slow_statement"] * len(pool.told[:-1])
    assert pool.told[-1] == ()
    (verdict,) = pool.told[0]
    assert (verdict.cause, verdict.program, verdict.hosts, verdict.target, verdict.since) == (
        "slow_statement", "shop", ("web1",), "db:5432/shop", 1006.0,
    )  # fmt: skip
    assert verdict.culprit is not None
    assert verdict.culprit.place == "app.py:10 in query"
    assert verdict.number("used") == 5


def test_a_notice_begins_and_ends_below_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It is odd and harmless: two pools of one line for one database."""
    examination = Examination("shop", "web1")
    signs = PoolSigns("db:5432/shop", made_at="app.py:1 in make")
    two = [
        PoolReading(key, "db:5432/shop", "QueuePool", counters=Counters(checkouts=1), signs=signs)
        for key in (1, 2)
    ]
    with caplog.at_level(logging.INFO, "poolhouse.verdicts"):
        for number in range(40):
            pools = tuple(two if number < 10 else two[:1])
            examination.examine(2.0 * number, 0.0, pools, ProcessSigns(), {1: Pool(), 2: Pool()})
    assert [(one.levelname, "duplicate_engines" in one.getMessage()) for one in caplog.records] == [
        ("INFO", True)
    ] * 2


def test_a_pool_that_is_well_is_told_nothing() -> None:
    examination, pool = Examination("shop", "web1"), Pool()
    for number in range(20):
        assert examination.examine(2.0 * number, 0.0, (), None, {1: pool}) == ()
    assert pool.told == []


def test_an_error_of_ours_is_logged_once_and_costs_the_findings_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Examiner, "take", fail)
    examination = Examination("shop", "web1")
    for number in range(3):
        assert examination.examine(2.0 * number, 0.0, (), ProcessSigns(), {}) == ()
    assert [record.getMessage() for record in caplog.records] == ["poolhouse cannot examine its pools"]


def test_no_pool_is_kept_alive() -> None:
    examination, pool = Examination("shop", "web1"), Pool()
    moments = trouble(calm=0).moments
    for moment in moments:
        examination.examine(moment.at, 0.0, moment.pools, None, {1: pool})
    assert pool.told
    examination.examine(moments[-1].at + 2, 0.0, (), None, {})
    reference = weakref.ref(pool)
    del pool
    assert reference() is None
