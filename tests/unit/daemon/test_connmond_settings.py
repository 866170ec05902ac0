"""What connmond makes of its options and of its configuration: an option wins."""

import pytest

from poolhouse.admission.door import Demand
from poolhouse.configuration.service import BUILT_IN
from poolhouse.daemon.cautions import at_next_start, only_here
from poolhouse.daemon.settings import described, parse_settings
from poolhouse.errors import SettingError

FILE = """\
[connmon_service_default]
name: default
nodes:
    node1 hostname=web1:5800 bind=10.0.0.1:5801
    node2 hostname=[fd00::2]
use_auth: yes
auth_key: monitor
auth_secret: s3cret
csv_dump: /var/log/connmon.csv
"""


@pytest.fixture(autouse=True)
def _no_file(monkeypatch, tmp_path):
    monkeypatch.setattr("poolhouse.configuration.files.DEFAULT_PATH", str(tmp_path / "connmon.cfg"))


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine.cfg").write_text(FILE)
    return str(tmp_path / "mine.cfg")


def test_without_anything_it_is_the_built_in_node_on_all_addresses():
    settings = parse_settings([], [], [])
    assert settings.configuration is BUILT_IN
    assert settings.bind == (("0.0.0.0", 5800),)
    assert (settings.service.name, settings.node.name) == ("default", "node1")


def test_the_file_says_where_the_node_listens(file):
    assert parse_settings([], [], [], file, node="node1").bind == (("10.0.0.1", 5801),)
    # connmon's releases take 5084 where a node names no port, and all addresses where it binds to none.
    assert parse_settings([], [], [], file, node="node2").bind == (("::", 5084),)


def test_bind_wins_over_the_file(file):
    bound = parse_settings([], [], [], file, node="node1", bind=["127.0.0.1", "[::1]:7"]).bind
    assert bound == (("127.0.0.1", 5800), ("::1", 7))
    assert parse_settings([], [], [], file, node="node1", bind=["off"]).bind == ()


def test_of_several_nodes_one_has_to_be_named(file):
    with pytest.raises(SettingError, match="--node: expected one of the nodes of service 'default': node1, node2"):
        parse_settings([], [], [], file)
    with pytest.raises(SettingError, match="--node: service 'default' has no node 'node3'; it has node1, node2"):
        parse_settings([], [], [], file, node="node3")
    with pytest.raises(SettingError, match=r"--service: there is no service 'other' in .*; it has default"):
        parse_settings([], [], [], file, service="other")


def test_the_description_says_what_would_happen_and_no_password(file):
    text = described(parse_settings(["0.0.0.0"], [], [], file, node="node2"))
    assert text.splitlines() == [
        f"configuration  {file}",
        "service        default, node node2; other nodes: node1",
        "clients reach  [fd00::2]:5084",
        "listens        TCP [::]:5084; reports UDP 0.0.0.0:25827; consoles UDP localhost:25828",
        "HTTP           127.0.0.1:25829",
        "OTLP           nowhere",
        "reports        over UDP signatures are not checked, and nothing is decrypted",
        "login          user monitor",
        "TLS            none",
        "CSV file       /var/log/connmon.csv, never rotated",
        "memory         1,024 MiB for the fleet",
        "log            text",
    ]


def test_the_description_says_when_the_csv_file_is_renamed(file):
    with open(file, "a") as config:
        config.write("csv_rotate_bytes: 10000000\ncsv_keep: 3\n")
    text = described(parse_settings([], [], [], file, node="node1"))
    assert "CSV file       /var/log/connmon.csv, renamed at 10,000,000 bytes, 3 kept\n" in f"{text}\n"


def test_the_memory_of_the_fleet_is_what_the_option_says():
    assert parse_settings([], [], []).memory == 1 << 30
    settings = parse_settings([], [], [], memory="64 MiB")
    assert settings.memory == 64 << 20
    assert "64 MiB for the fleet" in described(settings)


@pytest.mark.parametrize("text", ["", "15M", "1025G", "-1G", "1T", "a lot", "1.5G", "٣G", "9" * 5000])
def test_an_amount_of_memory_that_cannot_be_is_an_error_that_names_the_option(text):
    with pytest.raises(SettingError, match="--memory: expected an amount from 16M"):
        parse_settings([], [], [], memory=text)


def test_what_reports_have_to_be_is_in_the_file_and_an_option_wins(file):
    with open(file, "a") as config:
        config.write("authfile: /etc/auth\nsecuritylevel: Encrypt\nstrict: no\n")
    settings = parse_settings([], [], [], file, node="node1")
    assert settings.demand == Demand("/etc/auth", "encrypt", False, "authfile", "securitylevel")
    assert "over UDP only encrypted ones, by /etc/auth, what is encrypted need not be signed\n" in described(
        settings
    )
    other = parse_settings([], [], [], file, node="node1", authfile="mine", securitylevel="Sign", strict=True)
    assert other.demand == Demand("mine", "sign", True, "--authfile", "--securitylevel")


def test_a_level_that_there_is_not_is_an_error_that_names_its_place(file):
    with pytest.raises(SettingError, match="--securitylevel: expected none, sign or encrypt, not 'all'"):
        parse_settings([], [], [], securitylevel="all")
    with open(file, "a") as config:
        config.write("securitylevel: signed\n")
    with pytest.raises(
        SettingError, match=r"line 10.*securitylevel: expected none, sign or encrypt, not 'signed'"
    ):
        parse_settings([], [], [], file, node="node1")


def test_a_collector_that_only_this_node_knows_is_warned_of(file):
    settings = parse_settings([], [], [], file, node="node2", otlp="http://collector:4318", environ={})
    assert settings.otlp is not None
    assert "name the collector by otlp in the configuration" in (only_here(settings) or "")
    assert only_here(parse_settings([], [], [], file, node="node2", environ={})) is None
    assert only_here(parse_settings([], [], [], otlp="http://collector:4318", environ={})) is None


def test_what_the_next_start_changes_is_said(file):
    old = parse_settings([], [], [], file, node="node1", environ={})
    assert at_next_start(old, old, has_tls=False) == []
    (listening,) = at_next_start(old, old, has_tls=True)
    assert listening.startswith("where the node listens, and whether with TLS,")
    elsewhere = parse_settings([], [], [], file, node="node1", http=["127.0.0.1:1"], environ={})
    assert at_next_start(old, elsewhere, has_tls=False) == ["where HTTP is served changes at the next start only"]
    alone = parse_settings([], [], [], node=None, environ={})
    assert at_next_start(old, alone, has_tls=False)[-1] == "the nodes of the service change at the next start only"
