"""What every pool does: ours in virtual time, and psycopg_pool itself as oracle wherever the two are to agree.

Over psycopg_pool, the cases about durations take real time: `tests/integration/test_pool_oracle.py`.
"""

import pytest

from support.pool_cases import OWN, TIMED, TIMELESS
from support.pool_shells import ALL, OURS, Case, Shell


@pytest.mark.parametrize("shell", ALL, ids=lambda shell: shell.__name__)
@pytest.mark.parametrize("case", TIMELESS, ids=lambda case: case.__name__)
def test_all_pools_agree_that(case: Case, shell: type[Shell]) -> None:
    shell().run(case)


@pytest.mark.parametrize("shell", OURS, ids=lambda shell: shell.__name__)
@pytest.mark.parametrize("case", TIMED + OWN, ids=lambda case: case.__name__)
def test_in_our_pools(case: Case, shell: type[Shell]) -> None:
    shell().run(case)
