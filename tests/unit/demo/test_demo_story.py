"""What the demo says below each page."""

from typing import get_args

import pytest

from poolhouse.console.session import Page
from poolhouse.demo import story
from poolhouse.demo.programs import PROGRAMS
from poolhouse.views.line import cells


def test_each_program_and_each_page_has_a_sentence():
    assert set(story.PROGRAMS) == set(PROGRAMS)
    assert set(story.PAGES) == set(get_args(Page)) - {"program", "pool"}


@pytest.mark.parametrize("address", ["", "http://127.0.0.1:65535"])
@pytest.mark.parametrize("page", get_args(Page))
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_sentence_fits_beside_its_arrow_in_80_cells(address, page, program):
    assert cells(f" → {story.hint(address, page, program)}") <= 80


def test_the_help_names_the_address_of_the_page():
    assert "http://127.0.0.1:25829" in story.hint("http://127.0.0.1:25829", "legend", None)


def test_one_program_leaks_one_is_slow_and_one_uses_our_pool():
    habits = {program.habit for program in PROGRAMS.values()}
    assert "leaking" in habits
    checkout, orders = PROGRAMS["checkout"], PROGRAMS["orders"]
    assert orders.pool == "ConnectionPool"
    # By Little's law: connections wanted at once, against those there may be.
    for program, is_too_small in ((checkout, True), (orders, False)):
        wanted = program.threads * program.hold / (program.hold + program.think)
        assert (wanted > program.pool_size + program.max_overflow) is is_too_small
