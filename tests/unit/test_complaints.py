"""What a command repeats of what was typed."""

import pytest

from poolhouse.complaints import LONGEST_COMPLAINT, complain, presentable


def test_a_password_is_recognized_before_the_text_is_cut():
    text = presentable(f"no port: postgresql://me:s3cret{'x' * LONGEST_COMPLAINT}@db/shop")
    assert text == "no port: postgresql://me:…@db/shop"


def test_a_complaint_is_one_line_of_printable_characters(capsys: pytest.CaptureFixture[str]):
    complain("poolhouse run", "there is no command \x1b[2J\nshop" + "p" * LONGEST_COMPLAINT)
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("poolhouse run: there is no command ·[2J·shop")
    assert errors.endswith("p…\n")
