"""The page about TCP says what the code says."""

import re
from pathlib import Path

import pytest

from poolhouse.feed.protocol import connections, conversation
from poolhouse.feed.protocol.subscribers import LIFETIME
from poolhouse.feed.service_caller import LAST_REST_S, LOGIN_REST_S
from poolhouse.wire.framing import LARGEST_PAYLOAD, MAGIC, Kind
from poolhouse.wire.introduction import GREETING_PATIENCE_S
from poolhouse.wire.session import Denied, Hello, Welcome

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "tcp.md").read_text(encoding="utf-8")


def test_every_kind_of_frame_is_in_the_table_with_its_largest_payload():
    rows = re.findall(r"^\| (\d+) \| ([A-Z]+) \|.*\| ([\d,]+)( MiB)? \|$", PAGE, re.MULTILINE)
    told = {
        (int(number), name): int(largest.replace(",", "")) << (20 if mebi else 0)
        for number, name, largest, mebi in rows
    }
    assert told == {(int(kind), kind.name): LARGEST_PAYLOAD[kind] for kind in Kind}


def test_the_first_bytes_are_those_of_the_page():
    assert f"`{MAGIC.hex(' ')}`" in PAGE


@pytest.mark.parametrize(("name", "message"), [("HELLO", Hello), ("WELCOME", Welcome)])
def test_every_field_is_in_the_table(name, message):
    (row,) = re.findall(rf"^\| {name} \| (.*) \|$", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", row)) == list(message._fields)


def test_the_fields_of_denied_stand_in_its_row():
    (row,) = re.findall(r"^\| 4 \| DENIED .*$", PAGE, re.MULTILINE)
    assert [name for name in re.findall(r"`(\w+)`", row) if name != "login"] == list(Denied._fields)


def test_the_times_of_a_console_are_those_of_the_page():
    _, _, text = PAGE.partition("## What a console does")
    text = " ".join(text.partition("\n## ")[0].split())
    assert f"does not welcome it within {GREETING_PATIENCE_S:g} s" in text
    assert f"sends no frame within {conversation.FIRST_FRAME_S:g} s" in text
    assert f"rests for at most {LAST_REST_S:g} s; after a wrong login, for {LOGIN_REST_S:g} s" in text
    assert f"{connections.MOST_CONNECTIONS} consoles are served over TCP at a time" in text
    assert text.count(f"nothing for {LIFETIME:g} s") == 2
