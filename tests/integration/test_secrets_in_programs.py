"""Marked secrets given to pools, ``poolhouse run``, ``poolhouse doctor`` and Django: poolhouse writes none of it.

The programs get their secrets on standard input, so that their lines in a traceback have none.
"""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, event, exc

from poolhouse.argparse_command import Parser
from poolhouse.attach import command as attach_command
from poolhouse.attach import run as attach_run
from poolhouse.configuration.keys import parse_keys
from poolhouse.configuration.otlp import OtlpTarget
from poolhouse.configuration.service import Login
from poolhouse.console.target import Options, choose_target
from poolhouse.doctor import command as doctor_command
from poolhouse.pool.sqlalchemy import FairQueuePool
from poolhouse.report.destination import Destination
from support.capture import Capture
from support.collectd import Namespace
from support.connmond import Connmond
from support.doctor import COMMAND as DOCTOR
from support.planted import DATABASE, HEADER, LOGIN, OTHER_USER, SIGNING, SQL, planted_in

SEEN = "visible-program"
RUN = (*DOCTOR[:-1], "run")

#: What a pool connects with, and what the log then says. The server's port is closed.
POOLS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no conninfo": (f"me:{DATABASE}@host", {}, 'missing "="'),
    "no URL": (f"postgresql://me:{DATABASE}%@127.0.0.1:1/shop", {}, "percent-encoded"),
    "a wrong port": (f"postgresql://me:{DATABASE}/x@127.0.0.1:1/shop", {}, "port"),
    "a conninfo": (f"host=127.0.0.1 port=1 password={DATABASE} sslpassword={DATABASE}", {}, "refused"),
    "kwargs": ("", {"host": "127.0.0.1", "port": 1, "password": DATABASE}, "refused"),
    "a function": ([f"me:{DATABASE}@host"], {}, 'missing "="'),
}

#: Fails with each pool, and says all that a careless program says of the errors; then statements fail.
PROGRAM = """
import json, logging, os, pickle, sqlite3, subprocess, sys, threading, traceback
import poolhouse
from poolhouse.pool.hooks import PoolHooks
failed = threading.Event()
class Watch(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith(("error connecting", "error resetting", "the event hook")):
            failed.set()
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
logging.getLogger().addHandler(Watch())
given = json.loads(sys.stdin.readline())
def tell(error):
    traceback.print_exception(error)
    print(repr(error), vars(error), error.__cause__, pickle.dumps(error), pickle.loads(pickle.dumps(error)))
for name, (conninfo, kwargs, _) in given["pools"].items():
    failed.clear()
    known = (lambda: conninfo[0]) if isinstance(conninfo, list) else conninfo
    with poolhouse.ConnectionPool(known, kwargs=kwargs, min_size=1, max_size=1, name=name) as pool:
        assert failed.wait(30)
        print(repr(pool), pool.get_stats())
        for call in pool.getconn, pool.wait:
            try:
                call(timeout=0.02)
            except poolhouse.PoolTimeout as error:
                tell(error)
    with poolhouse.NullConnectionPool(known, kwargs=kwargs, name=f"{name}, null") as pool:
        try:
            pool.wait(timeout=0.05)
        except poolhouse.PoolTimeout as error:
            tell(error)
def statement(conn, *rest):
    conn.execute(given["statement"])
for settings in {"reset": statement}, {"hooks": PoolHooks(acquired=statement)}:
    failed.clear()
    with poolhouse.ConnectionPool(
        ":memory:", driver=sqlite3, kwargs={"check_same_thread": False}, min_size=1, max_size=1, **settings
    ) as pool:
        with pool.connection() as conn:
            conn.execute("select 1")
        assert failed.wait(30)
child = subprocess.run(["cat", "/proc/self/environ", "/proc/self/cmdline"], capture_output=True, text=True)
print(child.stdout)
print(open("/proc/self/cmdline").read(), open("/proc/self/comm").read(), os.environ)
"""

#: A site whose database cannot be reached, and a setting that is a URL instead of a dictionary.
SITE = """
import json, logging, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
import django
from django.conf import settings
given = json.loads(sys.stdin.readline())
settings.configure(
    DATABASES={"default": {
        "ENGINE": "poolhouse.django.postgresql", "HOST": "127.0.0.1", "PORT": "1", "NAME": "shop", "USER": "me",
        "PASSWORD": given["password"], "OPTIONS": {"pool": {"min_size": 1, "timeout": 0.05}},
    }},
    INSTALLED_APPS=["poolhouse.django"], POOLHOUSE={"report": given["report"], "program": given["name"]},
)
django.setup(set_prefix=False)
from django.apps import apps
from django.db import connection
from django.test import RequestFactory
from poolhouse.django import views
try:
    connection.ensure_connection()
except Exception:
    traceback.print_exc()
for view in views.readyz, views.metrics:
    print(view(RequestFactory().get("/")).content.decode())
for wrong in given["report"], {"report": [given["report"]]}, {"report": given["report"].replace(":", "%3A")}:
    settings.POOLHOUSE = wrong
    try:
        apps.get_app_config("poolhouse").ready()
    except Exception:
        traceback.print_exc()
print(repr(connection), repr(connection.pool), connection.pool.get_stats())
"""


def started(command: list[str], given: object, **variables: str) -> Callable[[], str]:
    """Start a program; the function waits for its end, and returns what it wrote."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **variables},
    )
    # Sent at once, so that all programs run beside each other.
    assert process.stdin is not None
    process.stdin.write(f"{json.dumps(given)}\n")
    process.stdin.flush()
    return lambda: process.communicate(timeout=120)[0]


def test_nothing_that_is_written_or_sent_has_a_secret(tmp_path: Path):
    for name, text in (("auth", f"alice: {SIGNING}\n"), ("password", SIGNING), ("wrong", OTHER_USER)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    for name, text in (("program.py", PROGRAM), ("site.py", SITE)):
        (tmp_path / name).write_text(text)
    before = set(tmp_path.iterdir())
    options = ("--authfile", str(tmp_path / "auth"), "--securitylevel", "sign")
    shown: dict[str, str] = {}
    with Namespace() as network, network.entered(), Capture() as wire, Connmond(*options) as daemon:
        at = f"127.0.0.1:{daemon.reports}/?security=sign"
        by_file = f"collectd://{at}&username=alice&password_file={tmp_path}"
        database = f"postgresql://me:{DATABASE}@db/shop?plugin=collectd&collectd_host=127.0.0.1"
        database += f"&collectd_port={daemon.reports}&collectd_security=sign&collectd_username=alice"
        consoles = ("--consoles", str(daemon.consoles), "--timeout", "60")
        program = [sys.executable, str(tmp_path / "program.py")]
        programs = {
            "doctor": started([*DOCTOR, *consoles], None, POOLHOUSE_REPORT=f"collectd://alice:{SIGNING}@{at}"),
            "doctor, wrong": started([*DOCTOR, *consoles, f"{by_file}/wrong"], None),
            "doctor, database": started([*DOCTOR, *consoles, f"{database}&collectd_password={SIGNING}"], None),
            "run": started(
                [*RUN, "--program", SEEN, "--report", f"{by_file}/password", "--", *program],
                {"pools": POOLS, "statement": f"select '{SQL}' from {SQL}"},
            ),
            "site": started(
                [sys.executable, str(tmp_path / "site.py")],
                {"password": DATABASE, "report": f"collectd://alice:{SIGNING}@{at}", "name": SEEN},
            ),
        }
        shown |= {name: ended() for name, ended in programs.items()}
        shown["connmond"] = "".join(map(str, daemon.end()))
    for number, content in enumerate(wire.sent().values()):
        shown[f"packets {number}"] = content.decode("latin-1")
    assert not planted_in(shown)
    assert set(tmp_path.iterdir()) == before
    # Each has said what it should.
    assert "report       seen" in shown["doctor"]
    assert "does not have user alice with this password" in shown["doctor, wrong"]
    assert "report       seen" in shown["doctor, database"]
    assert "their signature is wrong" in shown["connmond"]
    for name, (_, _, words) in POOLS.items():
        lines = [one for one in shown["run"].splitlines() if f"error connecting in {name!r}" in one]
        assert lines
        assert words in lines[0]
    assert shown["run"].count("last connect error: ") >= 2 * len(POOLS)
    assert "error resetting connection" in shown["run"]
    assert "no such table: …" in shown["run"]
    assert "password_file" in shown["run"], "the child's environment"
    assert "OperationalError" in shown["site"]
    assert "last connect error" in shown["site"]
    assert shown["site"].count("ImproperlyConfigured: POOLHOUSE: ") == 3
    assert any(SEEN in text for place, text in shown.items() if place.startswith("packets"))


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (doctor_command, ["URL", "URL"]),
        (doctor_command, ["--pid", "URL"]),
        (doctor_command, ["URL&collectd_password=SECRET&collectd_interval=never"]),
        (doctor_command, ["postgresql//me:SECRET@db/shop?plugin=collectd"]),
        (doctor_command, ["postgresql://me:SECRET/x@db:port/shop?plugin=collectd"]),
        (doctor_command, ["me:SECRET@db"]),
        (doctor_command, ["collectd://ann%3ASECRET@db/?security=sign"]),
        (attach_run, ["--report", "collectd://ann:SECRET@db/?security=sign", "--", "no-such-command"]),
        (attach_run, ["--report", "ann:SECRET@db", "--", "no-such-command"]),
        (attach_command, ["--install", "--report", "collectd://ann:SECRET@db/?security=sign", "no-such-python"]),
        (attach_command, ["--report", "collectd://ann:SECRET@db/?security=sign", "URL"]),
    ],
)
def test_no_complaint_of_a_command_repeats_a_password(
    module: Any, arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    url = f"postgresql://me:{DATABASE}@db/shop?plugin=collectd"
    parser = Parser(prog="poolhouse")
    module.add_arguments(parser)
    call = {doctor_command: "examine", attach_run: "run", attach_command: "attach"}[module]
    with suppress(SystemExit):
        status = getattr(module, call)(
            parser.parse_args([one.replace("URL", url).replace("SECRET", DATABASE) for one in arguments])
        )
        assert status == 2
    output, errors = capsys.readouterr()
    assert not planted_in({"output": output, "errors": errors})
    assert errors.count("poolhouse") >= 1


def test_no_repr_has_a_secret():
    values = [
        Destination.from_url(f"collectd://ann:{SIGNING}@web1/?security=sign"),
        Login("monitor", LOGIN),
        parse_keys(f"ann: {SIGNING}\n".encode()),
        OtlpTarget("http://web1:4318", headers=(("x-api-key", HEADER),)),
        options := Options("connect", "web1", user="ann", password=SIGNING, security="sign"),
        choose_target(options),
        create_engine(
            f"sqlite://?plugin=collectd&collectd_security=sign&collectd_username=ann&collectd_password={OTHER_USER}"
        ),
    ]
    assert not planted_in({type(one).__name__: f"{one!r} {one} {getattr(one, 'url', '')!r}" for one in values})


def test_the_timeout_of_a_fair_queue_pool_repeats_no_password():
    """One connects and does not know yet whether it can, after another has failed; a third has waited too long."""
    engine = create_engine(
        f"postgresql+psycopg://me:{DATABASE}@db/shop",
        poolclass=FairQueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=0.01,
    )
    is_trying, is_over = threading.Event(), threading.Event()
    answers: Iterator[threading.Event | None] = iter((None, is_over))

    def refuse(*_: object) -> None:
        if (answer := next(answers)) is not None:
            is_trying.set()
            assert answer.wait(30)
        raise psycopg.OperationalError(f"the server refused {DATABASE}")

    event.listen(engine, "do_connect", refuse)

    def fail() -> None:
        with pytest.raises(exc.OperationalError):
            engine.connect()

    fail()
    thread = threading.Thread(target=fail)
    thread.start()
    assert is_trying.wait(30)
    with pytest.raises(exc.TimeoutError) as caught:
        engine.connect()
    is_over.set()
    thread.join(30)
    error: Any = caught.value
    told = f"{error} {error!r} {error.__cause__} {vars(error)} {pickle.dumps(error)!r}"
    assert "last connect error: OperationalError: the server refused …" in told
    assert not planted_in({"told": told})
