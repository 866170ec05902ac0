"""Hostile bytes for every decoder and reader: the corpus, and mutations of it that are always the same."""

import pytest

from fuzz.harness import FAMILIES, check_of, corpus_of, mutations, seeds_of

#: Inputs of each family: those that go through a whole fleet cost more.
COUNTS = dict.fromkeys(FAMILIES, 400) | {"configurations": 100, "fleets": 30, "ledgers": 60}


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_but_the_promised_error_comes_out_of_a_decoder(family: str) -> None:
    """Trap 22. Trap 23. Trap 28. Trap 43."""
    check = check_of(family)
    for number, data in enumerate(mutations(family, COUNTS[family], seed=12)):
        try:
            check(data)
        except BaseException as error:
            error.add_note(f"{family}, input {number}, which begins {data[:200].hex()}")
            raise


@pytest.mark.parametrize("family", FAMILIES)
def test_the_corpus_keeps_what_our_encoders_made(family: str) -> None:
    """`python -m fuzz --write-corpus` keeps them."""
    assert seeds_of(family).keys() <= corpus_of(family).keys()
