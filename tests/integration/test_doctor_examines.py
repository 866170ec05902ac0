"""``poolhouse doctor`` as a process, in the situations that it is for."""

import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import ArgumentError

import poolhouse
from poolhouse.doctor.address import address_of, look_at_parameters
from support.connmond import Connmond, Watcher, program
from support.doctor import COMMAND, examine
from support.receiver import Receiver
from support.service_node import Node
from support.waiting import wait_until


@pytest.fixture
def mute_port():
    """A port where something listens that never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_report_that_arrives_is_seen() -> None:
    with Connmond() as daemon:
        url = f"sqlite:///x.db?plugin=collectd&collectd_host=127.0.0.1&collectd_port={daemon.reports}"
        status, findings, errors = examine(url, "--consoles", str(daemon.consoles))
    assert (status, errors) == (0, "")
    assert findings["plugin"].startswith("ok plugin=collectd loads poolhouse ")
    assert findings["module"] == "ok sqlalchemy_collectd is that of poolhouse"
    assert findings["name"] == "ok 127.0.0.1 is 127.0.0.1"
    version = daemon.announcement.splitlines()[0]
    assert findings["report"] == f"ok seen: {version} at 127.0.0.1:{daemon.consoles} shows it"


def test_the_doctor_leaves_no_row_behind() -> None:
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        status, _, _ = examine(f"collectd://127.0.0.1:{daemon.reports}/", "--consoles", str(daemon.consoles))
        assert status == 0
        shown = [found for snapshot in watcher.snapshots if (found := program(snapshot, "poolhouse-doctor"))]
        # A row without processes is shown for five intervals.
        assert {row.interval for row in shown} <= {0.2}
        watcher.wait_for(lambda snapshot: program(snapshot, "poolhouse-doctor") is None)


def test_the_environment_s_destination_is_examined_where_no_url_is_given() -> None:
    with Connmond() as daemon:
        url = f"collectd://127.0.0.1:{daemon.reports}/?report_host=web7&detail=plain"
        status, findings, _ = examine("--consoles", str(daemon.consoles), POOLHOUSE_REPORT=url)
    assert status == 0
    assert findings["destination"] == f"ok UDP 127.0.0.1:{daemon.reports}, as host web7"


def test_a_port_where_nobody_listens_refuses(free_port: int) -> None:
    status, findings, _ = examine(f"collectd://127.0.0.1:{free_port}/")
    assert status == 1
    assert findings["report"].startswith(f"WRONG UDP 127.0.0.1:{free_port} refuses: nobody listens there.")


def test_a_name_that_is_not_known_is_told() -> None:
    status, findings, _ = examine("collectd://no-such-host.invalid/")
    assert status == 1
    assert findings["name"].startswith("WRONG no-such-host.invalid cannot be looked up: ")
    assert "report" not in findings


def test_a_report_that_nothing_confirms_is_neither_fine_nor_wrong(mute_port: int, free_port: int) -> None:
    status, findings, _ = examine(f"collectd://127.0.0.1:{mute_port}/", "--consoles", str(free_port))
    assert status == 3
    assert findings["report"].startswith(f"? sent to UDP 127.0.0.1:{mute_port} and not refused")
    assert "Connection refused" in findings["report"]


def test_an_aggregator_that_does_not_show_it_is_named(mute_port: int) -> None:
    with Connmond() as daemon:
        options = ("--consoles", str(daemon.consoles), "--timeout", "2")
        status, findings, _ = examine(f"collectd://127.0.0.1:{mute_port}/", *options)
    assert status == 1
    assert f"at 127.0.0.1:{daemon.consoles} does not show it" in findings["report"]
    assert f"It receives reports on UDP 127.0.0.1:{daemon.reports}." in findings["report"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///x.db", "the URL does not say plugin=collectd"),
        ("shop", "expected a database URL with plugin=collectd, or collectd://host:port/"),
        ("sqlite:///x.db?plugin=collectd&collectd_prot=1", "collectd_prot: "),
        ("sqlite:///x.db?plugin=collectd&collectd_port=abc", "collectd_port: "),
        ("collectd://web1:abc/", "port: "),
    ],
)
def test_a_wrong_url_is_one_sentence_and_status_2(url: str, words: str) -> None:
    status, findings, errors = examine(url)
    assert (status, findings) == (2, {})
    assert errors.startswith("poolhouse doctor: ")
    assert words in errors


def test_a_port_that_is_none_is_one_sentence_and_status_2() -> None:
    status, findings, errors = examine("--consoles", "99999")
    assert (status, findings) == (2, {})
    assert errors.endswith("argument --consoles: invalid port value: '99999'\n")


@pytest.mark.parametrize("how", ["interrupted", "its reader leaves"])
def test_who_has_seen_enough_sees_no_traceback(how: str, mute_port: int) -> None:
    arguments = (f"collectd://127.0.0.1:{mute_port}/", "--consoles", str(mute_port), "--timeout", "60")
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as doctor:
        assert doctor.stdout is not None
        assert doctor.stderr is not None
        doctor.stdout.readline()
        if how == "interrupted":
            doctor.send_signal(signal.SIGINT)
        doctor.stdout.close()
        assert doctor.stderr.read() == ""
        assert doctor.wait(60) in (-signal.SIGINT, -signal.SIGPIPE)


def test_the_earlier_distribution_beside_ours_is_told_with_the_remedy(tmp_path: Path, free_port: int) -> None:
    metadata = tmp_path / "sqlalchemy_collectd-0.0.8.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sqlalchemy-collectd\nVersion: 0.0.8\n")
    (metadata / "entry_points.txt").write_text(
        "[sqlalchemy.plugins]\ncollectd = sqlalchemy_collectd.client:Plugin\n"
    )
    status, findings, _ = examine(f"collectd://127.0.0.1:{free_port}/", PYTHONPATH=str(tmp_path))
    assert status == 1
    assert findings["plugin"].startswith("WRONG plugin=collectd loads sqlalchemy-collectd 0.0.8")
    assert "pip uninstall sqlalchemy-collectd" in findings["plugin"]
    assert "pip install --force-reinstall --no-deps . in a checkout of poolhouse" in findings["plugin"]


def test_it_needs_nothing_but_the_standard_library() -> None:
    source = str(Path(poolhouse.__file__).parents[1])
    start = f"import sys; sys.path.insert(0, {source!r}); from poolhouse.cli import poolhouse; poolhouse()"
    with Connmond() as daemon:
        status, findings, errors = examine(
            f"collectd://127.0.0.1:{daemon.reports}/",
            "--consoles",
            str(daemon.consoles),
            command=(sys.executable, "-S", "-c", start, "doctor"),
        )
    assert (status, errors) == (1, "")
    assert findings["plugin"].startswith("WRONG no installed package has a plugin collectd: pip install ")
    assert findings["SQLAlchemy"].startswith("? not installed here")
    assert findings["report"].startswith("ok seen: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_doctor_that_is_stopped_says_goodbye_first(number: signal.Signals) -> None:
    with Receiver() as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as consoles:
        consoles.bind(("127.0.0.1", 0))
        options = ("--consoles", str(consoles.getsockname()[1]), "--timeout", "60")
        command = [*COMMAND, receiver.url(), *options]
        # Under nohup a child inherits that SIGHUP is ignored.
        default = partial(signal.signal, number, signal.SIG_DFL)
        with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=default) as doctor:
            wait_until(lambda: len(receiver.receive()) >= 1)
            doctor.send_signal(number)
            assert doctor.wait(60) == -number
        assert receiver.goodbyes() == set(receiver.tokens())


def test_a_doctor_whose_reader_leaves_says_goodbye_first(mute_port: int) -> None:
    with Receiver() as receiver:
        options = ("--consoles", str(mute_port), "--timeout", "1")
        with subprocess.Popen([*COMMAND, receiver.url(), *options], stdout=subprocess.PIPE) as doctor:
            assert doctor.stdout is not None
            wait_until(lambda: len(receiver.receive()) >= 1)
            doctor.stdout.close()
            assert doctor.wait(60) == -signal.SIGPIPE
        assert receiver.goodbyes() == set(receiver.tokens())


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("sqlite://?plugin=collectd", "", "UDP localhost:25827, as host here"),
        ("sqlite://?plugin=collectd", "collectd://127.0.0.9:7/", "UDP 127.0.0.9:7, as host here"),
        ("sqlite://?plugin=collectd&collectd_port=8", "collectd://127.0.0.9:7/", "UDP 127.0.0.9:8, as host here"),
        (
            "sqlite://?plugin=collectd&collectd_host=web2",
            "collectd://127.0.0.9:7/",
            "UDP web2:7, as host here",
        ),
        ("postgresql://a:p[]%23?q%40@h/d?plugin=collectd&collectd_port=8", "", "UDP localhost:8, as host "),
        ("postgresql://a:p#]?x&y@h/d?plugin=collectd&collectd_port=8", "", "UDP localhost:8, as host "),
    ],
)
def test_the_doctor_looks_where_the_engine_with_that_url_reports(
    url: str, environment: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLHOUSE_REPORT", environment)
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    destination = address_of(url).destination
    assert f"UDP {destination.address}, as host {destination.report_host}".startswith(expected)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://?plugin=collectd&collectd_port=1&collectd_port=2", "collectd_port: given twice"),
        ("postgresql://ann:p@s3cret:7@h/shop?plugin=collectd", "url: SQLAlchemy cannot read it"),
        ("://s3cret", "url: SQLAlchemy cannot read it"),
    ],
)
def test_what_create_engine_refuses_the_doctor_refuses_without_repeating_it(url: str, words: str) -> None:
    with pytest.raises((ArgumentError, ValueError)):
        create_engine(url)
    status, findings, errors = examine(url)
    assert (status, findings) == (2, {})
    assert words in errors
    assert "s3cret" not in errors


@pytest.mark.parametrize("version", ["1.3.24", "1.4.20"])
def test_a_sqlalchemy_that_create_engine_refuses_is_wrong(version: str, tmp_path: Path, free_port: int) -> None:
    metadata = tmp_path / f"SQLAlchemy-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: SQLAlchemy\nVersion: {version}\n")
    status, findings, _ = examine(f"collectd://127.0.0.1:{free_port}/", PYTHONPATH=str(tmp_path))
    assert status == 1
    assert findings["SQLAlchemy"] == f"WRONG poolhouse needs SQLAlchemy 1.4.24 or later, and this is {version}"


def test_a_database_url_without_sqlalchemy_is_one_sentence() -> None:
    source = str(Path(poolhouse.__file__).parents[1])
    start = f"import sys; sys.path.insert(0, {source!r}); from poolhouse.cli import poolhouse; poolhouse()"
    status, findings, errors = examine(
        "sqlite://?plugin=collectd", command=(sys.executable, "-S", "-c", start, "doctor")
    )
    assert (status, findings) == (2, {})
    assert "a database URL is read by SQLAlchemy, which is not installed here" in errors


@pytest.mark.parametrize(
    ("parameter", "plugin", "words"),
    [
        (
            "colectd_host=web1",
            "collectd",
            "colectd_host goes to the driver, not to poolhouse.\nDid you mean collectd_host?",
        ),
        (
            "colectd_hots=web1",
            "collectd",
            "colectd_hots goes to the driver, not to poolhouse.\nDid you mean collectd_host?",
        ),
        (
            "Collectd_port=1",
            "collectd",
            "Collectd_port goes to the driver, not to poolhouse.\nDid you mean collectd_port?",
        ),
        (
            "conmon_addr=web1",
            "connmon",
            "conmon_addr goes to the driver, not to poolhouse.\nDid you mean connmon_addr?",
        ),
        (
            "connmon_addr=web1",
            "collectd",
            "connmon_addr goes to the driver, not to poolhouse.\nplugin=collectd does not read it.",
        ),
    ],
)
def test_a_parameter_that_was_meant_for_poolhouse_is_found(
    parameter: str, plugin: str, words: str, free_port: int
) -> None:
    ours = (
        f"collectd_host=127.0.0.1&collectd_port={free_port}"
        if plugin == "collectd"
        else "connmon_addr=127.0.0.1:1"
    )
    status, findings, errors = examine(f"sqlite:///x.db?plugin={plugin}&{ours}&{parameter}")
    assert (status, errors) == (1, "")
    assert findings["parameter"] == f"WRONG {words}"


@pytest.mark.parametrize(
    "parameter",
    ["timeout=3", "connect_timeout=3", "program_name=shop", "application_name=shop", "ssl_ca=x", "conn_max_age=9"],
)
def test_a_driver_s_own_parameter_is_none_of_poolhouse_s(parameter: str) -> None:
    address = address_of(f"postgresql://db1/shop?plugin=collectd&{parameter}")
    assert list(look_at_parameters(address)) == []


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+connmon:///x.db?connmon_addr={}",
        "mysql+pymysql_connmon://db1/x?connmon_addr={}",
        "sqlite:///x.db?plugin=connmon&connmon_addr={}",
        "connmon://{}/",
    ],
)
def test_a_program_of_a_service_is_examined_at_its_node(url: str) -> None:
    node = Node()
    address = node.address
    status, findings, errors = examine(url.format(address))
    node.close()
    assert (status, errors) == (0, "")
    assert findings["destination"].startswith(f"ok TCP {address}, as host ")
    assert findings["node"] == f"ok {address} takes reports"
    assert node.reports == []


def test_a_node_that_is_not_there_is_told_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    status, findings, _ = examine(POOLHOUSE_REPORT=f"connmon://{address}/")
    assert status == 1
    assert findings["node"] == (
        f"WRONG {address} takes no reports: [Errno 111] Connection refused.\n"
        "Start connmond there, or correct the service's configuration."
    )


def test_each_of_several_hosts_is_examined(free_port: int) -> None:
    arguments = ["doctor", f"collectd://127.0.0.1,127.0.0.2:{free_port}/"]
    result = subprocess.run([*COMMAND[:-1], *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stdout.count(" refuses: nobody listens there.") == 2
    assert f"UDP 127.0.0.2:{free_port} refuses" in result.stdout
