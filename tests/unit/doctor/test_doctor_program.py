from poolhouse.doctor.finding import Verdict as Standing
from poolhouse.doctor.probe import judge_program
from poolhouse.fleet.snapshot import Health, Row, Snapshot
from poolhouse.verdicts.verdict import Verdict, parse_line

LEAK = Verdict(
    "leak",
    0.0,
    "shop",
    ("web1",),
    culprit=parse_line("app/export.py:88 in rows"),
    evidence=(("kept", 12.0), ("max", 15.0), ("oldest_s", 9.1)),
)


def fleet(*verdicts: Verdict) -> Snapshot:
    return Snapshot(0.0, Row(""), (Row("shop"), Row("mail")), (), Health(), verdicts=verdicts)


def test_the_verdicts_that_stand_for_the_program_are_told() -> None:
    finding = judge_program(fleet(LEAK), "shop")
    assert finding.verdict is Standing.WRONG
    assert finding.text == (
        "leak  shop on web1: app/export.py:88 in rows keeps 12 of 15 connections, oldest 9 s; its call has ended "
        "(poolhouse explain leak)"
    )


def test_a_notice_is_nothing_wrong() -> None:
    assert judge_program(fleet(Verdict("duplicate_engines", 0.0, "shop")), "shop").verdict is Standing.FINE


def test_verdicts_on_others_are_none_of_it() -> None:
    finding = judge_program(fleet(LEAK), "mail")
    assert finding == (Standing.FINE, "program", "mail reports, and nothing is wrong with its pools")


def test_a_program_that_does_not_report_is_said_to_be_silent() -> None:
    assert judge_program(fleet(LEAK), "cron").text == "no process of cron reports at present"
