"""Marked secrets planted everywhere in a real fleet with failures: no output, no byte sent, no process shows one.

The programs work, time out, fail to log in, fail to connect and log at every level. They have a network of their
own, in which every packet is captured: reports, consoles, HTTP, and pushes to a collector.
"""

import base64
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

import poolhouse
from support.capture import Capture
from support.collectd import Namespace
from support.collector import collector
from support.connmon import connmon
from support.connmond import COMMAND, Connmond
from support.page_stream import Stream
from support.planted import (
    DATABASE,
    ENVIRONMENT,
    HEADER,
    LOGIN,
    OLD,
    OTHER_USER,
    PARAMETER,
    PASSPHRASE,
    SIGNING,
    SQL,
    planted_in,
)
from support.waiting import wait_until

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"
#: A name that has to be found wherever is looked: else nobody has looked there.
SEEN = "visible-program"

#: Reports, runs statements, times out, fails to connect, and says all that a careless program says.
PROGRAM = """
import logging, os, subprocess, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
for name in ("sqlalchemy", "asyncio"):
    logging.getLogger(name).setLevel(logging.ERROR)
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError, TimeoutError
from sqlalchemy.pool import QueuePool
import poolhouse
url, dead, *more = sys.stdin.readline().split()
engine = create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.2)
print(repr(engine), engine.url, repr(engine.url), repr(engine.pool), repr(engine.dialect))
with engine.connect() as connection:
    connection.execute(text("select '@SQL@', :given"), {"given": "@PARAMETER@"}).all()
    try:
        engine.connect()
    except TimeoutError:
        traceback.print_exc()
broken = create_engine(dead)
try:
    broken.connect()
except OperationalError as error:
    print("\\n".join(getattr(error, "__notes__", [])))
for wrong in more:
    try:
        create_engine(wrong)
    except Exception:
        traceback.print_exc()
child = subprocess.run(["cat", "/proc/self/environ"], capture_output=True, text=True)
print(child.stdout.replace(os.environ.get("POOLHOUSE_REPORT", "-"), ""))
print("ready", flush=True)
with engine.connect():
    sys.stdin.read()
""".replace("@SQL@", SQL).replace("@PARAMETER@", PARAMETER)


@contextmanager
def running(
    path: Path, urls: str, report: str, shown: dict[str, str], name: str, *patient: str
) -> Iterator[subprocess.Popen[str]]:
    """The program; what it wrote and what /proc tells of it."""
    process = subprocess.Popen(
        [sys.executable, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **({"POOLHOUSE_REPORT": report} if report else {})},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{urls}\n")
    process.stdin.flush()
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "ready\n":
            break
    try:
        yield process
        shown[f"{name}: command line"] = Path(f"/proc/{process.pid}/cmdline").read_text()
    finally:
        output, errors = process.communicate("")
        shown[f"{name}: output"] = "".join(lines) + output
        shown[f"{name}: errors"] = errors
        assert process.returncode == 0, errors


def environ(pid: int, *given: str) -> str:
    """A process's environment without these variables, which a user set."""
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return "\0".join(one for one in variables if one.partition("=")[0] not in given)


def secret_file(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    lines = [
        "[connmon_service_default]",
        "name: default",
        "nodes: node1 hostname=127.0.0.1:5800",
        "use_auth: yes",
        "auth_key: monitor",
        f"auth_secret: {LOGIN}",
        f"csv_dump: {tmp_path}/fleet.csv",
    ]
    return secret_file(tmp_path / "connmon.cfg", "\n".join(lines) + "\n")


def with_tls(path: Path, configuration: str, key: str) -> str:
    """The configuration with the node's certificate and this key."""
    files = f"ssl_certfile: {CERTIFICATES / 'node.pem'}\nssl_keyfile: {key}\n"
    return secret_file(path, Path(configuration).read_text() + files)


def protected_key(path: Path) -> str:
    """The node's private key behind a password, and where it is."""
    key = load_pem_private_key((CERTIFICATES / "node.key").read_bytes(), None)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode()))
    return secret_file(path, text.decode())


def authorization(password: str) -> str:
    return "Basic " + base64.b64encode(f"monitor:{password}".encode()).decode()


def fetched(port: int, path: str, password: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    request.add_header("Authorization", authorization(password))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return f"{answer.headers}\0{answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error} {error.headers} {error.read().decode()}"


def test_no_secret_is_shown_sent_or_written_by_a_fleet_with_failures(tmp_path: Path, configuration: str):
    shown: dict[str, str] = {}
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    auth = secret_file(
        tmp_path / "auth", f"alice: {SIGNING}\n#poolhouse-also alice: {OLD}\nbob {OTHER_USER}\n: {OTHER_USER}\n"
    )
    options = ["-c", configuration, "--authfile", auth, "--securitylevel", "sign", "--http", "127.0.0.1:0"]
    headers = f"OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20{HEADER},x-api-key={HEADER}"
    pushing = ("env", "OTEL_METRIC_EXPORT_INTERVAL=1000", headers)
    # After five wrong logins an address has to wait: those with a wrong password come from addresses of their own.
    wrong_program, wrong_console = "127.0.0.9", "127.0.0.8"
    with (
        Namespace(addresses=(wrong_program, wrong_console)) as network,
        network.entered(),
        Capture() as wire,
        collector() as taken,
    ):
        # Its first answer repeats a header as a place to go to, the others in their words.
        taken.answers.append((308, {"Location": f"http://127.0.0.1/?key={HEADER}"}))
        taken.words = f"the key {HEADER} ends soon"
        with Connmond(*options, "--bind", "0.0.0.0:0", "--otlp", taken.url, prefix=pushing) as daemon:
            client = secret_file(
                tmp_path / "client.cfg", Path(configuration).read_text().replace(":5800", f":{daemon.service}")
            )
            stranger = secret_file(
                tmp_path / "stranger.cfg",
                Path(client).read_text().replace(LOGIN, OTHER_USER).replace("127.0.0.1", wrong_program),
            )
            seal = f"collectd_host=127.0.0.1&collectd_port={daemon.reports}&collectd_security=sign"
            seal += "&collectd_username=alice"
            dead = f"postgresql+psycopg://me:{DATABASE}@127.0.0.1:1/shop?plugin=collectd&{seal}"
            dead += f"&collectd_password={OLD}"
            wrong = [
                f"sqlite://?plugin=collectd&{seal}&collectd_password={SIGNING}&collectd_interval=never",
                f"sqlite://?plugin=collectd&collectd_password={SIGNING}&collectd_security=sign",
                f"sqlite://?plugin=collectd&{seal}&collectd_password={SIGNING}&collectd_pasword={SIGNING}",
            ]
            signed = f"sqlite://?plugin=collectd&{seal}&collectd_program_name={SEEN}&collectd_password="
            by_file = f"sqlite://?plugin=connmon&connmon_config={{}}&connmon_program_name={SEEN}-tcp"
            report = f"collectd://alice:{ENVIRONMENT}@127.0.0.1:{daemon.reports}/?security=sign"
            report += f"&program_name={SEEN}-env"
            with (
                running(script, " ".join([signed + SIGNING, dead, *wrong]), "", shown, "signed"),
                running(script, f"{signed}{OTHER_USER} {dead}", "", shown, "wrong password"),
                running(script, f"sqlite://?plugin=collectd {dead}", report, shown, "environment"),
                running(script, f"{by_file.format(client)} {dead}", "", shown, "login"),
                running(script, f"{by_file.format(stranger)} {dead}", "", shown, "wrong login"),
            ):

                def everybody_is_there() -> bool:
                    told = fetched(daemon.http, "/api/snapshot", LOGIN)
                    names = {row["name"] for row in json.loads(told.partition("\0")[2])["programs"]}
                    return {SEEN, f"{SEEN}-tcp"} <= names

                wait_until(everybody_is_there, what="the programs")
                for path in ("/api/", "/api/snapshot", f"/api/snapshot?program={SEEN}", "/metrics", "/"):
                    shown[f"http {path}"] = fetched(daemon.http, path, LOGIN)
                for path in ("/api/snapshot", "/nowhere"):
                    shown[f"http {path} refused"] = fetched(daemon.http, path, OTHER_USER)
                with Stream(daemon.http, more=f"Authorization: {authorization(LOGIN)}\r\n") as stream:
                    shown["live"] = f"{stream.head} {stream.event()}"
                files = {
                    secret: secret_file(tmp_path / f"password-{number}", f"{secret}\n")
                    for number, secret in enumerate((LOGIN, OTHER_USER, SIGNING))
                }
                over_udp = ("connect", "--host", "127.0.0.1", "--port", str(daemon.consoles), "-u", "alice")
                for name, way, secret, form in (
                    ("right", ("-H", f"127.0.0.1:{daemon.service}", "-u", "monitor"), LOGIN, "--json"),
                    ("right", ("-H", f"127.0.0.1:{daemon.service}", "-u", "monitor"), LOGIN, "--once"),
                    ("wrong", ("-H", f"{wrong_console}:{daemon.service}", "-u", "monitor"), OTHER_USER, "--json"),
                    ("over UDP", over_udp, SIGNING, "--json"),
                ):
                    done = connmon(*way, "--password-file", files[secret], form)
                    shown[f"connmon {form} {name}"] = done.stdout + done.stderr
                wait_until(lambda: taken.newest(SEEN), what="a push")
                shown["connmond: command line"] = Path(f"/proc/{daemon.process.pid}/cmdline").read_text()
                shown["connmond: environment"] = environ(
                    daemon.process.pid, "OTEL_EXPORTER_OTLP_HEADERS", "POOLHOUSE_REPORT"
                )
            status, output, errors = daemon.end()
            assert status == 0, errors
            shown["connmond: output"], shown["connmond: errors"] = output, errors
    packets = packets_of(wire)
    requests = [place for place, text in packets.items() if "Authorization: " in text]
    # Who asks over HTTP sends its login to the one that it asks, and nowhere else.
    assert {place.split()[-1] for place in requests} == {f"to:{daemon.http}", f"to:{taken.url.rpartition(':')[2]}"}
    for place in requests:
        packets[place] = re.sub(r"(?im)^(authorization|x-api-key): .*$", "", packets[place])
    # The collector's answers repeat what they were sent.
    answers = f"from:{taken.url.rpartition(':')[2]}"
    shown |= {place: text for place, text in packets.items() if answers not in place.split()}
    shown["csv"] = (tmp_path / "fleet.csv").read_text()
    keys = {"open": str(CERTIFICATES / "node.key"), "protected": protected_key(tmp_path / "node.key")}
    for name, more in (
        ("right", options[:6]),
        ("broken", ["-c", secret_file(tmp_path / "x", f"auth_secret {LOGIN}\n")]),
        *((f"{name} key", ["-c", with_tls(tmp_path / f"{name}.cfg", configuration, keys[name])]) for name in keys),
    ):
        # Whoever starts it by hand may type the key's password although nobody asks for it.
        done = subprocess.run(
            [*COMMAND, *more, "--check"], input=f"{PASSPHRASE}\n", capture_output=True, text=True, timeout=60
        )
        shown[f"--check {name}"] = done.stdout + done.stderr
    secret_lines = {
        line for key in keys.values() for line in Path(key).read_text().splitlines() if "---" not in line
    }
    assert not [place for place, text in shown.items() if any(line in text for line in secret_lines)]
    assert not planted_in(shown)
    # Each artefact is one: what may be seen there is seen.
    ports = {"reports": f"to:{daemon.reports}", "clients": f"to:{daemon.service}"}
    ports |= {"pushes": answers.replace("from", "to"), "http": f"from:{daemon.http}"}
    for name, port in ports.items():
        assert any(SEEN in text for place, text in packets.items() if port in place.split()), name
    # What consoles get is compressed; there is some.
    for port in (daemon.consoles, daemon.service):
        assert any(f"from:{port}" in place.split() and text for place, text in packets.items())
    seen = (
        "csv",
        "http /api/snapshot",
        "http /metrics",
        "live",
        "connmon --json right",
        "connmon --json over UDP",
    )
    for place in seen:
        assert SEEN in shown[place], place
    assert "limit of size 1" in shown["signed: errors"]
    assert "collectd_interval" in shown["signed: errors"]
    assert "their signature is wrong" in shown["connmond: errors"]
    assert "wrong user or password" in shown["connmond: errors"]
    assert "for http://127.0.0.1/?key=…" in shown["connmond: errors"]
    assert "took all metrics and warns: 'the key … ends soon'" in shown["connmond: errors"]
    assert "user monitor" in shown["--check right"]
    assert "line 1" in shown["--check broken"]
    assert "TLS" in shown["--check open key"]
    assert "the key is protected by a password" in shown["--check protected key"]


def packets_of(wire: Capture) -> dict[str, str]:
    """What was sent, by its ports."""
    return {
        f"packets {number} from:{way.sender} to:{way.receiver}": content.decode("latin-1")
        for number, (way, content) in enumerate(wire.sent().items())
    }


def test_a_pool_tells_no_part_of_a_conninfo_that_the_driver_cannot_read(caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG", "poolhouse.pool")
    with poolhouse.ConnectionPool(f"me:{DATABASE}@host", min_size=1, max_size=1) as pool:
        told = [repr(pool)]
        wait_until(lambda: "error connecting" in caplog.text, what="the first connect")
        for call in (lambda: pool.getconn(0.02), lambda: pool.wait(0.02)):
            with pytest.raises(
                poolhouse.PoolTimeout, match="last connect error: ProgrammingError: missing"
            ) as caught:
                call()
            told.append(f"{caught.value}")
    assert not planted_in({"told": " ".join(told), "log": caplog.text})
