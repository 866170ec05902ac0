import pytest

from poolhouse.meter.signs import MOST_NUMBERS, Finding
from poolhouse.verdicts.causes import BY_NAME, CAUSES, rank_of
from poolhouse.verdicts.verdict import Culprit, Verdict, main_first, parse_line
from poolhouse.verdicts.words import finding_sentence, place_of, reason_of, sentence


def test_a_leak_names_the_line_what_it_keeps_and_who_waits():
    verdict = Verdict(
        "leak",
        0.0,
        "billing",
        ("host7",),
        culprit=parse_line("app/export.py:88 in rows"),
        evidence=(("kept", 12.0), ("max", 15.0), ("oldest_s", 9.1), ("waiting", 23.0)),
    )
    assert sentence(verdict) == (
        "app/export.py:88 in rows keeps 12 of 15 connections, oldest 9 s; its call has ended; 23 wait"
    )
    assert place_of(verdict) == "billing on host7"


def test_an_error_that_says_who_waits_now_has_no_second_number_from_the_verdict():
    numbers = (("kept", 1.0), ("max", 1.0), ("oldest_s", 9.1), ("waiting", 1.0))
    verdict = Verdict("leak", 0.0, "shop", culprit=parse_line("a.py:8 in rows"), evidence=numbers)
    assert reason_of(verdict) == "leak: a.py:8 in rows keeps 1 of 1 connections, oldest 9 s; its call has ended"


def test_what_a_process_says_of_itself_is_the_same_sentence_with_its_cause():
    finding = Finding("leak", 1, "app/export.py:88 in rows", "", 3.0, (12.0, 15.0, 9.1, 1.0, 0.0, 1.0))
    assert finding_sentence(finding) == (
        "leak: app/export.py:88 in rows keeps 12 of 15 connections, oldest 9 s; its call has ended; 1 waits"
    )


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_every_cause_has_a_sentence_for_any_numbers(cause):
    for site, line in (("", ""), ("a.py:1 in f via b.py:2 in g", "c.py:3 in h")):
        for numbers in ((), (0.0,) * MOST_NUMBERS, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)):
            told = finding_sentence(Finding(cause.name, 1, site, line, 0.0, numbers), "db:5432/shop")
            assert told.startswith(f"{cause.name}: ")
            assert "nan" not in told


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_the_table_is_complete(cause):
    assert cause.severity in ("alarm", "notice")
    assert 0 < len(cause.numbers) <= MOST_NUMBERS
    assert cause.thresholds
    for threshold in cause.thresholds:
        assert cause[threshold.name] == threshold.value
        assert threshold.reason
    for text in (cause.evidence, cause.do, cause.disprove):
        assert text.endswith(".")
    with pytest.raises(KeyError):
        cause["no such threshold"]
    assert len(cause.name) <= 20, "it is sent in reports"


def test_alarms_come_before_notices_and_unknown_causes_last():
    ranked = sorted(["cause_of_tomorrow", "duplicate_engines", "pool_too_small", "database_down"], key=rank_of)
    assert ranked == ["database_down", "pool_too_small", "duplicate_engines", "cause_of_tomorrow"]
    assert len(BY_NAME) == len(CAUSES)


def test_a_cause_that_this_version_does_not_know_is_shown_with_its_line():
    verdict = Verdict("cause_of_tomorrow", 0.0, "shop", culprit=parse_line("a.py:1 in f"))
    assert sentence(verdict) == "a.py:1 in f"
    assert (verdict.severity, verdict.do, verdict.disprove) == ("alarm", "", "")


def test_of_two_verdicts_the_main_one_is_that_of_more_processes():
    few = Verdict("leak", 5.0, "shop", processes=(1, 10))
    many = Verdict("leak", 9.0, "mail", processes=(7, 10))
    assert sorted([few, many], key=main_first) == [many, few]


@pytest.mark.parametrize(
    ("site", "culprit"),
    [
        ("a b/c:d.py:12 in f.<locals>.g", Culprit("a b/c:d.py", 12, "f.<locals>.g")),
        ("a.py:12", Culprit("a.py", 12)),
        ("other", Culprit("", 0, "other")),
        (f"a.py:{'9' * 40} in f", Culprit("a.py", 999999999, "f")),
    ],
)
def test_a_sites_name_is_read_whatever_it_is(site, culprit):
    assert parse_line(site) == culprit


def test_the_present_line_is_told_only_where_it_differs():
    assert parse_line("a.py:1 in f", "a.py:1 in f") == Culprit("a.py", 1, "f")
    assert parse_line("a.py:1 in f", "a.py:9 in g") == Culprit("a.py", 1, "f", now_at="a.py:9 in g")
