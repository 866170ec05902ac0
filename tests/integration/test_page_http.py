"""The page over HTTP: a real connmond, asked without a browser."""

import json
import socket
import zlib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from poolhouse.daemon.http.live import MOST_STREAMS
from support.connmond import Connmond, sentences
from support.page_stream import Stream, ask, names
from support.reports import report, send
from support.waiting import wait_until


@pytest.fixture(scope="module")
def daemon() -> Iterator[Connmond]:
    with Connmond("--http", "127.0.0.1:0") as daemon:
        yield daemon


def tell(daemon: Connmond, *programs: str, **changes: object) -> None:
    """Have programs report, and wait until the page shows them."""
    for one in programs:
        send(report(one, **{"interval": 60.0, **changes}), daemon.reports)
    wait_until(
        lambda: set(programs) <= set(names(json.loads(ask(daemon.http, "/api/")[2]))),
        what=f"{programs} on the page",
    )


def test_every_view_has_the_document_and_the_same_path_under_api_its_content(daemon: Connmond) -> None:
    tell(daemon, "shop", used=3)
    for path in ("/", "/hosts", "/lines", "/events", "/verdicts", "/program/shop", "/host/web1"):
        status, headers, page = ask(daemon.http, path)
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "/assets/main.js" in page
        status, headers, text = ask(daemon.http, f"/api{path}")
        assert (status, headers["content-type"], headers["cache-control"]) == (200, "application/json", "no-store")
        assert json.loads(text)["path"] == path
    pool = json.loads(ask(daemon.http, "/api/program/shop")[2])["tables"][0]["rows"][0]["to"]
    assert json.loads(ask(daemon.http, f"/api{pool}")[2])["about"] == "db1:5432/shop"
    assert [ask(daemon.http, path)[0] for path in ("/nothing", "/api/nothing", "/assets/../gate.py")] == [404] * 3


def test_a_view_tells_as_many_rows_as_are_asked_for(daemon: Connmond) -> None:
    for number in range(6):
        tell(daemon, f"many{number}", used=10 + number, token=f"{number}:many")

    def told(query: str) -> tuple[list[str], int]:
        frame = json.loads(ask(daemon.http, f"/api/?{query}")[2])
        return names(frame), frame["tables"][0]["total"]

    assert told("filter=many&rows=2") == (["many5", "many4"], 6)
    assert told("filter=many&rows=2&sort=PROGRAM") == (["many0", "many1"], 6)
    assert told("filter=nothing&rows=2") == ([], 0)
    for query in ("filter=many", "filter=many&rows=x", "filter=many&rows=-1", f"filter=many&rows={'9' * 5000}"):
        assert len(told(query)[0]) == 6
    frame = json.loads(ask(daemon.http, "/api/?filter=nothing&rows=2")[2])
    assert "notice" not in frame


def test_every_file_comes_from_here_and_is_not_sent_twice(daemon: Connmond) -> None:
    status, headers, _ = ask(daemon.http, "/")
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    )
    for name, kind in (("main.js", "text/javascript"), ("page.css", "text/css"), ("icon.svg", "image/svg+xml")):
        status, headers, _ = ask(daemon.http, f"/assets/{name}")
        assert (status, headers["content-type"].partition(";")[0]) == (200, kind)
        assert headers["cache-control"] == "no-cache"
        assert ask(daemon.http, f"/assets/{name}", {"If-None-Match": headers["etag"]})[0] == 304


def test_a_page_of_the_web_whose_name_points_here_is_told_nothing(daemon: Connmond) -> None:
    for path in ("/", "/api/", "/assets/main.js"):
        assert ask(daemon.http, path, {"Host": "evil.example.org"})[0] == 421


def test_a_stream_sends_frames_of_its_view(daemon: Connmond) -> None:
    tell(daemon, "shop", "billing")
    with Stream(daemon.http) as stream:
        assert stream.status == 200
        assert {"content-type: text/event-stream; charset=utf-8", "x-accel-buffering: no"} <= set(stream.head)
        first, second = stream.frame(), stream.frame()
        assert {"shop", "billing"} <= set(names(first)) == set(names(second))
        assert second["wall_time_seconds"] > first["wall_time_seconds"]
        tell(daemon, "nightly")
        while "nightly" not in names(stream.frame()):
            pass
    with Stream(daemon.http, "/api/host/web1") as stream:
        assert stream.frame()["path"] == "/host/web1"


def test_a_compressed_stream_says_the_same(daemon: Connmond) -> None:
    tell(daemon, "shop")
    with Stream(daemon.http, more="Accept-Encoding: gzip\r\n") as packed, Stream(daemon.http) as plain:
        assert "content-encoding: gzip" in packed.head
        assert "content-encoding: gzip" not in plain.head
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        text = ""
        while text.count("event: frame") < 3:
            text += unpacker.decompress(packed.chunk()).decode()
            assert text.endswith("\n\n")  # Each part is told whole at once.
        frames = [json.loads(one.removeprefix("data: ")) for one in text.split("\n") if '"version"' in one]
    assert [set(names(one)) >= {"shop"} for one in frames] == [True] * 3


def test_the_last_hour_comes_once_a_sample(daemon: Connmond) -> None:
    tell(daemon, "history", used=3)
    wait_until(
        lambda: "past" in json.loads(ask(daemon.http, "/api/program/history")[2]), what="a sample with the program"
    )
    with Stream(daemon.http, "/api/program/history") as stream:
        events = [stream.event() for _ in range(4)]
    kinds = [name for name, _ in events]
    assert kinds[:2] == ["frame", "past"]
    assert kinds.count("past") <= 2
    past = json.loads(events[1][1])
    assert past["charts"][0]["series"][0]["values"][-1] == 3
    fleet = json.loads(ask(daemon.http, "/api/")[2])["past"]
    assert "/program/history" in fleet["trends"]


def test_the_programs_can_be_had_as_they_were(daemon: Connmond) -> None:
    tell(daemon, "earlier", used=3, waiting=2)
    wait_until(
        lambda: "past" in json.loads(ask(daemon.http, "/api/program/earlier")[2]), what="a sample with the program"
    )
    times = json.loads(ask(daemon.http, "/api/program/earlier")[2])["past"]["times"]
    status, headers, text = ask(daemon.http, f"/api/program/earlier?at={times[-1]}")
    assert (status, headers["content-type"], headers["cache-control"]) == (200, "application/json", "no-store")
    told = json.loads(text)
    assert told["path"] == "/program/earlier"
    assert told["at_seconds"] == pytest.approx(times[-1], abs=0.1)
    (program,) = told["programs"]
    assert (program["name"], program["used_connections"], program["waiting_callers"]) == ("earlier", 3.0, 2.0)
    fleet = json.loads(ask(daemon.http, f"/api/?at={times[-1]}")[2])
    assert program in fleet["programs"]
    assert fleet["fleet"]["used_connections"] >= 3
    for path, expected in (
        ("/api/?at=1000", (404, "Nothing is known of that time: the last hour is kept.\n")),
        ("/api/program/nobody?at=1000", (404, "Nothing is known of that time: the last hour is kept.\n")),
        ("/api/hosts?at=1000", (404, "Of a past time only / and /program/NAME are kept.\n")),
        ("/api/?at=noon", (400, "at: expected seconds since the epoch, 2026-11-30T14:03:20Z, or 14:03:20\n")),
    ):
        status, _, text = ask(daemon.http, path)
        assert (status, text) == expected


def test_a_frame_is_made_once_for_all_and_an_unchanged_one_is_not_sent_again(daemon: Connmond) -> None:
    tell(daemon, "shop")
    with Stream(daemon.http) as one, Stream(daemon.http) as other:
        heard = [{stream.frame()["wall_time_seconds"] for _ in range(4)} for stream in (one, other)]
    times = heard[0] | heard[1]
    assert heard[0] & heard[1]
    _, headers, _ = ask(daemon.http, "/api/")
    again, _, text = ask(daemon.http, "/api/", {"If-None-Match": headers["etag"]})
    assert again == 304 or json.loads(text)["wall_time_seconds"] not in times


def test_streams_have_a_bound_and_asking_goes_on_beyond_it(daemon: Connmond) -> None:
    tell(daemon, "shop")
    with ExitStack() as stack:
        for _ in range(MOST_STREAMS):
            assert stack.enter_context(Stream(daemon.http)).status == 200
        with Stream(daemon.http) as refused:
            assert refused.status == 503
        assert ask(daemon.http, "/api/")[0] == 200
    wait_until(lambda: _is_open(daemon), what="room after they have left")


def _is_open(daemon: Connmond) -> bool:
    with Stream(daemon.http) as stream:
        return stream.status == 200


def test_old_readers_and_those_who_ask_for_the_head_hold_nothing(daemon: Connmond) -> None:
    accept = "Host: localhost\r\nAccept: text/event-stream\r\n\r\n"
    for request, status in (
        (f"GET /api/ HTTP/1.0\r\n{accept}", b"406"),
        (f"HEAD /api/ HTTP/1.1\r\n{accept}", b"200"),
    ):
        with socket.create_connection(("127.0.0.1", daemon.http), 30) as client:
            client.sendall(request.encode())
            assert client.recv(4096).split(b" ")[1] == status


def test_streams_end_when_connmond_does() -> None:
    with (
        Connmond("--http", "127.0.0.1:0") as daemon,
        Stream(daemon.http) as stream,
        Stream(daemon.http, "/api/hosts") as other,
    ):
        stream.frame(), other.frame()
        status, _, errors = daemon.end()
        for one in (stream, other):
            with pytest.raises((EOFError, ConnectionResetError)):
                while one.event():
                    pass
    assert (status, [line for line in sentences(errors) if line.startswith(("ERROR", "Trace"))]) == (0, [])
