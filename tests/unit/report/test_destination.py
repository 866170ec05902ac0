import socket
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poolhouse.errors import SettingError
from poolhouse.report.destination import Destination, _is_name, program_name_of

SECRET = "Zq7secret"


def test_defaults_are_those_of_the_earlier_client() -> None:
    destination = Destination.from_settings({})
    assert (destination.host, destination.port, destination.interval) == ("localhost", 25827, 2.0)
    assert destination.report_host == socket.gethostname()
    assert destination.detail == "full"


def test_settings_of_a_sqlalchemy_url_are_texts() -> None:
    assert Destination.from_settings(
        {
            "collectd_host": "172.18.5.2",
            "collectd_port": "25827",
            "collectd_program_name": "nova_api",
            "collectd_report_host": "web1",
            "collectd_interval": "0.5",
            "collectd_detail": "plain",
        }
    ) == Destination("172.18.5.2", 25827, "nova_api", "web1", 0.5, "plain")


def test_settings_of_create_engine_and_instrument_may_be_numbers() -> None:
    destination = Destination.from_settings({"port": 1234, "interval": 5}, prefixes=("",))
    assert (destination.port, destination.interval) == (1234, 5.0)


@pytest.mark.parametrize(
    ("host", "meant", "address"),
    [
        ("::1", "::1", "[::1]:25827"),
        ("[::1]", "::1", "[::1]:25827"),
        ("fe80::1%eth0", "fe80::1%eth0", "[fe80::1%eth0]:25827"),
        ("collector.example", "collector.example", "collector.example:25827"),
        ("bücher.example", "bücher.example", "bücher.example:25827"),
    ],
)
def test_hosts_are_names_and_addresses_of_both_families(host: str, meant: str, address: str) -> None:
    destination = Destination.from_settings({"collectd_host": host})
    assert (destination.host, destination.address) == (meant, address)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("collectd_port", "abc", "collectd_port: expected a port from 1 to 65535, not 'abc'"),
        ("collectd_port", "0", "collectd_port: expected a port from 1 to 65535, not '0'"),
        ("collectd_port", 65536, "collectd_port: expected a port from 1 to 65535, not 65536"),
        ("collectd_port", True, "collectd_port: expected a port from 1 to 65535, not True"),
        ("collectd_port", 25827.5, "collectd_port: expected a port from 1 to 65535, not 25827.5"),
        ("collectd_port", None, "collectd_port: expected a port from 1 to 65535, not None"),
        ("collectd_port", ("1", "2"), "collectd_port: given twice"),
        ("collectd_interval", "nan", "collectd_interval: expected seconds from 0.1 to 3600, not 'nan'"),
        ("collectd_interval", "inf", "collectd_interval: expected seconds from 0.1 to 3600, not 'inf'"),
        ("collectd_interval", 0, "collectd_interval: expected seconds from 0.1 to 3600, not 0"),
        ("collectd_interval", "2s", "collectd_interval: expected seconds from 0.1 to 3600, not '2s'"),
        ("collectd_detail", "ful", "collectd_detail: expected full or plain, not 'ful'"),
        ("collectd_host", "", "collectd_host: expected a text, not ''"),
        ("collectd_host", "a b", "collectd_host: expected a host name or an address, not 'a b'"),
        ("collectd_host", "web1/x", "collectd_host: expected a host name or an address, not 'web1/x'"),
        ("collectd_host", "a" * 64, f"collectd_host: expected a host name or an address, not '{'a' * 64}'"),
        ("collectd_program_name", " ", "collectd_program_name: expected a text, not ' '"),
        ("collectd_report_host", 3, "collectd_report_host: expected a text, not 3"),
    ],
)
def test_a_wrong_value_is_told_with_its_setting_as_typed(key: str, value: object, sentence: str) -> None:
    with pytest.raises(SettingError) as caught:
        Destination.from_settings({key: value})
    assert str(caught.value) == sentence
    assert caught.value.setting == key


@pytest.mark.parametrize(
    "url",
    [
        f"collectd://ann%3A{SECRET}@web1/?security=sign",
        f"collectd://ann%3A{SECRET}%40web1/?security=sign",
        f"collectd://ann:{SECRET}/x@web1/?security=sign",
        f"collectd://ann:12?{SECRET}@web1/",
        f"collectd://ann:12#{SECRET}@web1/",
        f"collectd://web1/?username=ann&security=sign&password=12&{SECRET}",
        f"collectd://web1/?username=ann&security=sign&password=12&{SECRET}=3",
        f"collectd://web1/?password=12&security={SECRET}&password={SECRET}",
        f"collectd://web1/?host=ann:{SECRET}@web2",
        f"http://ann:{SECRET}@web1/",
        f"connmon://ann:{SECRET}@web1/",
        f"connmon://web1/?addr=ann:{SECRET}@web1:x",
        f"connmon:///?addr=ann:{SECRET}@web1",
        f"connmon:///?addr=ann:{SECRET}@web1:x",
        f"ann:{SECRET}@web1",
    ],
)
def test_no_error_repeats_a_password_that_is_not_encoded_or_in_the_wrong_place(url: str) -> None:
    with pytest.raises(SettingError) as caught:
        Destination.from_environment({"POOLHOUSE_REPORT": url})
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("collectd_prot", "collectd_port"),
        ("poolhouse_hots", "poolhouse_host"),
        ("collectd_hold_waring", "collectd_hold_warning"),
        ("port", "collectd_port"),
    ],
)
def test_an_unknown_setting_is_told_with_the_one_that_is_most_like_it(key: str, meant: str) -> None:
    with pytest.raises(SettingError) as caught:
        Destination.from_settings({key: "1"})
    assert str(caught.value) == f"{key}: there is no such setting; did you mean {meant}?"


def test_a_service_s_unknown_setting_is_told_so_too() -> None:
    with pytest.raises(SettingError) as caught:
        Destination.from_service_settings({"connmon_confg": "x"})
    assert str(caught.value) == "connmon_confg: there is no such setting; did you mean connmon_config?"


@pytest.mark.parametrize("key", ["collectd_colour", "collectd_", "Collectd_port", "collectd_collectd_port"])
def test_an_unknown_setting_like_no_other_is_told_with_those_that_exist(key: str) -> None:
    with pytest.raises(
        SettingError, match="there is no such setting; there are collectd_host, collectd_port"
    ) as caught:
        Destination.from_settings({key: "1"})
    assert caught.value.setting == key


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("collectd://web1:1234/", "web1", 1234),
        ("collectd://web1", "web1", 25827),
        ("collectd://:1234", "localhost", 1234),
        ("collectd://", "localhost", 25827),
        ("collectd://[::1]:1234/", "::1", 1234),
        ("collectd://[fe80::1%25eth0]/", "fe80::1%eth0", 25827),
        ("collectd://10.0.0.1?port=7", "10.0.0.1", 7),
        ("collectd:///?host=web2", "web2", 25827),
    ],
)
def test_a_url_names_the_address(url: str, host: str, port: int) -> None:
    destination = Destination.from_url(url)
    assert (destination.host, destination.port) == (host, port)


def test_a_url_names_everything_else_in_its_query_percent_encoded_or_not() -> None:
    url = "collectd://web1/?program_name=caf%C3%A9&report_host=hôte&interval=10&detail=plain"
    assert Destination.from_url(url) == Destination("web1", 25827, "café", "hôte", 10.0, "plain")


@pytest.mark.parametrize(
    ("url", "setting"),
    [
        ("collectd://h:abc/", "port"),
        ("collectd://h:99999/", "port"),
        ("collectd://h:0/", "port"),
        ("collectd://h:5/?port=5", "port"),
        ("collectd://h/?host=h", "host"),
        ("collectd://[::1/", "host"),
        ("collectd://[web1]/", "host"),
        ("collectd://h/?interval=2&interval=3", "interval"),
        ("collectd://h/?program_nam=x", "program_nam"),
        ("collectd://h/?program_name", "program_name"),
        ("collectd://h/?collectd_port=1", "collectd_port"),
        ("collectd://h/?password=hunter2", "security"),
        ("collectd://me:hunter2@h/", "security"),
        ("collectd://me:hunter2@h/?password=hunter2&security=sign", "password"),
        ("connmon://me:hunter2@h/", "url"),
        ("collectd://me:hunter2/", "port"),
        ("hunter2:me@h/", "url"),
        ("collectd://h/path", "url"),
        ("collectd://h/#fragment", "url"),
        ("http://h/", "url"),
        ("web1:25827", "url"),
        ("", "url"),
    ],
)
def test_a_wrong_url_is_told_with_the_setting_that_is_wrong(url: str, setting: str) -> None:
    with pytest.raises(SettingError) as caught:
        Destination.from_url(url)
    assert caught.value.setting == setting
    assert "hunter2" not in str(caught.value)


def test_the_environment_names_the_destination() -> None:
    environment = {"POOLHOUSE_REPORT": "collectd://web1:7/?program_name=nova"}
    destination = Destination.from_environment(environment)
    assert (destination.host, destination.port, destination.program_name) == ("web1", 7, "nova")


@pytest.mark.parametrize("environment", [{}, {"POOLHOUSE_REPORT": ""}])
def test_without_the_variable_the_destination_is_the_default_one(environment: dict[str, str]) -> None:
    assert Destination.from_environment(environment) == Destination()


def test_a_mistake_in_the_environment_is_told_with_the_variable_and_the_setting() -> None:
    with pytest.raises(SettingError, match=r"^POOLHOUSE_REPORT: interval: expected seconds"):
        Destination.from_environment({"POOLHOUSE_REPORT": "collectd://h/?interval=often"})


def test_a_program_is_named_for_its_script() -> None:
    assert program_name_of("/usr/bin/nova-api") == "nova-api"
    assert program_name_of("worker.py") == "worker.py"
    assert program_name_of("/srv/café.py") == "café.py"


@pytest.mark.parametrize("argv0", ["", "-", "-c", "-m"])
def test_a_program_without_a_script_is_called_python(argv0: str) -> None:
    assert program_name_of(argv0) == "python"


@pytest.mark.parametrize("argv", [[None], [3], [], None, (), 7, {"a": 1}])
def test_whatever_an_embedding_program_says_of_itself_there_is_a_name(
    argv: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert Destination().program_name == "python"


def test_a_program_whose_working_directory_is_gone_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(sys, "argv", ["nova/__main__.py"])
    assert Destination().program_name == "python"


def test_a_package_that_runs_is_named_as_python_imports_it(tmp_path: Path) -> None:
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "__init__.py").touch()
    assert program_name_of(str(tmp_path / "outer" / "__main__.py")) == "outer"
    assert program_name_of(str(tmp_path / "outer" / "inner" / "__main__.py")) == "outer.inner"
    assert program_name_of(str(tmp_path / "folder" / "__main__.py")) == "folder"
    assert program_name_of("/__main__.py") == "python"


@given(st.text("ab.-\u00fc\u3002\u0130", max_size=12) | st.from_regex(r"\A(a{60,66}\.?){1,2}\Z"))
@example("")
@example(".")
@example("a..b")
@example("a" * 64 + ".")
def test_a_name_is_one_that_the_codec_for_names_encodes(host: str) -> None:
    try:
        host.encode("idna")
    except UnicodeError:
        assert not _is_name(host)
    else:
        assert _is_name(host)
