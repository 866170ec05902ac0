"""Whether a pool can serve: the pure function behind `poolhouse.ready`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.meter.connect_errors import Failing
from poolhouse.verdicts.readiness import FAILED_S, PATIENCE_S, Condition, decide
from poolhouse.verdicts.verdict import Verdict

NOW = 1000.0
REFUSED = Failing(NOW - 12, NOW - 1, "refused", 0)
FULL = Condition(used=5, most=5, waiting=1, taken_at=NOW - PATIENCE_S)
LEAK = Verdict("leak", 0.0, "shop", evidence=(("kept", 5.0), ("max", 5.0), ("oldest_s", 90.0)))
SMALL = Verdict("pool_too_small", 0.0, "shop")


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (Condition(), ""),
        (Condition(idle=1, used=4, most=5), ""),
        (Condition(was_closed=True), "the pool is closed"),
        (Condition(is_open=False), "the pool is not open yet"),
        (Condition(failing=REFUSED), "no connection could be made for 12 s (refused)"),
        (Condition(failing=REFUSED, idle=1), ""),
        (Condition(failing=REFUSED, used=1), ""),
        (FULL, "5 of 5 connections are in use, and none has come back for 10 s; 1 waits"),
        (FULL._replace(taken_at=NOW - PATIENCE_S + 1), ""),
        (FULL._replace(waiting=0), ""),
        (FULL._replace(waiting=0, timed_out_at=NOW - 11), ""),
        (
            FULL._replace(waiting=0, timed_out_at=NOW - 3),
            "5 of 5 connections are in use, and none has come back for 10 s; 0 wait",
        ),
        (FULL._replace(idle=1, used=4), ""),
        (FULL._replace(most=None), ""),
        (FULL._replace(taken_at=None), ""),
        (
            FULL._replace(verdict=LEAK),
            "5 of 5 connections are in use, and none has come back for 10 s; 1 waits; "
            "leak: a line keeps 5 of 5 connections, oldest 90 s; its call has ended",
        ),
    ],
)
def test_a_pool_is_ready_unless_it_cannot_serve(condition: Condition, reason: str) -> None:
    readiness = decide(condition, NOW)
    assert (bool(readiness), readiness.reason) == (not reason, reason)
    assert str(readiness) == (reason or "ready")


def test_a_failed_connect_counts_for_a_while_only() -> None:
    """Engines connect for a caller only: if nobody is let in, nobody finds out that the server is back."""
    old = REFUSED._replace(last=NOW - FAILED_S - 1)
    assert decide(Condition(failing=old), NOW)


def test_a_verdict_alone_makes_no_pool_unready() -> None:
    for verdict in (LEAK, SMALL):
        readiness = decide(Condition(idle=0, used=5, most=5, taken_at=NOW - 1, waiting=9, verdict=verdict), NOW)
        assert readiness
        assert readiness.verdict is verdict


def test_what_is_unknown_is_ready_and_says_so() -> None:
    readiness = decide(Condition(is_known=False), NOW)
    assert readiness
    assert "nothing is known" in readiness.reason


@given(
    st.builds(
        Condition,
        is_open=st.booleans(),
        was_closed=st.booleans(),
        idle=st.integers(0, 5),
        used=st.integers(0, 5),
        most=st.none() | st.integers(0, 5),
        waiting=st.integers(0, 5),
        taken_at=st.none() | st.floats(0, NOW),
        timed_out_at=st.none() | st.floats(0, NOW),
        failing=st.none() | st.just(REFUSED),
        verdict=st.sampled_from([None, LEAK, SMALL]),
    )
)
def test_whoever_is_not_ready_has_a_reason_and_no_idle_connection_unless_it_is_not_open(
    condition: Condition,
) -> None:
    readiness = decide(condition, NOW)
    if not readiness:
        assert readiness.reason
        assert condition.was_closed or not condition.is_open or not condition.idle
