"""connmond's HTTP face: a real daemon, asked over real connections."""

import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import Finding, PoolSigns, SiteReading
from support import zygote
from support.collectd import Namespace
from support.connmond import COMMAND, Connmond, Watcher, program, sentences
from support.pages import ROOT
from support.reports import report, send
from support.waiting import wait_until

#: Datagrams a second.
PACE = 2_000
OPEN = {"Accept": "application/openmetrics-text;version=1.0.0"}
CERTIFICATE = ROOT / "tests" / "support" / "certificates" / "node.pem"


def ask(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], str]:
    """Status, headers and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read().decode()


def numbers(text: str, name: str, *, is_open: bool = False) -> dict[str, float]:
    """The samples of this name, by program."""
    parse = parse_open_metrics if is_open else parse_text
    return {
        sample.labels.get("service_name", ""): sample.value
        for family in parse(text)
        for sample in family.samples
        if sample.name == name
    }


@pytest.fixture
def daemon() -> Iterator[Connmond]:
    with Connmond("--http", "127.0.0.1:0") as daemon:
        yield daemon


def tell(daemon: Connmond, *programs: str, **changes: object) -> None:
    """Have programs report, and wait until the daemon knows."""
    with Watcher(daemon.consoles) as watcher:
        for one in programs:
            send(report(one, **{"interval": 60.0, **changes}), daemon.reports)
        watcher.wait_for(lambda snapshot: all(program(snapshot, one) for one in programs))


def test_metrics_tell_what_programs_report(daemon: Connmond) -> None:
    waits = Histogram()
    waits.record_all([1_000_000] * 3 + [3_000_000_000])
    tell(daemon, "shop", used=3, idle=2, waiting=1, checkouts=7, timeouts=4, wait=waits)
    for headers, is_open in (({}, False), (OPEN, True)):
        status, answered, text = ask(daemon.http, "/metrics", headers)
        kind = "application/openmetrics-text; version=1.0.0" if is_open else "text/plain; version=0.0.4"
        assert (status, answered["content-type"]) == (200, f"{kind}; charset=utf-8")
        for name, value in {
            "db_client_connection_pending_requests": 1,
            "db_client_connection_timeouts_total": 4,
            "poolhouse_checkouts_total": 7,
            "db_client_connection_wait_time_seconds_count": 4,
            "db_client_connection_wait_time_seconds_sum": 3.003,
        }.items():
            assert numbers(text, name, is_open=is_open) == {"shop": value}
        assert 'pool_name="db1:5432/shop",le="2' in text
        assert numbers(text, "poolhouse_datagrams_received_total", is_open=is_open) == {"": 2}


def test_a_header_of_several_lines_is_one(daemon: Connmond) -> None:
    connection = HTTPConnection("127.0.0.1", daemon.http, timeout=30)
    connection.putrequest("GET", "/metrics")
    connection.putheader("Accept", "text/plain;q=0.5")
    connection.putheader("Accept", OPEN["Accept"])
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.getheader("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    connection.close()


def test_the_snapshot_is_what_connmon_prints(daemon: Connmond) -> None:
    tell(daemon, "shop", used=3)
    status, headers, text = ask(daemon.http, "/api/snapshot?program=shop")
    assert (status, headers["content-type"]) == (200, "application/json")
    told = json.loads(text)
    command = [COMMAND[0], "-m", "poolhouse.console", "--port", str(daemon.consoles), "--host", "127.0.0.1"]
    printed = zygote.run(
        [*command, "--json", "--program", "shop"], capture_output=True, text=True, timeout=60, check=True
    )
    connmon = json.loads(printed.stdout)
    assert list(told) == list(connmon)
    for one in (told, connmon):
        for row in (one["fleet"], *one["programs"], *one["hosts"], *(each["sums"] for each in one["processes"])):
            del row["age_seconds"]
        for key in ("wall_time_seconds", "aggregator"):
            del one[key]
        for process in one["processes"]:
            del process["uptime_seconds"]
    assert told == connmon
    assert [process["program"] for process in told["processes"]] == ["shop"]
    assert json.loads(ask(daemon.http, "/api/snapshot")[2])["processes"] == []


def test_metrics_tell_lines_and_verdicts(daemon: Connmond) -> None:
    line = "app/views.py:88 in cart"
    signs = PoolSigns(sites=(SiteReading(line, open=3, oldest_s=41.0, held_s=99.5),))
    leak = Finding("leak", 1, line, "", 12.0, (3.0, 15.0, 41.0, 0.0, 1.0))
    with Watcher(daemon.consoles) as watcher:
        send(report("shop", interval=60.0, used=3, pool_signs=signs, findings=(leak,)), daemon.reports)
        watcher.wait_for(lambda snapshot: snapshot.verdicts)
    text = ask(daemon.http, "/metrics", OPEN)[2]
    found = {
        sample.name: (sample.labels, sample.value)
        for family in parse_open_metrics(text)
        for sample in family.samples
        if "code_line" in sample.labels
    }
    of_line = {"service_name": "shop", "code_line": line}
    assert found.pop("poolhouse_verdict_start_time_seconds")[1] == pytest.approx(time.time(), abs=300)
    assert found == {
        "poolhouse_line_open_connections": (of_line, 3),
        "poolhouse_line_oldest_seconds": (of_line, 41),
        "poolhouse_line_connection_seconds_total": (of_line, 99.5),
        "poolhouse_verdict": (
            of_line | {"cause": "leak", "severity": "alarm", "db_client_connection_pool_name": "db1:5432/shop"},
            1,
        ),
    }


def test_hosts_are_told_on_request(daemon: Connmond) -> None:
    tell(daemon, "shop", host="web1", used=3)
    tell(daemon, "shop", host="web2", token="2:abcdef", used=4)
    text = ask(daemon.http, "/metrics?by=host")[2]
    found = re.findall(r'^poolhouse_processes\{host_name="(\w+)",service_name="shop"\} 1$', text, re.MULTILINE)
    assert sorted(found) == ["web1", "web2"]
    assert "host_name" not in ask(daemon.http, "/metrics")[2]
    assert ask(daemon.http, "/metrics?by=process")[0] == 400


def test_the_page_names_every_path_and_each_of_them_answers(daemon: Connmond) -> None:
    status, headers, page = ask(daemon.http, "/about")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    paths = re.findall(r'href="([^"]*)"', page)
    assert len(paths) == 7
    assert [ask(daemon.http, path)[0] for path in paths] == [200] * 7
    assert not re.search(r"<script|<style|style=|//", page.replace("<!doctype html>", ""))
    assert ask(daemon.http, "/nothing")[0] == 404


def test_a_port_that_was_asked_for_and_is_taken_ends_connmond(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = tmp_path / "connmon.cfg"
        config.write_text(
            f"[connmon_service_default]\nname: default\nnodes:\n  n hostname=localhost\nhttp: {address}\n"
        )
        for more in (["--http", address], ["--config", str(config)]):
            options = ["--reports", "127.0.0.1:0", "--consoles", "127.0.0.1:0", "--bind", "off", *more]
            done = zygote.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith(
                f"connmond: --http: cannot listen on TCP {address}: Address already in use"
            )


def without(*modules: str) -> tuple[str, ...]:
    """connmond where these modules are not installed."""
    missing = "".join(f"sys.modules[{module!r}] = None; " for module in modules)
    program = f"import sys; {missing}from poolhouse.cli import connmond; connmond()"
    return (sys.executable, "-W", "error", "-c", program)


@pytest.mark.parametrize("reason", ["port", "starlette", "uvicorn"])
def test_what_the_default_lacks_is_said_and_the_rest_works(reason: str) -> None:
    with Namespace() as network, ExitStack() as stack:
        command = without() if reason == "port" else without(reason)
        with network.entered():
            if reason == "port":
                stack.enter_context(socket.create_server(("127.0.0.1", 25829)))
            daemon = stack.enter_context(
                subprocess.Popen(
                    [*network.prefix, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            )
        assert daemon.stdout is not None
        announced = [daemon.stdout.readline() for _ in range(6)]
        assert announced[-1].startswith("Watch with")
        assert not any("http" in line for line in announced)
        with network.entered(), Watcher(25828) as watcher:
            send(report("shop", interval=60.0), 25827)
            watcher.wait_for(lambda snapshot: program(snapshot, "shop"))
        daemon.terminate()
        said = [line for line in sentences(daemon.communicate(timeout=30)[1]) if "HTTP" in line]
    if reason == "port":
        taken = "--http: cannot listen on TCP 127.0.0.1:25829: Address already in use, perhaps by another connmond"
        assert said == [f"WARNING no HTTP: {taken}; another port is named by --http"]
    else:
        assert said == [f"WARNING no HTTP: it needs {reason}: pip install '.[daemon]' in a checkout of poolhouse"]


CONFIG = """[connmon_service_default]
name: default
http: 127.0.0.1:0
nodes:
    node1 hostname=localhost
"""
AUTH = "use_auth: true\nauth_key: monitor\nauth_secret: {}\n"


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"monitor:{password}".encode()).decode()}


def test_a_login_is_asked_for_and_a_new_one_holds_after_a_hangup(tmp_path: Path) -> None:
    config = tmp_path / "connmon.cfg"
    config.write_text(CONFIG.replace("127.0.0.1:0", "off") + AUTH.format("old"))
    with Connmond("--config", str(config), "--http", "127.0.0.1:0") as daemon:
        assert ask(daemon.http, "/metrics")[0] == 401
        assert [ask(daemon.http, path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
        assert [ask(daemon.http, "/metrics", basic(one))[0] for one in ("old", "new")] == [200, 401]
        config.write_text(CONFIG.replace("127.0.0.1:0", "off") + AUTH.format("new"))
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: ask(daemon.http, "/metrics", basic("new"))[0] == 200, what="the new login")


def test_with_a_certificate_it_is_https(tmp_path: Path) -> None:
    config = tmp_path / "connmon.cfg"
    files = f"ssl_certfile: {CERTIFICATE}\nssl_keyfile: {CERTIFICATE.with_suffix('.key')}\n"
    config.write_text(CONFIG.replace("127.0.0.1:0", "off") + files)
    with Connmond("--config", str(config), "--http", "127.0.0.1:0") as daemon:
        assert f"  http      https://127.0.0.1:{daemon.http}\n" in daemon.announcement
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"https://127.0.0.1:{daemon.http}/readyz"
        with urllib.request.urlopen(url, timeout=30, context=context) as answer:
            assert answer.read() == b"ready\n"


def test_http_for_everybody_is_warned_of() -> None:
    with Connmond("--http", "0.0.0.0:0") as daemon:
        address = f"0.0.0.0:{daemon.http}"
        _, _, errors = daemon.end()
    assert any(
        line.startswith(f"WARNING everybody who reaches HTTP {address} may watch") for line in sentences(errors)
    )
    with Connmond("--http", "0.0.0.0:0", "--allow", "10.0.0.0/8") as daemon:
        assert "everybody" not in daemon.end()[2]


def test_what_is_no_request_is_refused_and_says_nothing_in_the_log(daemon: Connmond) -> None:
    for sent, status in (
        (b"\x16\x03\x01 nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: evil.example.org\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"y" * 20_000, b"400"),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n123456789", b"405"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"200"),
    ):
        with socket.create_connection(("127.0.0.1", daemon.http), 30) as client:
            client.sendall(sent)
            assert client.recv(4096).split(b" ")[1] == status
    _, _, errors = daemon.end()
    assert [line for line in sentences(errors) if "kernel keeps" not in line] == []


def test_readers_that_do_not_read_or_go_away_hold_up_nobody(daemon: Connmond) -> None:
    tell(daemon, *(f"program{number}" for number in range(150)), wait=Histogram())
    with ExitStack() as stack:
        for _ in range(5):  # Of the eight answers that are made at once.
            lazy = stack.enter_context(socket.socket())
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect(("127.0.0.1", daemon.http))
            lazy.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert numbers(ask(daemon.http, "/metrics")[2], "poolhouse_processes").keys() >= {"program0", "program149"}
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", daemon.http), 30) as gone:
            gone.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert len(numbers(ask(daemon.http, "/metrics")[2], "poolhouse_processes")) == 150


def test_it_ends_while_answers_are_under_way(daemon: Connmond) -> None:
    tell(daemon, *(f"program{number}" for number in range(50)), wait=Histogram())
    with socket.create_connection(("127.0.0.1", daemon.http), 30) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.recv(1)
        status, _, errors = daemon.end()
    assert (status, [line for line in errors.splitlines() if "Traceback" in line or "ERROR" in line]) == (0, [])


def test_no_report_is_lost_while_a_thousand_programs_are_scraped() -> None:
    """With the buffer that an ordinary user's socket has, and a scrape that begins when the last one ends."""
    waits = Histogram()
    waits.record_all(range(0, 10**9, 10**6))
    reports = [
        report(f"program{number}", host=f"web{number}", token=f"{number}:a", interval=60.0, wait=waits, use=waits)
        for number in range(1000)
    ]
    datagrams = [datagram for one in reports for datagram in one]
    # Root's capability for a larger buffer is taken away; what else runs on this machine is not what is measured.
    ordinary = ("nice", "-n", "-19", "setpriv", "--bounding-set=-net_admin")
    with Connmond("--http", "127.0.0.1:0", prefix=ordinary) as daemon, ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.connect(("127.0.0.1", daemon.reports))
        scrape = f"import urllib.request\nwhile True: urllib.request.urlopen('http://127.0.0.1:{daemon.http}/metrics').read()"
        sent, began = 0, time.monotonic()
        for turn in range(3):
            if turn == 1:  # Now there are a thousand.
                reader = stack.enter_context(
                    subprocess.Popen([sys.executable, "-c", scrape], stderr=subprocess.DEVNULL)
                )
                stack.callback(reader.kill)
            for datagram in datagrams:
                sock.send(datagram)
                sent += 1
                time.sleep(max(0.0, began + sent / PACE - time.monotonic()))
        reader.kill()
        health = wait_until(lambda: received(daemon, sent), what="all that was sent")
        assert (health["received_datagrams"], health["kernel_dropped_datagrams"]) == (sent, 0)
        assert numbers(ask(daemon.http, "/metrics")[2], "poolhouse_scrape_duration_seconds")[""] > 0


def received(daemon: Connmond, number: int) -> dict[str, int]:
    """The daemon's health, once it has received or lost so many datagrams."""
    health = json.loads(ask(daemon.http, "/api/snapshot")[2])["aggregator"]
    is_over = health["received_datagrams"] + health["kernel_dropped_datagrams"] >= number
    return health if is_over else {}
