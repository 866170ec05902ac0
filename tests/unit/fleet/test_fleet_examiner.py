"""From the findings of processes to the verdicts of a snapshot."""

from collections import Counter
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poolhouse.fleet.diagnosis import LINGER_S
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.snapshot import Event
from poolhouse.meter.reading import Gauges
from poolhouse.meter.signs import Finding, PoolSigns, ProcessSigns, SiteReading
from poolhouse.verdicts.verdict import Culprit
from support.reporting import ModelProcess

SITE = "app/export.py:88 in rows"
LEAK = Finding("leak", 1, SITE, "", 9.0, (12.0, 15.0, 9.1, 23.0, 0.0, 1.0))


def process(token: str, *findings: Finding, **how: object) -> ModelProcess:
    one = ModelProcess(token, **how)
    one.pool.signs = PoolSigns("db1:5432/shop", sites=(SiteReading(SITE, 3),))
    one.signs, one.findings = ProcessSigns(10), findings
    return one


def test_equal_findings_of_several_processes_are_one_verdict(aggregator):
    some = [process("1:aaaaaa", LEAK), process("2:bbbbbb", LEAK, host="web2"), process("3:cccccc")]
    aggregator.every_interval(*some, times=2)
    (verdict,) = aggregator.snapshot().verdicts
    assert (verdict.cause, verdict.program, verdict.hosts, verdict.processes) == (
        "leak",
        "nova",
        ("web1", "web2"),
        (2, 3),
    )
    assert (verdict.pool, verdict.target) == ("db1:5432/shop", "db1:5432/shop")
    assert verdict.culprit == Culprit("app/export.py", 88, "rows")
    assert verdict.number("kept") == 12


def test_it_ends_when_nobody_finds_it_any_more_and_both_are_events(aggregator):
    heard: list[Event] = []
    aggregator.fleet.note_verdict = heard.append
    sick = process("1:aaaaaa", LEAK)
    aggregator.every_interval(sick)
    aggregator.fleet.expire(aggregator.now)
    sick.findings = ()
    for _ in range(6):
        aggregator.every_interval(sick)
        aggregator.fleet.expire(aggregator.now)
    assert aggregator.snapshot().verdicts == ()
    assert [event.kind for event in heard] == ["verdict", "ended"]
    assert [kind for kind, _ in aggregator.events()] == ["appeared", "verdict", "ended"]


@pytest.mark.parametrize("goodbye", [True, False])
def test_a_process_that_is_gone_has_found_nothing(aggregator, goodbye):
    sick = process("1:aaaaaa", LEAK)
    aggregator.every_interval(sick)
    if goodbye:
        aggregator.report(sick, goodbye=True)
    for _ in range(20):
        aggregator.now += 1.0
        aggregator.fleet.expire(aggregator.now)
    assert aggregator.snapshot().verdicts == ()


def test_a_full_server_tells_who_uses_it(aggregator):
    full = Finding("server_full", 1, "", "", 2.0, (5.0, 0.0, 0.0))
    one, other = process("1:aaaaaa", full), process("2:bbbbbb", program="shop")
    one.pool.gauges, other.pool.gauges = Gauges(used=7), Gauges(used=2, idle=1)
    aggregator.every_interval(one, other)
    (verdict,) = aggregator.snapshot().verdicts
    assert verdict.shares == (("nova", 7, 10), ("shop", 3, 10))


def test_a_host_that_is_slower_than_the_others_is_found(aggregator):
    hosts = [process(f"{n}:aaaaaa", host=f"web{n}") for n in range(4)]
    for step in range(12):
        for number, one in enumerate(hosts):
            hold = 0.9 if number == 2 else 0.05
            site = SiteReading(SITE, 0, 0.0, 20 * step, held_s=20 * step * hold)
            one.pool.signs = one.pool.signs._replace(sites=(site,))
        aggregator.every_interval(*hosts)
        aggregator.fleet.expire(aggregator.now)
    (verdict,) = aggregator.snapshot().verdicts
    assert (verdict.cause, verdict.hosts) == ("slow_host", ("web2",))


FATES = st.sampled_from(["arrives", "arrives", "is lost", "comes twice", "comes late"])
STEPS = st.lists(st.tuples(FATES, st.floats(-1e4, 1e4), st.booleans()), min_size=24, max_size=24)


def hear(fates):
    """What a fleet tells of one sick process among others, which mends after half of the intervals.

    Args:
        fates: For each interval what becomes of its report, by how much the time of day is wrong at the aggregator
            and at the process, and whether a healthy process is started anew.
    """
    fleet, kinds = Fleet(FleetLimits(), 0.0), Counter[str]()
    fleet.note_verdict = lambda event: kinds.update([event.kind])
    sick, late, now, in_a_row = process("1:aaaaaa"), [], 0.0, 0
    for number, (fate, step, is_new) in enumerate(fates):
        now += 2.0
        in_a_row = in_a_row + 1 if fate in ("is lost", "comes late") else 0
        sick.findings = (LEAK._replace(age_s=now),) if number < len(fates) / 2 else ()
        sick.clock_error = step
        told = sick.report(now)
        other = process(f"{2 + number * is_new}:bbbbbb", host="web2")
        arriving = [*other.report(now)]
        # After three silent intervals it would be gone.
        if fate in ("arrives", "comes twice") or in_a_row > 1:
            arriving += told * (1 + (fate == "comes twice")) + late
            late = []
        elif fate == "comes late":
            late += told
        for datagram in arriving:
            fleet.receive(datagram, now, 1.7e9 + now + step)
        for second in (0.0, 1.0):
            fleet.expire(now + second)
            assert [(one.cause, one.program, one.hosts) for one in fleet.verdicts()] in (
                [], [("leak", "nova", ("web1",))],
            )  # fmt: skip
            assert len(fleet.verdicts()) == kinds["verdict"] - kinds["ended"]
            # It began with the process, which says so in each report.
            assert all(abs(1.7e9 + now + step - one.since - now) < 1.5 for one in fleet.verdicts())
    for _ in range(10):
        now += 2.0
        for datagram in sick.report(now):
            fleet.receive(datagram, now, 1.7e9 + now)
        fleet.expire(now)
    return kinds


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_lost_repeated_and_late_reports_restarts_and_clock_steps_neither_begin_nor_end_a_verdict(fates):
    assert hear([("arrives", 0.0, False), *fates]) == {"verdict": 1, "ended": 1}


#: The intervals in which a process works, shows the leak, and is over before the next one starts; how it ends.
LIVES = st.lists(
    st.tuples(st.integers(1, 8), st.integers(0, 8), st.integers(0, 2), st.sampled_from(["goodbye", "killed"])),
    min_size=1,
    max_size=4,
)
#: A process that says nothing any more is gone after three intervals, and is asked for each second.
UNTIL_SILENT = 3 * 2.0 + 1.0


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(LIVES)
@example([(1, 4, 0, "killed"), (8, 4, 0, "goodbye")])
@example([(1, 4, 0, "goodbye"), (1, 4, 0, "killed")])
def test_when_the_sick_process_is_restarted_its_verdict_ends_with_it_and_begins_when_the_new_one_shows_it(lives):
    """What the old process held is gone with it. The new one is well until it finds the leak in itself."""
    fleet, kinds = Fleet(FleetLimits(), 0.0), Counter[str]()
    fleet.note_verdict = lambda event: kinds.update([event.kind])
    peer = process("99:bbbbbb", host="web2")
    now, until, was_gone = 0.0, -inf, True
    for number, (well, sick, over, end) in enumerate(lives):
        one, started = process(f"{number}:aaaaaa", born=now), now
        for interval in range(well + sick + over):
            now += 2.0
            datagrams = peer.report(now)
            if interval < well + sick:
                is_sick = interval >= well
                one.findings = (LEAK._replace(age_s=2.0 * (interval - well)),) if is_sick else ()
                datagrams += one.report(now)
                until = now if is_sick else until
            for datagram in datagrams:
                fleet.receive(datagram, now, 1.7e9 + now)
            for second in (0.0, 1.0):
                if second and interval == well + sick - 1 and end == "goodbye":
                    for datagram in one.report(now + second, goodbye=True):
                        fleet.receive(datagram, now + second, 1.7e9 + now + second)
                fleet.expire(now + second)
                standing = fleet.verdicts()
                if until == now:
                    assert [(one.cause, one.hosts) for one in standing] == [("leak", ("web1",))]
                if now + second > until + UNTIL_SILENT + LINGER_S + 1.0:
                    assert standing == ()
                if standing and was_gone:
                    assert standing[0].since >= 1.7e9 + started, "it is the new one's"
                was_gone = not standing
    for _ in range(20):
        now += 1.0
        fleet.expire(now)
    assert fleet.verdicts() == ()
    assert kinds["verdict"] == kinds["ended"] <= sum(sick > 0 for _, sick, _, _ in lives)


@pytest.mark.parametrize("delay", [1, 5, 15])
def test_reports_of_the_old_process_that_arrive_after_its_goodbye_do_not_bring_its_verdict_back(aggregator, delay):
    """The new process is well; the network still has what the old one said of itself."""
    heard: list[Event] = []
    aggregator.fleet.note_verdict = heard.append
    old, new = process("1:aaaaaa", LEAK), process("2:bbbbbb")
    aggregator.every_interval(old, times=3)
    aggregator.fleet.expire(aggregator.now)
    late = [*old.report(aggregator.now + 1.0), *old.report(aggregator.now + 1.5)]
    aggregator.report(old, goodbye=True)
    for number in range(delay + 10):
        aggregator.every_interval(new)
        aggregator.receive(*(late if number == delay else ()))
        aggregator.fleet.expire(aggregator.now)
    assert [event.kind for event in heard] == ["verdict", "ended"]
    assert aggregator.snapshot().verdicts == ()
