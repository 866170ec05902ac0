"""One node of a service pushes: whoever is up agrees on which."""

from itertools import product

from poolhouse.cluster.pusher import is_first_up
from poolhouse.fleet.snapshot import NodeState

NAMES = ("node1", "node2", "node3")


def seen_by(here: str, missing: set[str]) -> list[NodeState]:
    return [NodeState(name, name == here, 3.0 if name in missing and name != here else None) for name in NAMES]


def pushers(up: set[str]) -> list[str]:
    missing = set(NAMES) - up
    return [name for name in NAMES if name in up and is_first_up(seen_by(name, missing))]


def test_whichever_nodes_are_up_exactly_one_of_them_pushes() -> None:
    for states in product((False, True), repeat=3):
        up = {name for name, is_up in zip(NAMES, states, strict=True) if is_up}
        assert len(pushers(up)) == (1 if up else 0)


def test_the_next_node_takes_over_and_gives_back() -> None:
    assert pushers({"node1", "node2", "node3"}) == ["node1"]
    assert pushers({"node2", "node3"}) == ["node2"]
    assert pushers({"node1", "node2", "node3"}) == ["node1"]


def test_two_nodes_that_do_not_see_each_other_both_push() -> None:
    assert is_first_up(seen_by("node1", {"node2", "node3"}))
    assert is_first_up(seen_by("node2", {"node1", "node3"}))


def test_a_daemon_without_a_cluster_pushes() -> None:
    assert is_first_up([])
