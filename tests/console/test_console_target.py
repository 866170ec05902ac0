"""What options and configuration together say about the source of the data."""

import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.configuration.parse import parse_configuration
from poolhouse.configuration.service import BUILT_IN, Configuration, Login
from poolhouse.console.target import Options, Target, choose_target
from poolhouse.errors import SettingError
from poolhouse.report.protection import Protection

FILE = """
[connmon_service_default]
name: default
nodes:
    node1 hostname=web1:5800
    node2 hostname=web2:5900
use_auth: yes
auth_key: monitor
auth_secret: s3cret
ssl_certfile: node.pem

[connmon_service_plain]
name: plain
nodes: only hostname=[::1]:5800
"""


def from_file(path: str | None) -> Configuration:
    return parse_configuration(FILE, path or "/etc/connmon.cfg")


def built_in(path: str | None) -> Configuration:
    return BUILT_IN


def broken(path: str | None) -> Configuration:
    raise SettingError("--config", "cannot be read")


def chosen(load=from_file, **options: str | int) -> Target:
    return choose_target(Options(**options), load)


def nodes(target: Target) -> list[str]:
    assert target.service is not None
    return [node.address for node in target.service.nodes]


def test_without_a_word_it_is_the_service_of_the_configuration_with_all_its_nodes():
    target = chosen()
    assert nodes(target) == ["web1:5800", "web2:5900"]
    assert target.udp is None
    assert target.service.login == Login("monitor", "s3cret")
    assert target.service.certificate is not None


def test_without_a_file_it_is_this_machine_and_udp_if_nothing_answers():
    target = chosen(built_in)
    assert (nodes(target), target.udp) == (["localhost:5800"], ("localhost", 25828, "auto"))


@pytest.mark.parametrize("options", [{"service": "default"}, {"node": "node1"}, {"user": "x", "password": "y"}])
def test_an_option_of_tcp_excludes_udp(options):
    target = chosen(built_in, **options)
    assert (nodes(target), target.udp) == (["localhost:5800"], None)


def test_service_and_node_are_found_by_name():
    assert nodes(chosen(service="plain")) == ["[::1]:5800"]
    assert nodes(chosen(node="node2")) == ["web2:5900"]
    with pytest.raises(SettingError, match="--node: service 'default' has no node 'node3'; it has node1, node2"):
        chosen(node="node3")
    with pytest.raises(SettingError, match="--service: there is no service 'x'"):
        chosen(service="x")


@pytest.mark.parametrize(
    ("host", "address", "udp"),
    [
        ("web7", "web7:5800", ("web7", 25828, "auto")),
        ("web7:7", "web7:7", ("web7", 7, "auto")),
        ("[::1]", "[::1]:5800", ("::1", 25828, "auto")),
        ("[::1]:7", "[::1]:7", ("::1", 7, "auto")),
        ("::1", "[::1]:5800", ("::1", 25828, "auto")),
    ],
)
def test_a_host_is_asked_over_tcp_and_over_udp_if_nothing_answers(host, address, udp):
    target = chosen(built_in, host=host)
    assert (nodes(target), target.udp, target.service.name) == ([address], udp, "")


def test_a_host_of_the_configuration_has_its_login_and_certificate():
    target = chosen(host="web2:5900")
    assert nodes(target) == ["web2:5900"]
    assert target.service.login == Login("monitor", "s3cret")
    assert target.service.certificate is not None
    assert chosen(host="web2").service.login is None


def test_a_host_does_without_a_configuration_that_cannot_be_read_unless_one_is_named():
    target = chosen(broken, host="web7")
    assert nodes(target) == ["web7:5800"]
    assert target.warning == "--config: cannot be read; --host does without it"
    with pytest.raises(SettingError, match="cannot be read"):
        chosen(broken, host="web7", config="x.cfg")
    with pytest.raises(SettingError, match="cannot be read"):
        chosen(broken)


@pytest.mark.parametrize("options", [{"service": "default"}, {"node": "node1"}])
def test_a_host_excludes_service_and_node(options):
    with pytest.raises(SettingError, match="and --host names one itself"):
        chosen(host="web1", **options)


@pytest.mark.parametrize("udp", [{"way": "listen"}, {"way": "connect"}, {"port": 7}])
@pytest.mark.parametrize("name", ["config", "service", "node"])
def test_the_forms_of_udp_exclude_the_options_of_tcp(udp, name):
    with pytest.raises(SettingError, match=f"--{name}: belongs to TCP"):
        chosen(**udp, **{name: "x"})


def test_over_udp_a_password_encrypts_or_signs():
    asked = chosen(port=7, user="alice")
    assert (asked.udp, asked.user, asked.protection) == (("localhost", 7, "connect"), "alice", None)
    assert asked.with_login(Login("alice", "p")).protection == Protection("encrypt", "alice", "p")
    signs = chosen(way="connect", user="alice", password="p", security="sign")
    assert signs.protection == Protection("sign", "alice", "p")
    assert "p4ss" not in repr(chosen(port=7, user="alice", password="p4ss"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"port": 7, "password": "p"}, "--password: --user is missing"),
        ({"port": 7, "security": "sign"}, "--security: --user is missing"),
        ({"port": 7, "user": "a", "security": "none"}, "--security: expected sign or encrypt, not 'none'"),
        ({"way": "listen", "user": "a"}, "--user: nobody signs what is pushed to a console that listens"),
        ({"security": "sign"}, "--security: belongs to UDP"),
        ({"port": 7, "user": "a" * 65, "password": "p"}, "--user: expected at most 64 bytes"),
    ],
)
def test_what_means_nothing_over_udp_is_an_error(options, sentence):
    with pytest.raises(SettingError, match=sentence):
        chosen(**options)


def test_without_the_extra_a_console_does_not_fall_back_to_plain_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    with pytest.raises(
        SettingError, match=r"--security: encryption needs the package cryptography: .*; or say sign"
    ):
        chosen(port=7, user="alice", password="p")
    assert chosen(port=7, user="alice", password="p", security="sign").protection is not None
    assert chosen(port=7).protection is None


@pytest.mark.parametrize(
    ("options", "udp"),
    [
        ({"way": "listen"}, ("localhost", 25828, "listen")),
        ({"way": "connect", "host": "web1"}, ("web1", 25828, "connect")),
        ({"way": "connect", "host": "web1:7"}, ("web1", 7, "connect")),
        ({"port": 7}, ("localhost", 7, "auto")),
        ({"port": 7, "host": "web1"}, ("web1", 7, "auto")),
    ],
)
def test_udp_is_as_it_is_named(options, udp):
    target = chosen(broken, **options)
    assert (target.service, target.udp) == (None, udp)


def test_a_user_without_a_password_is_asked_for_it_unless_the_configuration_knows_it():
    assert chosen(user="other").user == "other"
    assert chosen(user="monitor").user is None
    assert chosen(user="monitor").service.login == Login("monitor", "s3cret")
    given = chosen(user="other").with_login(Login("other", "p"))
    assert (given.user, given.service.login) == (None, Login("other", "p"))


def test_a_password_is_of_the_user_that_is_named_or_of_the_configurations():
    assert chosen(user="other", password="p").service.login == Login("other", "p")
    assert chosen(password="p").service.login == Login("monitor", "p")
    with pytest.raises(SettingError, match="--password: --user is missing"):
        chosen(built_in, password="p")


def test_a_password_is_in_no_repr():
    assert "p4ss" not in repr(chosen(user="other", password="p4ss"))
    assert "p4ss" not in repr(Options(password="p4ss"))


OPTIONAL = st.none() | st.sampled_from(["", "x", "default", "node1", "web1:5800", "::1", "a:b:c", "1:99999"])


@given(
    st.builds(
        Options,
        st.none() | st.sampled_from(["listen", "connect"]),
        OPTIONAL,
        st.none() | st.integers(1, 65535),
        *[OPTIONAL] * 6,
    ),
    st.sampled_from([from_file, built_in, broken]),
)
def test_whatever_is_given_there_is_a_target_or_a_sentence(options, load):
    with suppress(SettingError):
        target = choose_target(options, load)
        assert target.address
        assert (target.service is None) == options.is_udp
