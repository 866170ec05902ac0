"""Rounds in virtual time: what `tests/simulation` runs from fixed seeds, from fresh ones."""

from simulation.test_pool_cancellation import test_random_clients_and_cancellations_lose_nothing
from simulation.test_pool_threads import test_random_clients_on_a_failing_server_lose_nothing
from support.cluster_world import World
from support.pool_world import run

#: How many worlds a round of `core` goes through, and how many steps in each: before long a world is closed, or
#: its queue has grown until looking at it takes all the time.
WORLDS, STEPS = 20, 1_000
#: Schedules of a cluster in a round.
CLUSTER_SCHEDULES = 500


def core(seed: int) -> None:
    """Random steps of a core, every invariant after each; a world that fails is told by its own seed."""
    for number in range(seed, seed + WORLDS):
        try:
            run(number, STEPS)
        except Exception as error:
            raise AssertionError(f"world {number}") from error


def schedules(seed: int) -> None:
    """Threads whose schedule the seed decides."""
    test_random_clients_on_a_failing_server_lose_nothing(seed)


def cancellations(seed: int) -> None:
    """Tasks that are cancelled anywhere."""
    test_random_clients_and_cancellations_lose_nothing(seed)


def cluster(seed: int) -> None:
    """Schedules of a service's nodes; one that fails names its own seed."""
    for number in range(seed, seed + CLUSTER_SCHEDULES):
        World(number).run()
