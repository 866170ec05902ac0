"""Which service the settings of connmon's URLs name."""

import pytest

from poolhouse.configuration.service import BUILT_IN, Node, Service
from poolhouse.errors import SettingError
from poolhouse.report.service_settings import service_of

FILE = """\
[connmon_service_default]
name: default
nodes: a hostname=web1:5800
[connmon_service_other]
name: other
nodes: b hostname=web2
"""


@pytest.fixture(autouse=True)
def _no_file(monkeypatch, tmp_path):
    monkeypatch.setattr("poolhouse.configuration.files.DEFAULT_PATH", str(tmp_path / "connmon.cfg"))


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine.cfg").write_text(FILE)
    return str(tmp_path / "mine.cfg")


def test_without_settings_and_file_it_is_the_built_in_service():
    assert service_of({}) == BUILT_IN.service()
    assert service_of({"connmon_service": "default", "charset": "utf8"}) == BUILT_IN.service()


def test_the_service_is_looked_up_in_the_file(file):
    assert service_of({"connmon_config": file}).nodes[0].address == "web1:5800"
    # connmon's releases take 5084 where a file names no port.
    assert service_of({"connmon_config": file, "connmon_service": "other"}).nodes[0].address == "web2:5084"


def test_the_default_file_is_read_if_it_is_there(tmp_path):
    (tmp_path / "connmon.cfg").write_text(FILE)
    assert service_of({"connmon_service": "other"}).nodes[0].host == "web2"


@pytest.mark.parametrize(
    ("addr", "host", "port"),
    [("192.168.1.205:5800", "192.168.1.205", 5800), ("[::1]:5801", "::1", 5801), ("web1", "web1", 5800)],
)
def test_an_address_wins_and_needs_no_file(addr, host, port):
    settings = {"connmon_addr": addr, "connmon_config": "/nowhere", "connmon_service": "other"}
    assert service_of(settings) == Service("", (Node(addr, host, port),))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"connmon_service": "x"}, "connmon_service: there is no service 'x' in the built-in configuration"),
        ({"connmon_config": "/nowhere.cfg"}, r"connmon_config: there is no file '/nowhere\.cfg'"),
        ({"connmon_addr": "web1:port"}, "connmon_addr: 'web1:port': 'port' is not a port"),
        ({"connmon_addr": "web1:0"}, "connmon_addr: 'web1:0': expected a port from 1 to 65535"),
        ({"connmon_addr": " "}, "connmon_addr: expected a text, not ' '"),
        ({"connmon_service": ("a", "b")}, "connmon_service: given twice"),
    ],
)
def test_a_mistake_names_the_setting(settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        service_of(settings)
