"""The order and the times in which a client tries the nodes of its service."""

import random

import pytest

from poolhouse.report.nodes import FIRST_REST_S, JITTER, LAST_REST_S, Nodes

#: Any fixed seeds: the properties hold for each.
SEEDS = range(20)


def nodes(count: int, seed: int) -> Nodes:
    return Nodes(count, random.Random(seed).random)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_node_is_tried_once_before_a_rest(seed):
    ours = nodes(5, seed)
    tried = [ours.current]
    for _ in range(4):
        assert ours.due == 0.0
        ours.failed(100.0)
        tried.append(ours.current)
    assert sorted(tried) == [0, 1, 2, 3, 4]
    assert ours.due == 0.0
    ours.failed(100.0)
    assert 100.0 + FIRST_REST_S * (1 - JITTER) <= ours.due <= 100.0 + FIRST_REST_S


def test_rests_double_up_to_a_bound_and_begin_anew_once_a_node_was_reached():
    ours = Nodes(1, lambda: 0.0)
    rests = []
    for _ in range(8):
        ours.failed(0.0)
        rests.append(ours.due)
    assert rests == [1, 2, 4, 8, 16, LAST_REST_S, LAST_REST_S, LAST_REST_S]
    ours.reached()
    ours.failed(0.0)
    assert ours.due == FIRST_REST_S


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_node_was_lost_all_others_are_tried_at_once(seed):
    ours = nodes(3, seed)
    ours.failed(0.0)
    ours.reached()
    lost, tried = ours.current, set()
    for _ in range(2):
        ours.failed(50.0)
        assert ours.due == 0.0
        tried.add(ours.current)
    assert tried == {0, 1, 2} - {lost}


def test_clients_spread_over_the_nodes():
    begun = [nodes(3, seed).current for seed in range(300)]
    # A fair die thrown 300 times: each side within four standard deviations (8.2) of 100.
    assert all(67 <= begun.count(node) <= 133 for node in range(3))


def test_the_clients_of_a_node_that_died_do_not_return_in_one_instant():
    dues = set()
    for seed in range(50):
        ours = nodes(1, seed)
        ours.failed(0.0)
        dues.add(round(ours.due, 3))
    assert len(dues) > 40
