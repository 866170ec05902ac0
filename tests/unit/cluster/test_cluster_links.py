"""Who connects to whom, who is let in, how long to rest, and what the log says."""

import pytest

from poolhouse.cluster.links import (
    FIRST_REST_S,
    LONGEST_REST_S,
    MOST_LINES,
    Complaints,
    Rest,
    dials,
    refusal,
    stranger,
)

NAMES = ("node1", "node2", "node3")


def test_of_each_two_nodes_exactly_one_connects_and_the_other_lets_it_in():
    for one in NAMES:
        for other in NAMES:
            if one != other:
                assert dials(one, other) != dials(other, one)
                assert dials(one, other) == (refusal("default", other, NAMES, one) is None)


@pytest.mark.parametrize(
    ("guest", "words"),
    [
        ("node2", "itself"),
        ("node9", "has no node 'node9'"),
        ("", "has no node ''"),
        ("node3", "not the other way"),
    ],
)
def test_whoever_is_not_let_in_is_told_why(guest, words):
    assert words in (refusal("default", "node2", NAMES, guest) or "")


def test_a_node_of_another_name_or_service_is_not_the_one_that_was_meant():
    assert stranger("default", "node2", "default", "node2") is None
    assert "'node3'" in (stranger("default", "node2", "default", "node3") or "")
    assert "'other'" in (stranger("default", "node2", "other", "node2") or "")


def test_rests_grow_to_a_second_and_begin_anew_when_the_node_was_reached():
    rest = Rest(lambda: 0.0)
    rests = [rest.seconds() for _ in range(6)]
    assert rests[0] == FIRST_REST_S
    assert rests == sorted(rests)
    assert rests[-1] == LONGEST_REST_S
    rest.reached()
    assert rest.seconds() == FIRST_REST_S
    assert Rest(lambda: 0.999).seconds() == pytest.approx(FIRST_REST_S / 2, rel=0.01)


def test_a_node_is_said_to_be_missing_once_and_another_reason_after_a_while():
    complaints = Complaints(60.0)
    assert complaints.is_missing("node2", "refused", 0.0)
    assert not complaints.is_missing("node2", "refused", 100.0)
    assert complaints.is_missing("node2", "no route", 100.0)
    assert not complaints.is_missing("node2", "refused", 159.0)
    assert complaints.is_missing("node2", "refused", 160.0)
    assert complaints.is_missing("node3", "refused", 160.0)


def test_once_it_was_linked_that_it_is_missing_is_news():
    complaints = Complaints(60.0)
    assert complaints.is_missing("node2", "refused", 0.0)
    assert complaints.is_linked("node2", 1.0)
    assert complaints.is_missing("node2", "refused", 2.0)


def test_a_node_that_comes_and_goes_has_a_few_lines_in_a_while():
    complaints = Complaints(60.0)
    said = 0
    for second in range(60):
        said += complaints.is_linked("node2", float(second))
        said += complaints.is_missing("node2", "its connection has ended", second + 0.5)
    assert said == MOST_LINES
    assert complaints.is_linked("node2", 60.0)


def test_that_a_node_comes_and_goes_is_said_once_in_a_while():
    complaints = Complaints(60.0)
    said = []
    for second in range(130):
        complaints.is_linked("node2", float(second))
        said += [second] * complaints.is_restless("node2", float(second))
        assert not complaints.is_restless("node3", float(second))
    assert said == [MOST_LINES - 1, MOST_LINES - 1 + 60, MOST_LINES - 1 + 120]
