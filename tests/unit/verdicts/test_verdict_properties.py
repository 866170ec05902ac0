"""What holds of any readings, whatever is lost, repeated or wrong."""

import random
from collections import Counter
from functools import cache
from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhouse.fleet.diagnose import ProcessFindings
from poolhouse.fleet.diagnosis import Diagnosis
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import REST, Counters, Gauges, Limits, PoolReading
from poolhouse.meter.signs import (
    MOST_NUMBERS,
    ConnectErrors,
    Finding,
    Looks,
    PoolSigns,
    ProcessSigns,
    SiteReading,
)
from poolhouse.verdicts.causes import BY_NAME, CAUSES, POOL_TOO_SMALL, RANK, STANDS_S
from poolhouse.verdicts.moment import Moment
from poolhouse.verdicts.standing import MOST_FINDINGS, Examiner
from support.diagnosed import diagnosed
from support.troubled import Life, Request, busy, idle, leaked

WHY_USED_UP = {"nested_checkout", "row_lock", "slow_statement", "held_idle", "pool_too_small"}

counts = st.integers(0, 40) | st.integers(0, 1 << 40)
seconds = st.floats(0, 100) | st.floats(0, 1e9)
names = st.sampled_from(["a.py:1 in f", "b.py:2 in g via c.py:3 in h", "unknown", "other"])


@st.composite
def readings(draw):
    use = Histogram()
    use.record_all([round(1e9 * draw(st.floats(0, 100)))])
    sites = draw(st.lists(names, max_size=3, unique=True))
    return PoolReading(
        draw(st.integers(0, 3)),
        "db:5432/shop",
        "QueuePool",
        pools=draw(st.sampled_from([1, 1, 1, 0])),
        limits=Limits(draw(st.none() | st.integers(0, 20))),
        gauges=Gauges(*draw(st.tuples(*[st.integers(0, 30)] * 4))),
        counters=Counters(connects=draw(counts), checkouts=draw(counts)),
        use=draw(st.sampled_from([None, use])),
        signs=draw(
            st.none()
            | st.builds(
                PoolSigns,
                target=st.sampled_from(["", "db:5432/shop"]),
                made_at=st.sampled_from(["", "app.py:1 in make"]),
                looks=counts,
                looks_waiting=counts,
                used_sum=counts,
                waiting_sum=counts,
                connect_errors=st.builds(ConnectErrors, *[st.integers(0, 5)] * 9),
                inherited=st.integers(0, 2),
                dead=st.integers(0, 5),
                sites=st.tuples(
                    *(
                        st.builds(
                            SiteReading,
                            st.just(site),
                            open=st.integers(0, 20),
                            oldest_s=seconds,
                            returned=counts,
                            collected=counts,
                            held_s=seconds,
                            looks=st.builds(Looks, *[counts] * 4),
                            idle_line=names,
                            use=st.sampled_from([None, use]),
                        )
                        for site in sites
                    )
                ),
            )
        ),
    )


moments = st.builds(
    Moment,
    at=st.floats(0, 100),
    pools=st.lists(readings(), max_size=3, unique_by=lambda pool: pool.key).map(tuple),
    process=st.builds(
        ProcessSigns,
        looks=counts,
        late_looks=counts,
        stalled_s=seconds,
        longest_stall_s=seconds,
        stall_line=names,
        fork_line=names,
    ),
    looks_due=st.sampled_from([0.0, 1e3]) | st.floats(0, 1e9),
)


def one_answer_each(findings):
    """Whether nothing is said twice, or in two ways."""
    why = Counter(finding.pool for finding in findings if finding.cause in WHY_USED_UP)
    return all(number == 1 for number in why.values())


@pytest.mark.long
@settings(max_examples=80, deadline=None)
@given(st.lists(moments, max_size=12))
def test_any_readings_give_findings_that_can_be_sent_and_do_not_contradict_each_other(told):
    examiner = Examiner()
    for moment in told:
        examiner.take(moment)
        findings = examiner.findings
        assert len(findings) <= MOST_FINDINGS
        assert one_answer_each(findings)
        for finding in findings:
            assert finding.cause in BY_NAME
            assert len(finding.numbers) <= MOST_NUMBERS
            assert all(map(isfinite, finding.numbers))
            assert finding.age_s >= 0
            if finding.cause == "pool_too_small":
                *_, hold, habit = finding.numbers
                assert not habit or hold < POOL_TOO_SMALL["habit"] * habit


TROUBLES = {
    "slow_statement": lambda: busy(1.5),
    "held_idle": lambda: idle(1.5),
    "leak": leaked,
    "nested_checkout": lambda: Request(
        "app.py:50 in order", [("busy", 0.05), ("asks", float("inf"))], "b.py:6 in s"
    ),
    "pool_too_small": lambda: busy(0.2),
}


@cache
def life_with(cause):
    """Calm, then the trouble, then calm again."""
    dice = random.Random(1)
    life = Life()
    life.live(20, lambda now: [busy(0.2)] if dice.random() < 0.1 else [])
    life.work(TROUBLES[cause], 12)
    life.live(30)
    life.over = life.now
    for request in (*life.queue, *life.out):
        request.then = None
        request.stages = [("busy", 0.01)]
    life.live(30)
    return life


def heard(moments_told):
    examiner = Examiner()
    changes = []
    for moment in moments_told:
        changes += [(moment.at, change) for change in examiner.take(moment)]
    return examiner, changes


@pytest.mark.parametrize("cause", TROUBLES)
@pytest.mark.parametrize("interval", [2.0, 4.0])
def test_a_trouble_is_said_once_and_taken_back_once_whatever_the_interval(cause, interval):
    life = life_with(cause)
    _, changes = heard(life.moments[:: round(interval / 2)])
    began = [change.now.cause for _, change in changes if change.now is not None]
    assert began == [cause]
    (ended,) = [(at, change) for at, change in changes if change.now is None]
    assert ended[1].before.cause == cause
    assert STANDS_S - interval <= ended[0] - life.over <= STANDS_S + 6 + 3 * interval


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(TROUBLES)), st.randoms(use_true_random=False))
def test_lost_repeated_and_late_moments_change_no_verdict(cause, dice):
    life = life_with(cause)
    told = []
    for moment in life.moments:
        if dice.random() < 0.3:
            continue
        told.append(moment)
        if dice.random() < 0.2:
            told.append(moment)
        if dice.random() < 0.1 and len(told) > 3:
            told.append(told[-3])
    _, changes = heard(told)
    began = [change.now.cause for _, change in changes if change.now is not None]
    assert set(began) <= {cause}
    assert len(began) <= 2, "gaps of many seconds may end it once, and no more"


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(st.lists(moments, max_size=15))
def test_a_verdict_gives_way_only_to_one_further_up(told):
    examiner = Examiner()
    for moment in sorted(told, key=lambda moment: moment.at):
        for now, before in examiner.take(moment):
            if before is not None and before.age_s < STANDS_S:
                # The trouble of a process is why its pools have trouble, and ends no verdict of theirs by name.
                above = [one for one in examiner.findings if one.pool in (before.pool, REST)]
                assert any(RANK[one.cause] < RANK[before.cause] for one in above)
                assert now is None or RANK[now.cause] < RANK[before.cause]


# -- The fleet ----------------------------------------------------------------------------------------------------

POOLS = {key: (f"db:5432/shop{key}", f"db:5432/shop{key}") for key in range(3)}
findings = st.builds(
    Finding,
    cause=st.sampled_from([cause.name for cause in CAUSES]) | st.just("cause_of_tomorrow"),
    pool=st.integers(0, 3),
    site=names | st.just(""),
    line=names | st.just(""),
    age_s=st.floats(0, 1e5),
    numbers=st.lists(st.floats(0, 1e6), max_size=6).map(tuple),
)
processes = st.builds(
    ProcessFindings,
    host=st.sampled_from(["web1", "web2"]),
    program=st.sampled_from(["shop", "mail"]),
    token=st.sampled_from(["1:a", "2:b", "3:c"]),
    findings=st.lists(findings, max_size=4).map(tuple),
    pools=st.just(POOLS),
)


WHY_NOW = ("row_lock", "slow_statement", "held_idle", "pool_too_small")


def contradicting(verdicts):
    """The pools that are told two reasons, or one beside connects that fail, which explain it."""
    why = Counter(one.pool_key for one in verdicts if one.cause in WHY_NOW)
    refused = {one.pool_key for one in verdicts if one.cause == "server_full"}
    down = {one.target for one in verdicts if one.cause == "database_down" and one.target}
    return [key for key, number in why.items() if number > 1 or key in refused or key[2] in down]


def unexplained(told, verdicts):
    """The pools of which a process says why they are used up, and the verdicts do not."""
    found = {
        (process.program, *process.pools.get(finding.pool, ("", "")))
        for process in told
        for finding in process.findings
        if finding.cause in WHY_NOW
    }
    explained = {one.pool_key for one in verdicts if one.cause in (*WHY_NOW, "server_full")}
    down = {one.target for one in verdicts if one.cause == "database_down"}
    return [key for key in found if key not in explained and key[2] not in down]


@settings(max_examples=80, deadline=None)
@given(st.lists(processes, max_size=8), st.randoms(use_true_random=False))
def test_verdicts_do_not_depend_on_the_order_of_processes_and_do_not_contradict_each_other(told, dice):
    verdicts = diagnosed(told, {"shop": 5, "mail": 5}, 1e6)
    assert contradicting(verdicts) == []
    assert unexplained(told, verdicts) == []
    assert len({verdict.subject for verdict in verdicts}) == len(verdicts)
    shuffled = told.copy()
    dice.shuffle(shuffled)
    assert diagnosed(shuffled, {"shop": 5, "mail": 5}, 1e6) == verdicts


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.lists(processes, max_size=4), st.floats(0, 6), st.floats(-1e4, 1e4)), max_size=12))
def test_each_beginning_has_one_end_whatever_the_time_of_day_does(steps):
    diagnosis = Diagnosis()
    now, standing = 0.0, 0
    for told, later, wall_time in steps:
        now += later
        events = diagnosis.take(diagnosed(told, {}, wall_time), now, wall_time)
        standing += sum(event.kind == "verdict" for event in events) - sum(
            event.kind == "ended" for event in events
        )
        assert standing == len(diagnosis.verdicts())
    events = diagnosis.take((), now + 100, 0.0)
    assert diagnosis.verdicts() == ()
    assert standing == sum(event.kind == "ended" for event in events)


def test_one_sick_process_of_a_thousand_is_the_main_verdict_and_not_drowned():
    small = Finding("pool_too_small", 1, numbers=(20.0,))
    leak = Finding("leak", 1, "a.py:1 in f", numbers=(12.0, 15.0))
    told = [ProcessFindings("web1", "shop", f"{n}:a", (small,), POOLS) for n in range(999)]
    verdicts = diagnosed([*told, ProcessFindings("web2", "shop", "sick:b", (leak,), POOLS)], {"shop": 1000}, 0.0)
    assert [(verdict.cause, verdict.hosts, verdict.processes) for verdict in verdicts] == [
        ("leak", ("web2",), (1, 1000)),
        ("pool_too_small", ("web1",), (999, 1000)),
    ]
