"""What is left of a foreign text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.clean import LONGEST, PLACEHOLDER, clean

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=2 * LONGEST)


@pytest.mark.parametrize(
    "character",
    [
        *map(chr, range(0x20)),
        *map(chr, range(0x7F, 0xA0)),
        *map(chr, range(0x202A, 0x202F)),
        *map(chr, range(0x2066, 0x206A)),
        *"\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u2028\u2029\u061c\u00ad\u00a0\u3000",
        *"\u034f\u115f\u3164\ufe0f\U000e0041\U000e0100",
        *"\ud800\udfff",
    ],
    ids=ascii,
)
def test_what_cannot_be_seen_is_shown_as_a_dot(character):
    assert clean(f"a{character}b") == f"a{PLACEHOLDER}b"


@pytest.mark.parametrize("text", ["checkout", "db1:5432/shop", "Größe", "数据库", "عامل", "e\u0301", "🐘", ""])
def test_a_name_of_any_script_stays_as_it_is(text):
    assert clean(text) == text


@pytest.mark.parametrize("length", [LONGEST, LONGEST + 1, 10 * LONGEST])
def test_a_long_text_is_cut_and_says_so(length):
    cleaned = clean("x" * length)
    assert len(cleaned) == LONGEST
    assert cleaned.endswith("…") is (length > LONGEST)


@given(ANY_TEXT)
def test_a_clean_text_is_printable_bounded_encodable_and_stays_clean(text):
    cleaned = clean(text)
    assert cleaned.isprintable()
    assert len(cleaned) == min(len(text), LONGEST)
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in cleaned)
    cleaned.encode()
    assert clean(cleaned) == cleaned
