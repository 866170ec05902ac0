"""The contract's cases about durations, over psycopg_pool itself and in real time."""

import pytest

from support.pool_cases import TIMED
from support.pool_shells import ORACLES, Case, Shell


@pytest.mark.parametrize("shell", ORACLES, ids=lambda shell: shell.__name__)
@pytest.mark.parametrize("case", TIMED, ids=lambda case: case.__name__)
def test_psycopg_pool_agrees_that(case: Case, shell: type[Shell]) -> None:
    shell().run(case)
