from collections.abc import Iterator

import pytest

from poolhouse.fleet import diagnose as module
from poolhouse.fleet.diagnose import (
    A_GROUP,
    JOINED_AT_ONCE,
    SORTED_AT_ONCE,
    ProcessFindings,
    ServerUse,
    diagnose,
)
from poolhouse.fleet.diagnosis import LINGER_S, Diagnosis
from poolhouse.meter.signs import Finding
from poolhouse.verdicts.verdict import Culprit
from support.diagnosed import diagnosed

POOLS = {1: ("db:5432/shop", "db:5432/shop")}


def says(*findings, host="web1", program="shop", token="1:a"):
    return ProcessFindings(host, program, token, findings, POOLS)


def leak(site="a.py:1 in f", age=3.0, kept=4.0, line=""):
    return Finding("leak", 1, site, line, age, (kept, 15.0, 9.0, 2.0))


def finding(cause, *numbers, site="a.py:1 in f"):
    return Finding(cause, 1, site, "", 0.0, numbers)


def test_equal_findings_of_many_processes_are_one_verdict():
    verdicts = diagnosed(
        [says(leak(), host="web1"), says(leak(age=9.0, kept=7.0, line="b.py:2 in g"), host="web2")],
        {"shop": 40},
        1000.0,
    )
    (verdict,) = verdicts
    assert (verdict.cause, verdict.program, verdict.hosts, verdict.processes) == (
        "leak", "shop", ("web1", "web2"), (2, 40),
    )  # fmt: skip
    assert verdict.since == 991.0
    assert verdict.culprit == Culprit("a.py", 1, "f", now_at="b.py:2 in g")
    assert (verdict.pool, verdict.target) == ("db:5432/shop", "db:5432/shop")
    assert verdict.evidence == (("kept", 7.0), ("max", 15.0), ("oldest_s", 9.0), ("waiting", 2.0))


def test_another_line_is_another_verdict():
    verdicts = diagnosed([says(leak(), leak("b.py:2 in g"))], {"shop": 1}, 0.0)
    assert [verdict.culprit.file for verdict in verdicts] == ["a.py", "b.py"]


def test_a_full_server_says_who_has_its_connections_over_all_databases_of_it():
    servers = [
        ServerUse("db:5432/shop", "shop", 60, 150),
        ServerUse("db:5432/mail", "mail", 30, None),
        ServerUse("db:5432/shop", "mail", 5, 10),
        ServerUse("other:5432/shop", "far", 500, 500),
    ]
    (verdict,) = diagnosed([says(finding("server_full", 7.0, site=""))], {"shop": 1}, 0.0, servers)
    assert verdict.shares == (("shop", 60, 150), ("mail", 35, None))
    assert (verdict.number("refused"), verdict.number("open"), verdict.number("may_open")) == (7.0, 95, 0)


def test_of_several_reasons_why_a_pool_is_used_up_only_that_of_most_processes_is_told():
    small = [says(finding("pool_too_small", 20.0, site=""), token=f"{n}:a") for n in range(3)]
    slow = [says(finding("slow_statement", 0.9), token="9:a")]
    (verdict,) = diagnosed([*small, *slow], {"shop": 4}, 0.0)
    assert (verdict.cause, verdict.processes) == ("pool_too_small", (3, 4))


def test_one_sick_process_of_a_thousand_is_told_beside_what_the_others_have():
    small = [says(finding("pool_too_small", 20.0, site=""), token=f"{n}:a") for n in range(999)]
    verdicts = diagnosed([*small, says(leak(), token="sick:a")], {"shop": 1000}, 0.0)
    assert [(verdict.cause, verdict.processes) for verdict in verdicts] == [
        ("leak", (1, 1000)),
        ("pool_too_small", (999, 1000)),
    ]


def test_while_the_database_is_down_nothing_is_said_of_why_its_pools_are_used_up():
    verdicts = diagnosed(
        [
            says(finding("database_down", 3.0, site=""), token="1:a"),
            says(finding("held_idle", 0.9), token="2:a"),
        ],
        {"shop": 2},
        0.0,
    )
    assert [verdict.cause for verdict in verdicts] == ["database_down"]


def test_while_a_pool_is_refused_connects_nothing_else_is_said_of_why_it_is_used_up():
    verdicts = diagnosed(
        [says(finding("server_full", 7.0, site="")), says(finding("held_idle", 0.9), token="2:a")],
        {"shop": 2},
        0.0,
    )
    assert [verdict.cause for verdict in verdicts] == ["server_full"]


def test_a_pool_that_has_its_connections_has_its_own_reason_whoever_the_server_refuses():
    replica = ProcessFindings(
        "web1", "shop", "3:a", (finding("held_idle", 0.9),), {1: ("replica", "db:5432/shop")}
    )
    verdicts = diagnosed(
        [
            says(finding("server_full", 7.0, site=""), program="mail"),
            says(finding("slow_statement", 0.9)),
            says(finding("server_full", 7.0, site=""), token="2:a", program="post"),
            replica,
        ],
        {"shop": 2, "mail": 1, "post": 1},
        0.0,
    )
    assert [(verdict.cause, verdict.program, verdict.pool) for verdict in verdicts] == [
        ("server_full", "mail", "db:5432/shop"),
        ("server_full", "post", "db:5432/shop"),
        ("slow_statement", "shop", "db:5432/shop"),
        ("held_idle", "shop", "replica"),
    ]


def test_a_verdict_begins_and_ends_once():
    diagnosis = Diagnosis()
    verdicts = diagnosed([says(leak())], {"shop": 1}, 100.0)
    (event,) = diagnosis.take(verdicts, 0.0, 100.0)
    assert (event.kind, event.host, event.program) == ("verdict", "web1", "shop")
    assert event.text.startswith("leak: a.py:1 in f keeps 4 of 15 connections")
    assert diagnosis.take(verdicts, 1.0, 101.0) == ()
    assert diagnosis.take((), 2.0, 102.0) == (), "a process that restarts says it again"
    assert diagnosis.verdicts() == verdicts
    (event,) = diagnosis.take((), 1.0 + LINGER_S, 105.0)
    assert (event.kind, event.text) == ("ended", "leak on shop on web1 has ended")
    assert diagnosis.verdicts() == ()
    assert [event.kind for event in diagnosis.events(106.0)] == ["verdict", "ended"]


def test_a_verdict_that_takes_the_place_of_another_is_one_change():
    diagnosis = Diagnosis()
    diagnosis.take(diagnosed([says(finding("pool_too_small", 20.0, site=""))], {"shop": 1}, 0.0), 0.0, 0.0)
    (event,) = diagnosis.take(diagnosed([says(leak())], {"shop": 1}, 2.0), 2.0, 2.0)
    assert event.kind == "changed"
    assert event.text.startswith("pool_too_small is now leak: a.py:1 in f keeps")
    assert [verdict.cause for verdict in diagnosis.verdicts()] == ["leak"]


def test_two_reasons_of_about_as_many_processes_do_not_take_turns():
    """Findings come and go in single processes; the verdict on all of them stays what it was."""
    diagnosis = Diagnosis()
    kinds: list[str] = []
    for second in range(20):
        idle, slow = (3, 4) if second % 2 else (4, 3)
        told = [says(finding("held_idle", 0.9), token=f"{n}:a") for n in range(idle)]
        told += [says(finding("slow_statement", 0.9, site="b.py:2 in g"), token=f"{n}:b") for n in range(slow)]
        verdicts = diagnosed(told, {"shop": 9}, 0.0, standing=diagnosis.verdicts())
        kinds += [event.kind for event in diagnosis.take(verdicts, float(second), 0.0)]
    assert kinds == ["verdict"]
    assert [verdict.cause for verdict in diagnosis.verdicts()] == ["held_idle"]


def test_a_reason_gives_way_to_one_of_more_than_twice_as_many_processes():
    diagnosis = Diagnosis()
    idle = [says(finding("held_idle", 0.9), token=f"{n}:a") for n in range(3)]
    slow = [says(finding("slow_statement", 0.9), token=f"{n}:b") for n in range(7)]
    diagnosis.take(diagnosed(idle, {"shop": 9}, 0.0), 0.0, 0.0)
    told = [*idle, *slow[:6]]
    assert diagnosis.take(diagnosed(told, {"shop": 9}, 0.0, standing=diagnosis.verdicts()), 0.5, 0.0) == ()
    (event,) = diagnosis.take(diagnosed([*idle, *slow], {"shop": 9}, 0.0, standing=diagnosis.verdicts()), 1.0, 0.0)
    assert (event.kind, event.text[:32]) == ("changed", "held_idle is now slow_statement:")


def test_a_verdict_is_as_old_as_its_first_witness_said():
    diagnosis = Diagnosis()
    diagnosis.take(diagnosed([says(leak(age=9.0))], {"shop": 2}, 100.0), 0.0, 100.0)
    diagnosis.take(diagnosed([says(leak(age=1.0), token="2:b")], {"shop": 2}, 101.0), 1.0, 101.0)
    assert diagnosis.verdicts()[0].since == 91.0


def test_how_long_a_verdict_stands_does_not_depend_on_the_time_of_day():
    """A machine that starts with a wrong clock sets it later, and ``--fail-on leak:30s`` counts these seconds."""
    diagnosis = Diagnosis()
    diagnosis.take(diagnosed([says(leak(age=9.0))], {"shop": 1}, 100.0), 0.0, 100.0)
    for now, wall_time in ((1.0, 5001.0), (2.0, 5002.001), (3.0, 40.0)):
        diagnosis.take(diagnosed([says(leak(age=9.0 + now))], {"shop": 1}, wall_time), now, wall_time)
        assert abs(wall_time - diagnosis.verdicts()[0].since - (9.0 + now)) < 0.1
    diagnosis.take((), 4.0, 9000.0)
    assert 9000.0 - diagnosis.verdicts()[0].since == 13.0, "while it lingers, too"


def test_since_when_a_verdict_stands_does_not_change_each_second():
    """The time of day and the aggregator's own clock are read at different instants."""
    diagnosis = Diagnosis()
    told = set()
    for second in range(20):
        wall_time = 1000.0 + second * 1.0001
        diagnosis.take(
            diagnosed([says(leak(age=float(second)))], {"shop": 1}, wall_time), float(second), wall_time
        )
        told.add(diagnosis.verdicts()[0].since)
    assert told == {1000.0}


def test_events_are_kept_for_a_day():
    diagnosis = Diagnosis()
    diagnosis.take(diagnosed([says(leak())], {"shop": 1}, 0.0), 0.0, 0.0)
    assert len(diagnosis.events(86_399.0)) == 1
    assert diagnosis.events(86_401.0) == ()


def test_no_step_joins_the_findings_of_many_processes(monkeypatch: pytest.MonkeyPatch):
    told = [says(leak(), leak(f"a.py:{number} in g"), token=f"{number}:a") for number in range(2_000)]
    verdicts = diagnosed(told, {"shop": 2_000}, 0.0)
    joined, done = module._joined, {"processes": 0, "findings": 0}

    def taken() -> Iterator[ProcessFindings]:
        for one in told:
            done["processes"] += 1
            yield one

    def join(key, group, *more):
        done["findings"] += A_GROUP + len(group.findings)
        return joined(key, group, *more)

    def all_of_it() -> Iterator[None]:
        assert (yield from diagnose(taken(), {"shop": 2_000}, 0.0)) == verdicts
        yield

    monkeypatch.setattr(module, "_joined", join)
    number = 0
    for _ in all_of_it():
        number += 1
        # One group has a finding of each process; it is joined at once.
        assert done["processes"] <= SORTED_AT_ONCE
        assert done["findings"] < JOINED_AT_ONCE + A_GROUP + len(told)
        done.update(processes=0, findings=0)
    assert number > len(told) // SORTED_AT_ONCE + len(told) * A_GROUP // JOINED_AT_ONCE


def test_a_few_processes_are_one_step():
    with pytest.raises(StopIteration):
        next(diagnose([says(leak(), token=f"{number}:a") for number in range(50)], {}, 0.0))


def test_the_line_at_which_most_are_is_found_without_comparing_each_with_each():
    class Line(str):
        __slots__ = ()
        compared = 0

        def __eq__(self, other: object) -> bool:
            Line.compared += 1
            return super().__eq__(other)

        __hash__ = str.__hash__

    lines = [Line(f"b.py:{number % 999} in g") for number in range(1_000)]
    (verdict,) = diagnosed([says(leak(line=line), token=f"{n}:a") for n, line in enumerate(lines)], {}, 0.0)
    assert verdict.culprit == Culprit("a.py", 1, "f", now_at="b.py:0 in g")
    assert Line.compared < 5 * len(lines)
