import pytest

from poolhouse.fleet.snapshot import Health, Holder, Rates, Row, Snapshot
from poolhouse.meter.signs import SiteReading
from poolhouse.verdicts.verdict import Verdict
from poolhouse.views.failing import Check, parse_conditions

FLEET = Snapshot(
    1000.0,
    Row(""),
    (
        Row("shop", used=19, max_open=20, waiting=3, idle=1, saturated_pools=1, rates=Rates(timeouts=0.5)),
        Row("mail", used=1, max_open=None, waiting=0, idle=0, saturated_pools=0, rates=Rates(timeouts=0.0)),
    ),
    (),
    Health(),
    holders=(Holder("shop", 1, SiteReading("a.py:1 in f", 3, 61.0)),),
    verdicts=(Verdict("leak", 970.0, "shop"), Verdict("duplicate_engines", 990.0, "mail")),
)


@pytest.mark.parametrize(
    ("text", "program", "fails"),
    [
        ("leak", None, True),
        ("leak", "mail", False),
        ("held_idle", None, False),
        ("duplicate-engines", None, True),
        ("leak:30s", None, True),
        ("leak:31s", None, False),
        ("alarm", None, True),
        ("alarm", "mail", False),
        ("notice", "mail", True),
        ("notice", "shop", True),
        ("saturated", None, True),
        ("saturated", "mail", False),
        ("used>90%", None, True),
        ("used>=95%", None, True),
        ("used>95%", None, False),
        ("used>90%", "mail", False),
        ("used>18", None, True),
        ("idle>0", "mail", False),
        ("waiting>=3", None, True),
        ("oldest>60s", None, True),
        ("oldest>1m", None, True),
        ("oldest>2min", None, False),
        ("oldest>60", None, True),
        ("timeouts>0", None, True),
        ("timeouts>0", "mail", False),
        ("connect_errors>0", None, False),
        ("held_idle, waiting>2", None, True),
    ],
)
def test_a_condition_holds_or_not(text, program, fails):
    check = Check(parse_conditions(text), program)
    check.take(FLEET, 0.0)
    assert bool(check.failed) == fails


@pytest.mark.parametrize(
    "text",
    ["", "leek", "used", "used>", "used<3", "used>90%:", "used>90%:soon", "used>9s", "oldest>50%", "timeouts>5%",
     "waiting>5:30", "p99>3", "waiting>-1"],
)  # fmt: skip
def test_what_is_not_understood_is_said_in_a_sentence(text):
    with pytest.raises(ValueError, match=r": (there are saturated|expected a duration|\w+ is |only used)"):
        parse_conditions(text)


def test_a_number_must_hold_in_every_snapshot_of_its_time():
    check = Check(parse_conditions("waiting>2:10s"))
    assert check.longest_s == 10.0
    assert not check.take(FLEET, 100.0)
    assert not check.take(FLEET, 109.9)
    assert check.take(FLEET, 110.0)
    assert check.failed == ["waiting>2:10s"]


def test_once_it_does_not_hold_the_answer_is_known():
    check = Check(parse_conditions("waiting>2:10s"))
    calm = FLEET._replace(programs=FLEET.programs[1:])
    assert not check.take(FLEET, 100.0)
    assert check.take(calm, 101.0)
    assert check.failed == []
    assert not check.take(FLEET, 102.0)
    assert not check.take(FLEET, 111.0), "it begins again"


def test_one_that_holds_is_enough():
    check = Check(parse_conditions("waiting>2:10s,leak"))
    assert check.take(FLEET, 100.0)
    assert check.failed == ["leak"]


def test_without_conditions_nothing_fails():
    check = Check(())
    assert check.take(FLEET, 0.0)
    assert check.failed == []
