"""From the findings of processes to the verdicts of a snapshot."""

from collections import Counter
from functools import partial
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poolhouse.fleet import examiner
from poolhouse.fleet.diagnosis import LINGER_S
from poolhouse.fleet.examiner import COMPARED, DECODED_AT_ONCE, MOST_DECODED
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.snapshot import Event
from poolhouse.meter.reading import Gauges
from poolhouse.meter.signs import Finding, PoolSigns, ProcessSigns, SiteReading
from poolhouse.verdicts.verdict import Culprit
from poolhouse.wire import signs
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


FULL = Finding("server_full", 1, "", "", 2.0, (5.0, 0.0, 0.0))


def in_steps(fleet: Fleet, now: float) -> int:
    """Examine a fleet; return the number of steps."""
    steps = 1
    while fleet.advance(now):
        steps += 1
    return steps


def counted_decoding(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the examiner decodes something of a process, by the name of the decoder."""
    decoded = Counter[str]()

    def count(name, decode, payloads):
        decoded[name] += 1
        return decode(payloads)

    for name in ("decode_signs", "decode_sites", "decode_targets"):
        monkeypatch.setattr(examiner, name, partial(count, name, getattr(examiner, name)))
    return decoded


@pytest.mark.parametrize("found", [1, 300])
def test_no_step_of_an_examination_decodes_many_processes(aggregator, monkeypatch, found):
    """A server that is full concerns all of them; a step of all would be a second without reports."""
    decoded = counted_decoding(monkeypatch)
    fleet = aggregator.fleet
    fleet.advances_in_steps = True
    everybody = [
        process(f"{number}:aaaaaa", *[FULL][: number < found], host=f"web{number % 100}") for number in range(600)
    ]
    aggregator.report(*everybody)
    most, total = 0, Counter[str]()
    while fleet.advance(aggregator.now):
        most, total = max(most, decoded.total()), total + decoded
        decoded.clear()
    assert 0 < most <= DECODED_AT_ONCE
    assert total == {"decode_signs": found, "decode_targets": 600, "decode_sites": 400}  # Four on each host.
    (verdict,) = fleet.verdicts()
    assert verdict.shares == (("nova", 0, 600 * 10),)


def test_processes_come_and_go_between_two_steps(aggregator):
    fleet = aggregator.fleet
    fleet.advances_in_steps = True
    everybody = [process(f"{number}:aaaaaa", FULL) for number in range(200)]
    for one in everybody:
        one.pool.gauges = Gauges(used=1)
    aggregator.report(*everybody)
    while fleet.advance(aggregator.now):
        if everybody:
            aggregator.report(everybody.pop(), goodbye=True)
            aggregator.report(process(f"{len(everybody)}:bbbbbb"))
    assert 100 < len(everybody) < 200
    (verdict,) = fleet.verdicts()
    assert verdict.processes[0] == len(everybody), "those that are gone by the last step have found nothing"
    aggregator.now += 2.0
    aggregator.report(*everybody)
    in_steps(fleet, aggregator.now)
    (verdict,) = fleet.verdicts()
    assert verdict.processes[0] == len(everybody)


def test_whoever_asks_next_goes_on_with_an_examination(aggregator):
    """Two threads of collectd ask for steps, and either may have to stop."""
    fleet = aggregator.fleet
    fleet.advances_in_steps = True
    aggregator.report(*[process(f"{number}:aaaaaa", LEAK) for number in range(100)])
    assert fleet.advance(aggregator.now)
    assert fleet.verdicts() == ()
    assert in_steps(fleet, aggregator.now + 1.0) > 1
    assert [verdict.processes for verdict in fleet.verdicts()] == [(100, 100)]
    assert in_steps(fleet, aggregator.now + 1.0) > 1, "by then the next one is due"
    assert in_steps(fleet, aggregator.now + 1.0) == 1, "and the one after that is not"


def test_a_verdict_does_not_begin_with_what_a_process_found_that_is_gone_by_the_last_step(aggregator):
    heard: list[Event] = []
    fleet = aggregator.fleet
    fleet.advances_in_steps, fleet.note_verdict = True, heard.append
    sick = process("1:aaaaaa", LEAK)
    aggregator.report(sick)
    assert fleet.advance(aggregator.now), "its findings are decoded"
    aggregator.report(sick, goodbye=True)
    in_steps(fleet, aggregator.now)
    assert (heard, fleet.verdicts()) == ([], ())


def test_what_programs_have_open_is_counted_the_more_seldom_the_more_processes_there_are(aggregator, monkeypatch):
    monkeypatch.setattr(examiner, "COUNT_SECONDS_A_PROCESS", 1.0)
    sick, *others = [process("1:aaaaaa", FULL), *(process(f"{n}:bbbbbb", interval=600.0) for n in range(3))]
    aggregator.report(*others)
    shares = []
    for used in range(8):
        sick.pool.gauges = Gauges(used=used)
        aggregator.every_interval(sick)
        aggregator.fleet.expire(aggregator.now)
        shares.append(aggregator.fleet.verdicts()[0].shares[0][1])
    assert shares == [0, 0, 2, 2, 4, 4, 6, 6]  # It reports every 2 s; four processes are counted every 4 s.


def test_an_examination_without_memory_is_made_later(aggregator, monkeypatch):
    fleet = aggregator.fleet
    fleet.advances_in_steps = True
    aggregator.report(*[process(f"{number}:aaaaaa", LEAK) for number in range(100)])
    assert fleet.advance(aggregator.now)

    def no_memory(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(examiner, "decode_signs", no_memory)
        assert not fleet.advance(aggregator.now)
    assert fleet.verdicts() == ()
    aggregator.now += 2.0
    in_steps(fleet, aggregator.now)
    assert [verdict.processes for verdict in fleet.verdicts()] == [(100, 100)]


def test_no_more_processes_are_decoded_than_an_examination_may(aggregator, monkeypatch):
    monkeypatch.setattr(examiner, "MOST_DECODED", 50)
    monkeypatch.setattr(examiner, "COMPARED", 10)
    assert (MOST_DECODED, COMPARED) == (2_000, 1_000)
    aggregator.report(*[process(f"{number}:aaaaaa", LEAK, host=f"web{number % 9}") for number in range(200)])
    decoded = counted_decoding(monkeypatch)
    aggregator.fleet.expire(aggregator.now)
    assert decoded == {"decode_signs": 50, "decode_sites": 10}


def test_of_a_process_that_sends_more_findings_than_ours_do_the_first_count(aggregator, monkeypatch):
    monkeypatch.setattr(signs, "MOST_FINDINGS", 9)
    sites = [f"app/export.py:{line} in rows" for line in range(9)]
    aggregator.report(process("1:aaaaaa", *(LEAK._replace(site=site) for site in sites)))
    aggregator.fleet.expire(aggregator.now)
    assert {verdict.culprit.line for verdict in aggregator.snapshot().verdicts} == {0, 1, 2, 3}
