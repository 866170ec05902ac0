"""Random schedules of a service's nodes and its clients, through the real fleet and the real cluster.

`POOLHOUSE_CLUSTER_SCHEDULES` says how many; `support.cluster_world` what happens in each, and what must be true.
"""

import os

import pytest

from poolhouse.fleet.account import Account
from poolhouse.fleet.exchange import Exchange
from support.cluster_world import World

SCHEDULES = int(os.environ.get("POOLHOUSE_CLUSTER_SCHEDULES", "400"))
#: In so many parts, so that several workers share them.
PARTS = 8


def play(seeds: range) -> None:
    for seed in seeds:
        World(seed).run()


@pytest.mark.parametrize("part", range(PARTS))
def test_all_nodes_agree_whatever_happens(part: int) -> None:
    each = -(-SCHEDULES // PARTS)
    play(range(part * each, (part + 1) * each))


#: 11991: an earlier client's datagram was on its way to a node for 13 seconds.
@pytest.mark.parametrize("seed", [11991])
def test_nodes_agree_in_a_schedule_in_which_they_once_did_not(seed: int) -> None:
    play(range(seed, seed + 1))


def fails(seeds: int) -> bool:
    """Whether one of these schedules fails."""
    try:
        play(range(seeds))
    except AssertionError:
        return True
    return False


def test_without_the_service_s_beginning_nodes_differ(monkeypatch) -> None:
    monkeypatch.setattr(Exchange, "learn_since", lambda *_: None)
    assert fails(300)


def test_without_the_smaller_base_nodes_differ(monkeypatch) -> None:
    monkeypatch.setattr(Account, "_joined_base", lambda self, other, keeps_base, total: self.base)
    assert fails(300)


def test_a_total_joined_as_a_sum_counts_twice(monkeypatch) -> None:
    join = Account.join

    def add(self, other, keeps_base):
        joined = join(self, other, keeps_base)
        return joined._replace(amount=(joined.amount[0] + self.counts - self.base, joined.amount[1]))

    monkeypatch.setattr(Account, "join", add)
    assert fails(300)
