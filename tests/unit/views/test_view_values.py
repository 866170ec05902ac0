"""Values that nobody should send, and that the console shows all the same."""

import json
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.clean import clean
from poolhouse.fleet.snapshot import Health, NodeState, Rates, Row, Snapshot, Times
from poolhouse.meter.histogram import Histogram
from poolhouse.views import plain, units
from poolhouse.views.as_json import json_text
from poolhouse.views.bars import bars
from poolhouse.views.history import MOMENTS, History
from poolhouse.views.line import cells, cut, cut_line, left, right, text_of
from poolhouse.views.spark import meter, sparkline
from support.sample_fleet import FLEET, SNAPSHOT, WALL_TIME, bell, moment, with_processes

ANY_NUMBER = st.none() | st.floats() | st.integers(-(10**30), 10**30)
#: The most cells of what each function shows.
WIDEST = {
    units.duration: 6,
    units.elapsed: 6,
    units.age: 3,
    units.count: 5,
    units.rate: 5,
    units.short: 4,
}


@pytest.mark.parametrize("show", WIDEST)
@given(number=ANY_NUMBER)
def test_any_number_has_a_text(show, number):
    assert show(number)


@pytest.mark.parametrize("show", WIDEST)
@given(number=st.floats(0, 1e9) | st.integers(0, 10**9))
def test_numbers_of_this_world_keep_to_their_cells(show, number):
    assert cells(show(number)) <= WIDEST[show]


@pytest.mark.parametrize("show", [*WIDEST, units.exact, units.time_of_day])
@pytest.mark.parametrize("number", [None, nan, inf, -inf])
def test_what_is_not_known_is_a_dash(show, number):
    assert show(number) == "–"


def test_the_text_says_which_nodes_are_missing():
    def told(*missing: tuple[str, float], width: int) -> str:
        nodes = (NodeState("node3", True, None), *(NodeState(name, False, age) for name, age in missing))
        snapshot = SNAPSHOT._replace(health=SNAPSHOT.health._replace(nodes=nodes))
        return plain.text(snapshot, width)

    assert "! missing node1 11s  " in told(("node1", 11.4), width=80)
    assert "! 2 nodes missing 1m02s  " in told(("a-long-name-of-a-node", 62.0), ("another-one", 4.0), width=80)
    assert "missing" not in told(width=80)


@pytest.mark.parametrize("number", [nan, inf, -1, 10**30, 1e300])
def test_numbers_that_are_none_do_not_stop_the_table(number):
    """Trap 44."""
    odd = FLEET._replace(
        name="odd",
        used=number,
        idle=number,
        waiting=number,
        max_open=number,
        age=number,
        interval=number,
        rates=Rates(number, number),
        peaks=FLEET.peaks._replace(used=number),
    )
    snapshot = Snapshot(number, odd, (odd, *SNAPSHOT.programs), (odd,), Health(lost=1, expected=0, uptime=number))
    assert "odd" in plain.text(snapshot)
    assert "checkout" in plain.text(snapshot, 200)
    assert json.loads(json_text(snapshot))["programs"][0]["name"] == "odd"


def test_totals_that_fall_show_no_negative_rate():
    """Trap 45."""
    falling = FLEET._replace(name="falling", rates=Rates(*([-41.5] * 10)))
    text = plain.text(Snapshot(WALL_TIME, falling, (falling,), (), Health()), 200)
    assert "-41" not in text
    assert "out/s 0" in text


def test_a_row_of_which_nothing_is_known_is_all_dashes():
    text = plain.text(Snapshot(WALL_TIME, Row(""), (Row("mute"),), (), Health()), 80)
    line = text.splitlines()[-1]
    assert line.split() == ["●", "mute", *["–"] * 7]


@given(st.text(), st.integers(0, 30))
def test_text_never_takes_more_cells_than_it_is_given(text, width):
    shown = clean(text)
    assert cells(cut(shown, width)) <= width
    assert cells(left(shown, width)) == width == cells(right(shown, width))


def test_control_characters_of_a_name_do_not_reach_the_terminal():
    row = FLEET._replace(name="evil\x1b[2J\r\n\u202e")
    text = plain.text(Snapshot(WALL_TIME, FLEET, (row,), (), Health()), 120)
    assert "evil·[2J···" in text
    assert "\x1b" not in text


def test_wide_names_are_cut_by_cells():
    row = FLEET._replace(name="订单处理服务" * 10)
    line = plain.text(Snapshot(WALL_TIME, FLEET, (row,), (), Health()), 80).splitlines()[-1]
    assert "…" in line
    assert cells(line) <= 80


def test_a_line_is_cut_within_a_span():
    assert text_of(cut_line(plain.lines(SNAPSHOT, 80)[0], 7)) == " poolh…"


@given(st.lists(ANY_NUMBER, max_size=400), st.integers(0, 60), ANY_NUMBER)
def test_a_sparkline_has_its_width_whatever_the_series(values, width, top):
    assert cells(sparkline(values, width, top)) == width


@given(ANY_NUMBER, ANY_NUMBER, st.integers(2, 40))
def test_a_meter_has_its_width_whatever_the_share(part, whole, width):
    assert sum(cells(span.text) for span in meter(part, whole, width)) == width


@given(st.lists(st.integers(-5, 10**13), min_size=1, max_size=50), st.integers(-1, 3), st.integers(12, 200))
def test_bars_have_their_size_whatever_the_distribution(durations, scale, width):
    times = Histogram()
    times.record_all(durations)
    times.downscale(scale)
    lines = bars(times, width, 4)
    assert len(lines) == 6
    assert all(cells(text_of(line)) <= width for line in lines)
    assert any(character in "▁▂▃▄▅▆▇█" for line in lines[:4] for character in text_of(line))


def test_bars_of_nothing_say_so():
    assert [text_of(line) for line in bars(Histogram(), 40, 4)] == ["nothing recorded"]
    assert [text_of(line) for line in bars(None, 40, 4)] == ["–"]


def test_every_duration_shows_even_one_among_many():
    times = bell(4, 5_000)
    times.record_all([41_000_000_000])
    lowest = text_of(bars(times, 60, 2)[1]).rstrip()
    assert lowest.endswith("▁")


def test_the_history_forgets_what_is_gone_and_what_is_old():
    history = History()
    for second in range(MOMENTS + 20):
        history.add(moment(second, second, 0, 1.0))
    assert len(history.of("fleet").moments) == MOMENTS
    assert history.of("fleet").used[-1] == MOMENTS + 19
    history.add(moment(1_000, 1, 0, 1.0)._replace(programs=()))
    assert history.of("program", "checkout").moments == ()


def test_the_same_snapshot_twice_is_one_moment():
    history = History()
    history.add(SNAPSHOT)
    history.add(SNAPSHOT)
    assert len(history.of("fleet").moments) == 1


def test_json_is_ascii_and_its_names_command_no_terminal_once_they_are_read():
    name = "caf\u00e9 \x9b31m\u202e"
    text = json_text(SNAPSHOT._replace(programs=(Row(name),)))
    assert text.isascii()
    assert json.loads(text)["programs"][0]["name"] == "caf\u00e9 ·31m·"


def test_json_of_not_a_number_is_null():
    snapshot = with_processes()._replace(fleet=Row("", used=3, age=nan, recent=Times()))
    fleet = json.loads(json_text(snapshot))["fleet"]
    assert (fleet["age_seconds"], fleet["wait_seconds_p99"], fleet["used_connections"]) == (None, None, 3)
