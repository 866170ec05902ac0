"""Who connects to whom, who is let in, and how long to rest."""

import pytest

from poolhouse.cluster.links import FIRST_REST_S, LONGEST_REST_S, Rest, dials, refusal, stranger

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
