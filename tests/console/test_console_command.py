"""The command line: what is printed, and the exit statuses."""

import json
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from poolhouse.console import command, once
from poolhouse.console.once import ABSENT_PATIENCE_S, PATIENCE_S, patience
from poolhouse.console.target import Target
from poolhouse.errors import SettingError
from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Health, Row, Snapshot
from support.console import LIVE
from support.sample_fleet import SNAPSHOT, with_processes

EMPTY = Snapshot(SNAPSHOT.wall_time, Row(""), (), (), Health())
CALM = SNAPSHOT._replace(programs=SNAPSHOT.programs[:2], hosts=())


class PreparedFeed:
    """A feed that says what it has to say at its start."""

    items: tuple[Snapshot | Link | BaseException, ...] = ()

    def __init__(self, on_snapshot: Callable[[Snapshot], None], on_link: Callable[[Link], None]) -> None:
        self._on_snapshot, self._on_link = on_snapshot, on_link
        self.is_closed = False

    def start(self) -> None:
        for item in self.items:
            if isinstance(item, BaseException):
                raise item
            (self._on_link if isinstance(item, Link) else self._on_snapshot)(item)

    def ask(self, program: str | None) -> None: ...

    def retry(self) -> None: ...

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def connmon(monkeypatch):
    """Runs the command against a feed that has these items."""
    asked: list[Target] = []

    def run(*arguments: str, items: tuple[Snapshot | Link | BaseException, ...] = (LIVE, SNAPSHOT), **options):
        feed = type("Feed", (PreparedFeed,), {"items": items})
        monkeypatch.setattr(command, "feed_of", lambda target: asked.append(target) or feed)
        return CliRunner().invoke(command.connmon, arguments, **options)

    run.asked = asked
    return run


def test_once_prints_the_programs_and_ends_with_0(connmon):
    result = connmon("--once")
    assert result.exit_code == 0
    assert "\n ! checkout    12   120/120 !" in result.stdout
    assert "\x1b" not in result.stdout


def test_once_is_as_wide_as_the_terminal(connmon):
    narrow = connmon("--once", env={"COLUMNS": "60"}).stdout
    wide = connmon("--once", env={"COLUMNS": "200"}).stdout
    assert max(map(len, narrow.splitlines())) <= 60
    assert "CONNMAX" in wide
    assert "CONNMAX" not in narrow


def test_a_terminal_of_another_encoding_gets_what_it_can_show(connmon, monkeypatch):
    result = CliRunner(charset="latin-1")
    monkeypatch.setattr(command, "feed_of", lambda *_: type("Feed", (PreparedFeed,), {"items": (LIVE, SNAPSHOT)}))
    assert b"o migrate" in result.invoke(command.connmon, ["--once"]).stdout_bytes


def test_json_is_the_whole_snapshot(connmon):
    result = connmon("--json")
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert [program["name"] for program in printed["programs"]] == [row.name for row in SNAPSHOT.programs]
    assert printed["programs"][2]["wait_seconds_p99"] > 1


@pytest.mark.parametrize("form", ["--once", "--json", "--dump-only"])
def test_an_interrupt_ends_it_with_130_and_without_a_word(connmon, form):
    result = connmon(form, items=(LIVE, KeyboardInterrupt()))
    assert (result.exit_code, result.output) == (130, "")


@pytest.mark.parametrize("form", ["--once", "--json"])
def test_saturation_fails_only_who_asks_for_it(connmon, form):
    assert connmon(form).exit_code == 0
    assert connmon(form, "--fail-on", "saturated").exit_code == 3
    assert connmon(form, "--fail-on", "saturated", items=(LIVE, CALM)).exit_code == 0


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ((), "it does not answer"),
        ((LIVE, EMPTY), "it answers, but no program has reported to it"),
        (
            (LIVE, EMPTY._replace(health=Health(received=7))),
            "it answers, but no program reports to it any more",
        ),
        (
            (LIVE, EMPTY._replace(health=Health(received=1_007, refused=1_007))),
            "it answers, but it has refused every datagram that was sent to it (1,007)",
        ),
        ((Link("refused", "web1:25828", error="Connection refused."),), "Connection refused"),
        ((Link("unresolved", "web1:25828"),), "the name is not known"),
        (
            (Link("listening", "web1:25828"),),
            "no collectd pushes to this port; connmon connect asks a connmond",
        ),
    ],
)
@pytest.mark.parametrize("form", ["--once", "--json"])
def test_when_nothing_comes_in_time_the_status_is_1_with_the_reason(connmon, form, items, reason):
    result = connmon(form, "--host", "web1", "--port", "25828", "--timeout", "0", items=items)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"connmon: nothing came from web1:25828 within 0 s: {reason}\n"


def test_where_no_connmond_answers_at_all_the_reason_says_what_to_do(connmon):
    note = "nothing answers on TCP localhost:5800, so this is UDP localhost:25828"
    link = Link("listening", "localhost:25828", note=note)
    result = connmon("--once", "--timeout", "0", items=(link,))
    assert result.exit_code == 1
    assert result.stderr == (
        f"connmon: {note}; nothing came from localhost:25828 within 0 s: no collectd pushes to this port; "
        "start connmond, or name its host with --host\n"
    )


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ((LIVE, SNAPSHOT), "it does not report the processes of checkout"),
        ((LIVE, SNAPSHOT._replace(program="checkout")), "no process of checkout reports to it"),
    ],
)
def test_a_program_whose_processes_do_not_come_is_status_1_with_the_reason(connmon, items, reason):
    result = connmon("--json", "--program", "checkout", "--timeout", "0", items=items)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(f": it answers, but {reason}\n")


def test_a_program_that_is_named_comes_with_its_processes_and_pools(connmon):
    result = connmon("--json", "--program", "checkout", items=(LIVE, SNAPSHOT, with_processes()))
    processes = json.loads(result.stdout)["processes"]
    assert [process["token"] for process in processes] == [process.token for process in with_processes().processes]
    assert processes[0]["pools"][0]["name"] == "db1:5432/shop"


def test_once_with_a_program_prints_its_pools(connmon):
    result = connmon("--once", "--program", "checkout", items=(LIVE, SNAPSHOT, with_processes()))
    assert " checkout  12 procs" in result.stdout
    assert "\n ! web1  4121:9f3a2c  db1:5432/shop" in result.stdout


def test_a_source_that_sends_value_by_value_is_given_a_second_snapshot(connmon):
    first = SNAPSHOT._replace(programs=SNAPSHOT.programs[:1])
    listening = Link("listening", "localhost:25828")
    assert "checkout" in connmon("--once", items=(listening, first, SNAPSHOT)).stdout
    only = connmon("--once", "--timeout", "0.05", items=(listening, first))
    assert (only.exit_code, "billing" in only.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (("listen",), ("localhost", 25828, "listen")),
        (("connect", "--port", "1"), ("localhost", 1, "connect")),
        (("--port", "1", "connect"), ("localhost", 1, "connect")),
        (("connect", "--host", "web1"), ("web1", 25828, "connect")),
        (("connect", "--host", "web1:7"), ("web1", 7, "connect")),
        (("--port", "25828"), ("localhost", 25828, "auto")),
        (("--host", "::1", "--port", "7"), ("::1", 7, "auto")),
    ],
)
def test_where_the_data_comes_from(connmon, arguments, address):
    assert connmon(*arguments, "--once").exit_code == 0
    assert connmon.asked == [Target(udp=address)]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "0"),
        ("--port", "65536"),
        ("--port", "abc"),
        ("--timeout", "-1"),
        ("--timeout", "inf"),
        ("elsewhere",),
        ("--fail-on", "fire", "--once"),
        ("--fail-on", "saturated"),
        ("--dump-only", "--once"),
        ("--dump-only", "--json"),
        ("--user", "x", "--password", "y", "--password-file", "z"),
        ("--password-file", "/nonexistent"),
        ("--host", "web1", "--service", "default"),
        ("--host", "web1", "--node", "node1"),
        ("connect", "--config", "connmon.cfg"),
        ("--config", "/nonexistent"),
    ],
)
def test_a_mistake_on_the_command_line_is_status_2(connmon, arguments):
    assert connmon(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", "http"), "'http' is not a valid port."),
        (("--timeout", "soon"), "'soon' is not a valid number of seconds."),
        (("--timeout", "nan"), "'nan' is not a valid number of seconds."),
    ],
)
def test_a_value_that_is_no_number_is_called_what_the_option_wants(connmon, arguments, words):
    result = connmon(*arguments, "--once")
    assert result.exit_code == 2
    assert result.stderr.endswith(f"Error: Invalid value for '{arguments[0]}': {words}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("connect", "web1:25828"), "a host needs its option: connmon connect -H web1:25828"),
        (("listen", "::1", "web2"), "a host needs its option: connmon listen -H ::1"),
        (
            ("web1:5800",),
            "'web1:5800' is neither listen nor connect; a host needs its option: connmon -H web1:5800",
        ),
    ],
)
def test_a_host_without_its_option_is_a_sentence_that_names_the_option(connmon, arguments, words):
    result = connmon(*arguments, "--once")
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_a_port_that_cannot_be_bound_is_a_sentence(connmon):
    error = SettingError("port", "cannot listen on UDP [::1]:25828: Address already in use")
    result = connmon("listen", "--once", items=(error,))
    assert (result.exit_code, result.stderr) == (1, f"connmon: {error}\n")


def test_an_address_that_is_none_is_a_sentence(connmon):
    result = connmon("--once", "--host", "web1:x")
    assert result.exit_code == 2
    assert result.stderr == "connmon: --host: 'web1:x': 'x' is not a port\n"


def test_without_a_terminal_the_window_says_what_does_without(connmon):
    result = connmon()
    assert result.exit_code == 1
    assert result.stderr == "connmon: the window needs a terminal; --once and --json do without\n"


@pytest.fixture
def without_textual(monkeypatch):
    for name in [
        name for name in sys.modules if name.partition(".")[0] == "textual" or name == "poolhouse.console.app"
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual", None)


@pytest.mark.usefixtures("without_textual")
def test_without_textual_once_and_json_work_and_the_window_says_what_to_install(connmon, monkeypatch):
    assert connmon("--once").exit_code == 0
    assert connmon("--json").exit_code == 0
    monkeypatch.setattr(command, "why_no_window", lambda: None)
    result = connmon()
    assert result.exit_code == 1
    assert "pip install '.[console]' in a checkout of poolhouse" in result.stderr


@pytest.mark.parametrize(
    ("link", "seconds"),
    [
        (Link("refused", "db1:5800", error="Connection refused"), ABSENT_PATIENCE_S),
        (Link("refused", "db1:25828"), ABSENT_PATIENCE_S),
        (Link("unresolved", "db1:5800", error="Name or service not known"), ABSENT_PATIENCE_S),
        # TCP refuses, and the console's own port was free: nothing is there that could be asked.
        (Link("listening", "localhost:25828", note="nothing answers on TCP localhost:5800"), ABSENT_PATIENCE_S),
        # What is pushed comes at collectd's interval.
        (Link("listening", "localhost:25828"), PATIENCE_S),
        (Link("connecting", "db1:5800"), PATIENCE_S),
        (Link("refused", "service 'default'", error="node1: Connection refused; node2: timed out"), PATIENCE_S),
        # It was there a moment ago.
        (Link("refused", "db1:5800", error="Connection refused", heard_at=1.0), PATIENCE_S),
    ],
)
def test_where_nothing_listens_it_is_waited_for_a_daemon_that_starts_and_no_longer(link, seconds):
    assert (ABSENT_PATIENCE_S, PATIENCE_S) == (3.0, 20.0)
    assert patience(link, None) == seconds
    assert patience(link, None, has_begun=True) == PATIENCE_S
    assert patience(link, 60.0) == 60.0
    assert patience(link, 0.0) == 0.0


REFUSED = Link("refused", "db1:5800", error="Connection refused")


def test_a_script_is_told_soon_that_nothing_listens(connmon, monkeypatch):
    monkeypatch.setattr(once, "ABSENT_PATIENCE_S", 0.01)
    for form in ("--once", "--json", "--dump-only"):
        result = connmon(form, items=(REFUSED,))
        assert result.exit_code == 1
        assert result.stderr == "connmon: nothing came from db1:5800 within 0.01 s: Connection refused\n"


def test_a_daemon_that_is_just_starting_is_waited_for(connmon):
    assert "checkout" in connmon("--once", items=(REFUSED, LIVE, SNAPSHOT)).stdout
