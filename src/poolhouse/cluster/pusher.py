"""Chooses the node of a service for a task that only one may do: the first of the configuration that is up.

There is no election. Each node decides by its own view, so two nodes that do not see each other both do it.
"""

from collections.abc import Sequence

from poolhouse.fleet.snapshot import NodeState


def is_first_up(nodes: Sequence[NodeState]) -> bool:
    """Whether this node is the one; true without a cluster.

    >>> nodes = [NodeState("a", False, 4.0), NodeState("b", True, None), NodeState("c", False, None)]
    >>> is_first_up(nodes), is_first_up([nodes[2], nodes[1]]), is_first_up([])
    (True, False, True)

    Args:
        nodes: The nodes in the order of the configuration, as this node sees them.
    """
    return next((node.is_here for node in nodes if node.is_here or node.missing_for is None), True)
