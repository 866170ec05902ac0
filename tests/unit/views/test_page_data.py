"""The page's data: what a frame says of a fleet, without a server."""

import json
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.fleet.snapshot import Event, Health, Row
from poolhouse.fleet.timelines import Past
from poolhouse.verdicts.verdict import Verdict
from poolhouse.views import page, page_places
from poolhouse.views.address import Place, place_of
from poolhouse.views.column import Sorting
from poolhouse.views.fleet_table import fleet_table
from poolhouse.views.moment import time_of
from poolhouse.views.page_past import past_data
from poolhouse.views.page_places import program_sheet
from poolhouse.views.sheet_data import arranged, compact, row_text, sorting_of

LEAK = Verdict("leak", 90.0, "shop", ("web1",), pool="db1/shop", evidence=(("oldest_s", 41.0), ("used", 10.0)))
names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20)


@given(st.tuples(names, names, names, names), st.integers(0, 2**31))
def test_the_address_of_a_place_leads_to_it(parts: tuple[str, str, str, str], key: int) -> None:
    program, host, token, site = parts
    for place in (
        Place("program", program),
        Place("host", host=host),
        Place("pool", program, host, token, key),
        Place("line", program, site=site),
    ):
        assert place_of(place.path) == place


@given(st.text(max_size=30) | st.floats().map(str), st.floats(0, 4e9))
def test_a_text_names_a_time_or_none(text: str, now: float) -> None:
    found = time_of(text, now, UTC)
    assert found is None or isfinite(found)


@given(st.integers(86_400, 4 * 10**9), st.integers(0, 86_400))
def test_a_time_of_the_day_is_the_newest_one_that_has_been(now: int, before: int) -> None:
    wanted = now - before
    text = datetime.fromtimestamp(wanted, UTC).strftime("%H:%M:%S")
    assert time_of(text, float(now), UTC) in (wanted, wanted + 86_400)  # Just now, or a day ago.
    assert time_of(datetime.fromtimestamp(wanted, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), 0.0) == wanted


@pytest.mark.parametrize("path", ["", "x", "//", "/program", "/program/%00web1", "/program/a/b", "/" + "a" * 5000])
def test_other_paths_lead_nowhere(path: str) -> None:
    assert place_of(path) is None


def fleet(*verdicts: Verdict, **changes: Any) -> page_places.Fleet:
    sums = Row("", processes=2, pools=2, used=3, max_open=15, waiting=0)
    told: dict[str, Any] = {"programs": 1, "hosts": 1, "health": Health(received=5), "wall_time": 100.0} | changes
    return page_places.Fleet(sums, verdicts=verdicts, **told)


def frame(content: page_places.Content, told: page_places.Fleet, place: Place = Place("programs")) -> Any:  # noqa: B008
    head = page.head(
        place,
        told.wall_time,
        "connmond 1",
        told.health,
        told.verdicts,
        told.sums,
        tells_verdicts=True,
        figures=content.figures,
    )
    tables = [(shown, *arranged(shown, rows, None, "", page.MOST_ROWS)) for shown, rows in content.tables]
    return json.loads("".join(page.frame_pieces(head | content.more, tables)))


def test_a_frame_has_the_tables_of_the_window() -> None:
    rows = [
        Row("billing", used=2, max_open=5, waiting=0, processes=1),
        Row("shop", used=10, max_open=10, full_pools=1, waiting=4, processes=12_345, is_stale=True, age=9.0),
    ]
    told = frame(page_places.programs(fleet(LEAK), rows), fleet(LEAK))
    (table,) = told["tables"]
    assert (table["name"], table["sorted_by"], table["is_reversed"], table["total"]) == (
        "programs",
        "USED/MAX",
        False,
        2,
    )
    headings = [column["heading"] for column in table["columns"]]
    assert headings == [column.heading for column in fleet_table("program").columns[: len(headings)]]
    shop, billing = ({key: row.get(key) for key in ("sign", "tone", "to", "is_late")} for row in table["rows"])
    assert shop == {"sign": "○", "tone": "bad", "to": "/program/shop", "is_late": True}
    assert billing == {"sign": "●", "tone": "good", "to": "/program/billing", "is_late": None}
    cells = dict(zip(headings, table["rows"][0]["cells"], strict=True))
    assert cells["PROGRAM"] == "shop"
    assert cells["WHY"] == ["leak", cells["WHY"][1], "bad"]
    assert cells["PROCS"] == ["12.3k", 12345]
    assert cells["USED/MAX"] == ["10/10 !", 10, "bad", 1.0]
    assert cells["HOLD99"] is None


def test_the_verdict_stands_on_top_with_its_why() -> None:
    other = Verdict("row_lock", 95.0, "billing")
    told = frame(page_places.verdicts(fleet(LEAK, other)), fleet(LEAK, other))
    verdict = told["verdict"]
    assert (verdict["tone"], verdict["sign"], verdict["standing"]) == ("bad", "✗", 2)
    assert verdict["text"].startswith("leak – shop on web1: ")
    assert "more" not in verdict["text"].split()
    assert verdict["why"]["standing_for"] == "10 s"
    assert ["oldest", "41 s"] in verdict["why"]["facts"]
    assert [one["cause"] for one in told["verdicts"]] == ["leak", "row_lock"]
    well = frame(page_places.verdicts(fleet()), fleet())
    assert well["verdict"] == {
        "sign": "✓",
        "tone": "good",
        "text": "nothing is wrong: 2 pools, 20 % in use",
        "standing": 0,
        "why": None,
    }


def test_what_strangers_call_themselves_is_cleaned_and_never_breaks_the_frame() -> None:
    hostile = ["a\x1b[31m", "b\u202egpj", "</script>", '"\n', "\ud800", "e" * 5000]
    told = frame(page_places.programs(fleet(), [Row(name, used=1) for name in hostile]), fleet())
    shown = [row["cells"][0] for row in told["tables"][0]["rows"]]
    assert len(shown) == len(hostile)
    assert not any(set(name) & set("\x1b\u202e\n\ud800") for name in shown)
    assert all(row["to"].isascii() for row in told["tables"][0]["rows"])


def test_numbers_that_json_has_not_are_not_known() -> None:
    shown = program_sheet((), ())
    row = json.loads(row_text(shown, Row("shop", age=float("nan"), used=1, max_open=None)))
    assert None in row["cells"]
    assert ["1/–", 1] in row["cells"]


def test_rows_beyond_the_bound_are_counted_and_the_largest_stay() -> None:
    rows = [Row(f"p{number}", used=number) for number in range(page.MOST_ROWS + 5)]
    found, total = arranged(program_sheet((), ()), rows, None, "", page.MOST_ROWS)
    assert (len(found), total, found[0].name) == (page.MOST_ROWS, page.MOST_ROWS + 5, f"p{page.MOST_ROWS + 4}")
    found, total = arranged(program_sheet((), ()), rows, Sorting("PROGRAM", is_reversed=True), "P99", 5)
    assert [row.name for row in found] == ["p999", "p998", "p997", "p996", "p995"]
    assert total == 11


def test_a_sorting_is_named_by_its_heading() -> None:
    shown = program_sheet((), ())
    assert sorting_of(shown, "-used/max") == Sorting("USED/MAX", is_reversed=True)
    assert sorting_of(shown, "nothing") is None


@pytest.mark.parametrize(
    ("health", "notice"),
    [
        (Health(), "No program has reported yet."),
        (Health(received=3, refused=3), "Every datagram was refused (3)"),
        (Health(received=3), "No program reports any more."),
    ],
)
def test_an_empty_fleet_says_what_to_do(health: Health, notice: str) -> None:
    told = page_places.programs(fleet(health=health, programs=0), [])
    assert told.more["notice"].startswith(notice)


def test_events_keep_their_time_and_their_order() -> None:
    told = [Event(1_796_010_804.25 + place, "appeared", "web1", "shop", f"{place}") for place in range(3)]
    (table,) = frame(page_places.events(fleet(), told), fleet(), Place("events"))["tables"]
    assert [row["cells"][0][1] for row in table["rows"]] == [1796010806.25, 1796010805.25, 1796010804.25]
    assert [row["cells"][4] for row in table["rows"]] == ["2", "1", "0"]


def test_the_last_hour_is_charts_with_words_and_marks() -> None:
    past = Past(
        [100.0, 110.0], [None, 3.0], [15.0, 15.0], [0.0, 2.0], [None, 12.345678], [None, 1.0], [None, 0.24]
    )
    events = [
        Event(90.0, "verdict", "web1", "shop", "before the hour"),
        Event(105.0, "verdict", "web1", "shop", "leak: it leaks"),
        Event(106.0, "ended", "web1", "billing", "leak has ended"),
        Event(107.0, "appeared", "web1", "shop", ""),
    ]
    told = past_data(past, events)
    used, waiting, wait, rate = told["charts"]
    assert (used["title"], used["top"], used["top_text"]) == ("connections in use", 15, "15")
    assert used["series"][0] == {"name": "used", "values": [None, 3], "texts": ["–", "3"]}
    assert wait["series"][0]["texts"] == ["–", "240ms"]
    assert rate["series"][0]["values"] == [None, 12.35]
    assert [series["name"] for series in waiting["series"]] == ["waiting", "timeouts"]
    assert [(mark["time"], mark["tone"]) for mark in told["marks"]] == [(105.0, "bad"), (106.0, "good")]
    assert [mark["text"] for mark in past_data(past, events, "shop")["marks"]] == ["shop: leak: it leaks"]
    assert json.loads(compact(told)) == told
