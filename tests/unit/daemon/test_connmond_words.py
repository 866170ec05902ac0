"""What connmond says, and what it is told."""

import pytest

from poolhouse.daemon.announcement import announcement, console_words, program_words, summary
from poolhouse.daemon.settings import Settings, parse_settings
from poolhouse.daemon.tcp import Why
from poolhouse.errors import SettingError
from poolhouse.feed.protocol.subscribers import parse_network
from poolhouse.fleet.snapshot import Health


def test_without_options_it_serves_this_machine_at_the_ports_that_everybody_knows() -> None:
    assert parse_settings([], [], []) == Settings((("localhost", 25827),), (("localhost", 25828),), ())


def test_every_option_may_be_repeated() -> None:
    settings = parse_settings(["0.0.0.0", "[::]:9"], ["web1", "::1"], ["10.0.0.0/8", "fd00::1"])
    assert settings.reports == (("0.0.0.0", 25827), ("::", 9))
    assert settings.consoles == (("web1", 25828), ("::1", 25828))
    assert settings.allow == (parse_network("10.0.0.0/8"), parse_network("fd00::1/128"))


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(SettingError, match=r"^--consoles: "):
        parse_settings([], ["web1:x"], [])


def test_the_announcement_is_five_lines() -> None:
    lines = announcement(
        [("127.0.0.1", 25827), ("::1", 25827)], [("127.0.0.1", 25828)], [parse_network("10.0.0.0/8")]
    ).splitlines()
    assert lines[1:] == [
        "  reports   UDP 127.0.0.1:25827, [::1]:25827",
        "  consoles  UDP 127.0.0.1:25828  (serves this machine, 10.0.0.0/8)",
        "A program reports here with  ?plugin=collectd  in its SQLAlchemy URL.",
        "Watch with  connmon",
    ]


def test_the_announcement_names_the_addresses_of_the_page() -> None:
    bound = [("127.0.0.1", 9)]
    lines = announcement(bound, bound, [], http=["http://127.0.0.1:25829", "http://[::1]:25829"]).splitlines()
    assert lines[3] == "  http      http://127.0.0.1:25829, http://[::1]:25829"


def test_the_announcement_of_a_service_names_its_own_way_to_report() -> None:
    lines = announcement(
        [("127.0.0.1", 25827)], [("127.0.0.1", 25828)], [], [("::", 5800)], "nova", "node2", "/srv/my pools.cfg"
    ).splitlines()
    assert lines[3:] == [
        "  clients   TCP [::]:5800  (service nova, node node2)",
        "A program reports here with  ?plugin=connmon&connmon_service=nova&connmon_config=/srv/my+pools.cfg  "
        "in its SQLAlchemy URL.",
        "Watch with  connmon -c '/srv/my pools.cfg'",
    ]


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        (("127.0.0.1", 25827), "?plugin=collectd"),
        (("127.0.0.1", 9), "?plugin=collectd&collectd_port=9"),
        (("10.0.0.5", 25827), "?plugin=collectd&collectd_host=10.0.0.5"),
        (("0.0.0.0", 25827), "?plugin=collectd&collectd_host=web7"),
        (("::", 9), "?plugin=collectd&collectd_host=web7&collectd_port=9"),
    ],
)
def test_a_program_is_told_what_reaches_it(
    bound: tuple[str, int], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "web7")
    assert program_words(bound) == words


def test_a_person_is_told_what_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "web7")
    assert console_words(("0.0.0.0", 9)) == "connmon --host web7 --port 9"


def test_the_summary_tells_every_counter() -> None:
    health = Health(12345, 7, 2, 12347, 61.5, (("hosts", 3), ("processes", 1000)))
    assert summary(health, 4, {}) == (
        "connmond ends after 62 s: 12,345 datagrams received, 7 refused (over a limit: hosts 3, processes 1,000), "
        "2 of 12,347 datagrams lost; 4 refused from consoles"
    )
    words = summary(health._replace(dropped=1009, unwritten=3), 4, {Why.SILENT: 2, Why.REFUSED: 1})
    assert words.endswith(
        "; 4 refused from consoles, 3 connections closed (2: they do not say who they are, "
        "1: they are not let in); 1,009 dropped by the kernel; 3 writes of the CSV file failed"
    )
