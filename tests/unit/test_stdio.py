"""What a terminal without our characters gets."""

import io

from poolhouse.stdio import write


def written(text: str, encoding: str) -> str:
    """What of a text reaches a file in this encoding."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding) as stream:
        write(text, stream)
        return raw.getvalue().decode(encoding)


def test_columns_stay_columns_in_ascii():
    table = "✓ nothing is wrong  ● ██▄▁░  12µs  –  …  ≤4"
    told = written(table, "ascii")
    assert told == "v nothing is wrong  * ##-_.  12us  -  ~  <4"
    assert len(told) == len(table)


def test_what_has_no_place_in_ascii_is_a_question_mark():
    assert written("数据库 €5", "ascii") == "??? ?5"


def test_what_can_be_encoded_is_written_as_it_is():
    assert written("✓ 12µs – 数据库", "utf-8") == "✓ 12µs – 数据库"
    assert written("12µs", "latin-1") == "12µs"
