"""Random steps over the pool's core, every invariant after each. A failure names its seed."""

import os
from collections import Counter

import pytest

from support.pool_world import World, run

STEPS = int(os.environ.get("POOLHOUSE_SIMULATION_STEPS", "50000"))
STEPS_A_WORLD = 500


@pytest.mark.parametrize("part", range(10))
def test_the_invariants_hold_after_every_random_step(part: int) -> None:
    done: Counter[str] = Counter()
    for number in range(max(1, STEPS // STEPS_A_WORLD // 10)):
        seed = part * 1_000_000 + number
        try:
            done += run(seed, STEPS_A_WORLD).steps
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    assert set(done) == set(World.NAMES), "some step was never taken"
