"""connmond demands signed or encrypted reports: real programs, its log, a password that changes, mistakes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from poolhouse.report.protection import Protection, Security
from support import zygote
from support.collectd import send, udp_socket
from support.connmond import COMMAND, Connmond, News, Watcher, program, sentences
from support.crafted import CraftedProcess
from support.sealed_sender import SealedSender
from support.waiting import wait_until

#: A program that has one connection checked out until its standard input ends.
PROGRAM = """
import sys
from sqlalchemy import create_engine
engine = create_engine(sys.argv[1])
with engine.connect():
    print(engine.url, repr(engine.url), flush=True)
    sys.stdin.read()
"""
PASSWORD = "s3cret-of-alice"
ALICE: dict[str, Protection] = {
    "sign": Protection("sign", "alice", PASSWORD),
    "encrypt": Protection("encrypt", "alice", PASSWORD),
}


@pytest.fixture
def auth_file(tmp_path: Path) -> Path:
    path = tmp_path / "auth"
    path.write_text(f"alice: {PASSWORD}\n")
    path.chmod(0o600)
    return path


@contextmanager
def running(url: str, report: str = "") -> Iterator[list[str]]:
    """A program with an engine at this URL; what it wrote, once it has ended."""
    process = zygote.Popen[str](
        [sys.executable, "-W", "error", "-c", PROGRAM, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "POOLHOUSE_REPORT": report},
    )
    written: list[str] = []
    try:
        yield written
    finally:
        output, _ = process.communicate("")
        written.append(output)
        assert process.returncode == 0, output


@pytest.mark.parametrize("security", ["sign", "encrypt"])
def test_what_is_sealed_as_demanded_is_seen_and_nothing_else(security: str, auth_file: Path, tmp_path: Path):
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    with (
        Connmond("--authfile", str(auth_file), "--securitylevel", security) as daemon,
        Watcher(daemon.consoles, protection=ALICE[security]) as watcher,
    ):
        settings = f"collectd_host=127.0.0.1&collectd_port={daemon.reports}&collectd_program_name="
        seal = f"&collectd_username=alice&collectd_security={security}"
        by_url = f"sqlite://?plugin=collectd&{settings}by-url{seal}&collectd_password={PASSWORD}"
        plain = f"sqlite://?plugin=collectd&{settings}plain"
        report = f"collectd://alice@127.0.0.1:{daemon.reports}/?security={security}&password_file={password}"
        with (
            running(by_url) as first,
            running("sqlite://?plugin=collectd&collectd_program_name=by-environment", report) as second,
            running(plain),
        ):
            snapshot = watcher.wait_for(
                lambda shot: program(shot, "by-url") and program(shot, "by-environment") and shot.health.refused,
                "both programs",
            )
            assert program(snapshot, "plain") is None
        for written in (first, second):
            assert written == ["sqlite:// sqlite://\n"]
        wait_until(lambda: watcher.snapshots[-1].fleet.processes == 0, what="the sealed goodbyes")
        status, output, errors = daemon.end()
    assert status == 0
    what = {"sign": "they are not signed", "encrypt": "they are not encrypted"}[security]
    lines = [line for line in sentences(errors) if "refused so far" in line]
    assert len(lines) == 1
    assert f"datagrams were refused so far: {what}; the last from 127.0.0.1" in lines[0]
    assert f": {what}" in output + errors
    assert PASSWORD not in output + errors


def test_a_password_changes_on_a_running_fleet(auth_file: Path):
    with (
        Connmond("--authfile", str(auth_file), "--securitylevel", "sign") as daemon,
        Watcher(daemon.consoles, protection=ALICE["encrypt"]) as watcher,
        ExitStack() as stack,
    ):
        old = stack.enter_context(SealedSender(daemon.reports, ALICE["sign"]))
        first, second = CraftedProcess("old", "web1", "1:a"), CraftedProcess("new", "web1", "1:b")

        news = News()

        def old_arrives() -> bool:
            if news.has_come(watcher):
                old.send(first.report())
            return bool(watcher.snapshots and program(watcher.snapshots[-1], "old"))

        wait_until(old_arrives, what="the program")
        auth_file.write_text(f"alice: the new one\n#poolhouse-also alice: {PASSWORD}\n")
        read_again = f"WARNING connmond: {auth_file} was read again: 1 users"
        new = stack.enter_context(SealedSender(daemon.reports, Protection("sign", "alice", "the new one")))

        def both_arrive() -> bool:
            if news.has_come(watcher):
                old.send(first.report())
                new.send(second.report())
            shot = watcher.snapshots[-1]
            users = shot.health.users
            return bool(program(shot, "new") and users and users[0].received_old)

        wait_until(both_arrive, what="reports with both passwords")
        (alice,) = watcher.snapshots[-1].health.users
        assert (alice.name, alice.old_host, alice.old_program, alice.old_token) == ("alice", "web1", "old", "1:a")
        # The sentence about the old one is said within a second.
        wait_until(lambda: watcher.snapshots[-1].health.uptime > 4, what="another second")
        _, _, errors = daemon.end()
    said = sentences(errors)
    assert read_again.replace("connmond: ", "") in said
    assert "WARNING user 'alice' still uses an old password, the last time at 127.0.0.1" in said
    assert PASSWORD not in errors


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        (["--securitylevel", "sign"], 1, "--securitylevel: sign needs --authfile too"),
        (["--authfile", "/nowhere/auth"], 1, "--authfile: there is no file '/nowhere/auth'"),
        (["--securitylevel", "all"], 2, "--securitylevel: expected none, sign or encrypt, not 'all'"),
    ],
)
def test_what_cannot_be_demanded_is_an_error_at_the_start(options: list[str], status: int, sentence: str):
    ports = ["--reports", "127.0.0.1:0", "--consoles", "127.0.0.1:0", "--bind", "off"]
    done = zygote.run([*COMMAND, *ports, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert sentence in done.stderr


def test_check_says_what_is_demanded_and_that_a_file_is_open_to_all(auth_file: Path):
    auth_file.chmod(0o644)
    options = [
        "--authfile",
        str(auth_file),
        "--securitylevel",
        "Encrypt",
        "--no-strict",
        "--bind",
        "off",
        "--check",
    ]
    done = zygote.run([*COMMAND, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert f"only encrypted ones, by {auth_file}, what is encrypted need not be signed" in done.stdout
    assert "can be read by every user of this machine" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize("security", ["sign", "encrypt"])
def test_a_captured_stream_is_refused_before_and_after_a_restart(security: Security, auth_file: Path):
    assert security != "none"
    protection = Protection(security, "alice", PASSWORD)
    options = ("--authfile", str(auth_file), "--securitylevel", security)
    ended, lives = CraftedProcess("ended", "web1", "1:a"), CraftedProcess("lives", "web1", "1:b")
    with ExitStack() as stack:
        daemon = stack.enter_context(Connmond(*options))
        watcher = stack.enter_context(Watcher(daemon.consoles, protection=protection))
        ended_sender = stack.enter_context(SealedSender(daemon.reports, protection))
        sender = stack.enter_context(SealedSender(daemon.reports, protection))

        news = News()

        def are_shown() -> bool:
            if news.has_come(watcher):
                ended_sender.send(ended.report(checkouts=1))
                sender.send(lives.report(checkouts=1))
            return bool(watcher.snapshots and watcher.snapshots[-1].fleet.processes == 2)

        wait_until(are_shown, what="both processes")
        assert ended_sender.questions  # The clock of a crafted process is wrong by years.
        ended_sender.send(ended.report(goodbye=True))
        captured = [*ended_sender.sent, *sender.sent]

        def only_replays_come() -> bool:
            if news.has_come(watcher):
                send(captured, daemon.reports)
            shot = watcher.snapshots[-1]
            return shot.fleet.processes == 0 and dict(shot.health.refusals).get("replayed", 0) > len(captured)

        # The living one is silent, too, and nothing that was captured keeps it alive.
        wait_until(only_replays_come, what="silence")
        status, output, errors = daemon.end()
        assert status == 0, errors
        assert "their process has already sent them, or newer ones" in errors
        assert "their process has already sent them, or newer ones" in output

        again = stack.enter_context(Connmond(*options, reports=daemon.reports))
        watcher = stack.enter_context(Watcher(again.consoles, protection=protection))
        seen = watcher.wait_for(lambda shot: True, "a snapshot")

        def is_shown() -> bool:
            if news.has_come(watcher):
                send(captured, again.reports)
                sender.send(lives.report(checkouts=2))
            return bool(program(watcher.snapshots[-1], "lives"))

        wait_until(is_shown, what="the living process")
        seen = watcher.snapshots[-1]
        assert (seen.fleet.processes, program(seen, "ended")) == (1, None)
        assert dict(seen.health.refusals)["stale"] > len(ended_sender.sent) - 2


def test_a_user_reports_for_the_hosts_of_its_line_only(auth_file: Path):
    auth_file.write_text(f"alice: {PASSWORD}\n#poolhouse-hosts alice: web*\n#poolhouse-host alice: db1\n")
    with (
        Connmond("--authfile", str(auth_file), "--securitylevel", "sign") as daemon,
        Watcher(daemon.consoles, protection=ALICE["encrypt"]) as watcher,
        SealedSender(daemon.reports, ALICE["sign"]) as sender,
    ):
        web, db = CraftedProcess("nova", "web7", "1:a"), CraftedProcess("nova", "db1", "1:b")

        news = News()

        def is_decided() -> bool:
            if news.has_come(watcher):
                sender.send(web.report())
                sender.send(db.report())
            return bool(watcher.snapshots and program(watcher.snapshots[-1], "nova"))

        wait_until(is_decided, what="the program")
        assert [row.name for row in watcher.snapshots[-1].hosts] == ["web7"]
        assert dict(watcher.snapshots[-1].health.refusals)["host"]
        auth_file.write_text(f"alice: {PASSWORD}\n#poolhouse-hosts alice: web* db1\n")

        def are_both_hosts_there() -> bool:
            if news.has_come(watcher):
                sender.send(db.report())
            return [row.name for row in watcher.snapshots[-1].hosts] == ["db1", "web7"]

        wait_until(are_both_hosts_there, what="the other host, after a change of the file")
        _, _, errors = daemon.end()
    said = sentences(errors)
    assert f"WARNING {auth_file}: line 3 is not read: there are #poolhouse-also and #poolhouse-hosts" in said
    assert any(
        "does not allow their user to report for their host; the last from 127.0.0.1" in line for line in said
    )


def connmon(port: int, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-m", "poolhouse.console", "connect", "--port", str(port), "--once"]
    more = ["--host", "127.0.0.1", "--timeout", "10", *options]
    return zygote.run([*command, *more], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_connmon_over_udp_signs_and_encrypts(auth_file: Path, tmp_path: Path):
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(f"{PASSWORD}\n")
    wrong.write_text("another\n")
    alice = ("--user", "alice", "--password-file", str(right))
    with (
        Connmond("--authfile", str(auth_file), "--securitylevel", "sign") as daemon,
        SealedSender(daemon.reports, ALICE["sign"]) as sender,
        Watcher(daemon.consoles, protection=ALICE["sign"]) as watcher,
    ):
        process, news = CraftedProcess("nova", interval=60.0), News()

        def is_shown() -> bool:
            if news.has_come(watcher):
                sender.send(process.report())
            return bool(watcher.snapshots and program(watcher.snapshots[-1], "nova"))

        wait_until(is_shown, what="a program")
        for security in ((), ("--security", "encrypt"), ("--security", "sign")):
            shown = connmon(daemon.consoles, *alice, *security)
            assert (shown.returncode, "nova" in shown.stdout) == (0, True), shown.stderr
        for options, sentence in (
            ((), "answers only what is signed or encrypted: name a --user and a --password-file"),
            (("--user", "alice", "--password-file", str(wrong)), "does not have this user with this password"),
            (("--user", "eve", "--password-file", str(right)), "does not have this user with this password"),
        ):
            refused = connmon(daemon.consoles, *options)
            assert (refused.returncode, sentence in refused.stderr) == (1, True), refused.stderr
            assert PASSWORD not in refused.stderr
        with udp_socket() as earlier:
            earlier.sendto(b"HELO", ("127.0.0.1", daemon.consoles))
            earlier.settimeout(2.0)
            with pytest.raises(TimeoutError):
                earlier.recv(2000)
        _, _, errors = daemon.end()
    assert "of consoles, " in errors
    assert PASSWORD not in errors
