"""Which errors are a shortage, and their words."""

import errno
import os

import pytest

from poolhouse.shortage import is_shortage, words_of
from support.exhausted import EXHAUSTED


@pytest.mark.parametrize("error", EXHAUSTED.values(), ids=EXHAUSTED)
def test_what_the_system_raises_where_something_has_run_out_is_a_shortage_and_has_words(error):
    assert is_shortage(error)
    assert words_of(error)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EACCES, os.strerror(errno.EACCES)), OSError(), RuntimeError("closed"), ValueError(), None],
)
def test_other_errors_are_none(error):
    assert not is_shortage(error)
