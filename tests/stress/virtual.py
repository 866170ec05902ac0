"""Rounds in virtual time: what `tests/simulation` runs from fixed seeds, from fresh ones."""

from simulation.test_pool_cancellation import test_random_clients_and_cancellations_lose_nothing
from simulation.test_pool_threads import test_random_clients_on_a_failing_server_lose_nothing
from support.pool_world import run

#: How many steps a round of `core` takes.
STEPS = 20_000


def core(seed: int) -> None:
    """Random steps of a core, every invariant after each."""
    run(seed, STEPS)


def schedules(seed: int) -> None:
    """Threads whose schedule the seed decides."""
    test_random_clients_on_a_failing_server_lose_nothing(seed)


def cancellations(seed: int) -> None:
    """Tasks that are cancelled anywhere."""
    test_random_clients_and_cancellations_lose_nothing(seed)
