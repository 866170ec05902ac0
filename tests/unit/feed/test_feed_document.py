"""``docs/reference/feed.md`` says what the code does."""

import re
from pathlib import Path
from typing import Any

import pytest

from poolhouse.feed.protocol.chunks import MAX_BYTES, MAX_CHUNKS
from poolhouse.feed.protocol.datagrams import CHUNK_BYTES, Ask, Cookie, decode_datagram, encode_datagram
from poolhouse.feed.protocol.frame import Server
from poolhouse.fleet.snapshot import (
    Event,
    Health,
    Holder,
    NodeState,
    Peaks,
    PoolRow,
    ProcessRow,
    Rates,
    Row,
    Snapshot,
    Times,
    Totals,
    UserState,
)
from poolhouse.meter.reading import Counters, Gauges, Limits, Mark, PoolReading
from poolhouse.meter.signs import ConnectErrors, Finding, Looks, PoolSigns, ProcessSigns, SiteReading
from poolhouse.verdicts.verdict import Culprit, Verdict

DOCUMENT = (Path(__file__).parents[3] / "docs/reference/feed.md").read_text()
TOLD = (Server, Snapshot, Row, Totals, Rates, Peaks, Times, Health, Event, ProcessRow, PoolRow, PoolReading)
TOLD += (Limits, Gauges, Counters, Mark, NodeState, PoolSigns, ConnectErrors, SiteReading, Looks)
TOLD += (ProcessSigns, Finding, Holder, Verdict, Culprit, UserState)


def names_of(kind: Any) -> list[str]:
    return list(kind._fields)


@pytest.mark.parametrize("kind", TOLD, ids=lambda kind: kind.__name__)
def test_the_fields_of_every_value_stand_in_their_order(kind: Any) -> None:
    row = f"| {kind.__name__} | {' '.join(f'`{name}`' for name in names_of(kind))} |"
    assert row in DOCUMENT.splitlines()


def test_the_numbers_are_the_codes() -> None:
    for words in (f"at most {CHUNK_BYTES:,} bytes of the frame", f"at most {MAX_CHUNKS:,} parts"):
        assert words in DOCUMENT
    assert f"at most {MAX_BYTES >> 20} MiB" in DOCUMENT


def test_the_examples_are_what_is_sent() -> None:
    ask, cookie = (
        bytes.fromhex(text) for text in re.findall(r"^    ((?:[0-9a-f]{2,} ?)+)$", DOCUMENT, re.MULTILINE)
    )
    assert decode_datagram(ask) == Ask(b"console1", program="shop")
    assert encode_datagram(Ask(b"console1", program="shop")) == ask
    assert encode_datagram(Cookie(b"console1", b"\xab" * 16)) == cookie
