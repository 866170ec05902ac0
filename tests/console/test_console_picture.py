"""The pictures in the documentation are of this console."""

import asyncio
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("console_picture", ROOT / "tools" / "console_picture.py")
assert SPEC is not None
assert SPEC.loader is not None
console_picture = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(console_picture)


def words(picture: str) -> list[str]:
    """What the picture says; how Rich writes its SVG is not ours."""
    return re.findall(r">([^<>]+)</text>", picture)


@pytest.mark.parametrize("name", console_picture.PICTURES)
def test_the_picture_says_what_the_console_says(name):
    shown = (ROOT / "docs" / "images" / f"{name}.svg").read_text(encoding="utf-8")
    assert "checkout" in shown
    assert "http" not in shown.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert words(shown) == words(asyncio.run(console_picture.draw(*console_picture.PICTURES[name])))
