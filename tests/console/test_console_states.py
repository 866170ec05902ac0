"""What the window says when there is nothing, or nothing new, to show; and that nothing ends it."""

import asyncio
from datetime import UTC
from math import inf, nan

import pytest

from poolhouse.console.app import ConsoleApp
from poolhouse.errors import SettingError
from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Health, Rates, Row, Snapshot
from poolhouse.meter.histogram import Histogram
from support.console import LIVE, HandClock, HandFeed, shown
from support.sample_fleet import FLEET, SNAPSHOT, with_processes

EMPTY = Snapshot(SNAPSHOT.wall_time, Row(""), (), (), Health())
REFUSED = Link("refused", "web1:25828", tries=3, next_try=1004.0, error="Connection refused")


def test_before_anything_is_known_it_connects():
    text = shown()
    assert "… connecting" in text
    assert "connecting to web1:25828 …" in text


def test_tries_are_counted():
    assert "try 3" in shown(Link("connecting", "web1:25828", tries=3))


def test_a_refusal_is_said_in_the_window_with_what_to_look_for_and_the_next_try():
    """Trap 47."""
    text = shown(REFUSED)
    assert "web1:25828 refuses the connection." in text
    assert "Is connmond or the connmon plugin running there?" in text
    assert "next try in 4 s, r now" in text
    assert "! no connection" in text


def test_a_name_that_is_not_known_is_said():
    text = shown(Link("unresolved", "wbe1:25828", tries=1, next_try=1002.0, error="Name or service not known"))
    assert "wbe1:25828: Name or service not known." in text
    assert "Is the name right?" in text


def test_a_server_that_does_not_serve_this_address_is_quoted():
    link = Link("refused", "web1:25828", error="it serves 127.0.0.1 only; say connmond --allow")
    assert "web1:25828: it serves 127.0.0.1 only; say connmond --allow." in shown(link)


@pytest.mark.parametrize(
    ("reports", "url"),
    [
        ("web1:25827", "?plugin=collectd&collectd_host=web1\n"),
        ("0.0.0.0:35827", "?plugin=collectd&collectd_host=web1&collectd_port=35827\n"),
        ("[::]:25827", "?plugin=collectd&collectd_host=web1\n"),
        ("127.0.0.1:25827", "?plugin=collectd&collectd_host=localhost\n"),
        (None, "?plugin=collectd&collectd_host=web1\n"),
    ],
)
def test_connected_without_a_program_it_says_what_url_a_program_needs(reports, url):
    text = shown(LIVE._replace(reports=reports), EMPTY)
    assert "connected to web1:25828 (connmond 0.1.0)." in text
    assert "No program has reported to it. Point one at it by its URL:" in text
    assert url in text


def test_a_listener_says_what_collectd_must_be_told():
    text = shown(Link("listening", "localhost:25828"))
    assert "listening on localhost:25828: nothing is being pushed here." in text
    assert 'monitor "localhost" 25828' in text
    assert "… listening" in text
    assert "live" not in text


def test_silence_leaves_the_table_dimmed_and_says_since_when():
    text = shown(LIVE, SNAPSHOT, 12)
    assert " no report for 12 s from web1:25828; the table below is from 12:04:31." in text
    assert "! silent 12:04:31" in text
    assert "checkout" in text


def test_what_normal_silence_is_the_link_knows():
    assert "● live" in shown(LIVE._replace(patience=25.0), SNAPSHOT, 12)


def test_a_server_that_went_away_leaves_the_table_and_says_so():
    """Trap 47."""
    text = shown(LIVE, SNAPSHOT, REFUSED)
    assert " web1:25828 refuses the connection, next try in 4 s, r now.\n" in text
    assert "checkout" in text
    wide = shown(LIVE, SNAPSHOT, REFUSED, size=(120, 24))
    assert "r now; the table below is from 12:04:31.\n" in wide


def test_connecting_again_leaves_the_table():
    text = shown(LIVE, SNAPSHOT, Link("connecting", "web1:25828", tries=2))
    assert "connecting to web1:25828 again; the table below is from 12:04:31." in text


def test_a_silent_server_without_a_program_is_said_to_be_silent():
    assert "! nothing heard from web1:25828 for 9 s." in shown(LIVE, EMPTY, 9)


def test_a_source_of_sums_says_that_it_has_no_processes():
    text = shown(LIVE._replace(server=None), SNAPSHOT, "enter")
    assert "web1:25828 reports only sums: the processes of checkout are not known here." in text


@pytest.mark.parametrize("size", [(59, 24), (80, 9)])
def test_a_window_too_small_says_how_large_it_must_be(size):
    text = shown(LIVE, SNAPSHOT, size=size)
    assert f"60×10 needed, {size[0]}×{size[1]} here: the window is too small" in text
    assert "checkout" not in text


@pytest.mark.parametrize(
    ("size", "text"), [((20, 5), "60×10 needed, 20×5 h"), ((12, 3), "60×10 needed"), ((2, 1), "60")]
)
def test_the_tiniest_window_says_how_large_it_must_be_first(size, text):
    assert shown(LIVE, SNAPSHOT, "down", "enter", size=size).strip() == text


@pytest.mark.parametrize("number", [nan, inf, -inf, -1, 10**30])
@pytest.mark.parametrize("size", [(60, 10), (80, 24), (200, 60)])
def test_no_number_ends_the_window(number, size):
    """Trap 44."""
    odd = Row(
        "odd",
        *[number] * 9,
        rates=Rates(*[number] * 10),
        interval_peaks=FLEET.peaks._replace(used=number, used_bound=number),
        age=number,
        interval=number,
    )
    snapshot = with_processes()._replace(
        fleet=odd,
        programs=(odd, *SNAPSHOT.programs[:2]),
        hosts=(odd,),
        wall_time=number,
        health=Health(1, 2, 3, 0, number),
    )
    assert "odd" in shown(LIVE, snapshot, size=size)
    assert "● " in shown(LIVE, snapshot, "h", "e", "p", "s", "s", "s", "i", "down", "enter", "p", size=size)


def test_totals_that_fall_show_no_negative_rate_in_the_window():
    """Trap 45."""
    falling = FLEET._replace(name="falling", rates=Rates(*[-41.0] * 10))
    text = shown(LIVE, SNAPSHOT._replace(fleet=falling, programs=(falling,)), size=(200, 24))
    assert "-" not in text.replace("–", "")


def test_names_of_any_script_and_length_keep_to_their_columns():
    """Trap 47."""
    names = ("订单处理服务" * 9, "عامل", "e\N{COMBINING ACUTE ACCENT}" * 40, "x" * 127, "\x1b[31mred", "")
    programs = tuple(FLEET._replace(name=name) for name in names)
    for size in ((60, 10), (80, 24), (200, 60)):
        text = shown(LIVE, SNAPSHOT._replace(programs=programs), size=size)
        assert "\x1b" not in text
        assert text.count("214/480") >= len(programs[: size[1] - 7])


def test_a_pool_of_which_next_to_nothing_is_known_has_a_page():
    (process, *_) = with_processes().processes
    reading = process.pools[0].reading._replace(wait=None, use=Histogram(), create=None, marks=(), name="")
    pool = process.pools[0]._replace(reading=reading, recent=type(process.pools[0].recent)())
    snapshot = with_processes()._replace(processes=(process._replace(pools=(pool,), uptime=None),))
    text = shown(LIVE, SNAPSHOT, "enter", snapshot, "enter")
    assert "wait  – since start" in text
    assert "nothing recorded" in text


def test_a_port_that_cannot_be_bound_ends_the_window_with_its_reason():
    class Taken(HandFeed):
        def start(self) -> None:
            raise SettingError("port", "cannot listen on UDP [::1]:25828: Address already in use")

    async def run() -> ConsoleApp:
        app = ConsoleApp(Taken().make, "localhost:25828", HandClock(), UTC)
        async with app.run_test() as pilot:
            await pilot.pause()
        return app

    assert "Address already in use" in str(asyncio.run(run()).failure)


def test_it_ends_by_itself_after_the_seconds_it_was_given():
    async def run() -> None:
        app = ConsoleApp(HandFeed().make, "localhost:25828", HandClock(), UTC, seconds=0.01)
        await asyncio.wait_for(app.run_async(headless=True), 30)

    asyncio.run(run())


def test_what_comes_after_the_end_is_dropped():
    async def run() -> None:
        feed = HandFeed()
        app = ConsoleApp(feed.make, "localhost:25828", HandClock(), UTC)
        async with app.run_test() as pilot:
            await pilot.pause()
        feed.send(SNAPSHOT)
        feed.say(REFUSED)
        assert app.session.snapshot is None

    asyncio.run(run())
