from ipaddress import ip_network

import pytest

from poolhouse.admission.door import Demand
from poolhouse.collectd_plugin.config import (
    Address,
    ConnmonSettings,
    ServerSettings,
    read_connmon,
    read_server,
)
from support.fake_collectd import FakeConfig, block


def test_the_seeds_server_block_is_read_without_a_mistake():
    settings, mistakes = read_server(block(("listen", "0.0.0.0", 25827), ("loglevel", "info")))
    assert settings == ServerSettings(listen=(Address("0.0.0.0", 25827),), loglevel="info")
    assert mistakes == []


def test_the_seeds_connmon_block_is_read_without_a_mistake():
    settings, mistakes = read_connmon(block(("monitor", "localhost", 25828)))
    assert settings == ConnmonSettings(monitor=(Address("localhost", 25828),))
    assert mistakes == []


def test_every_listen_line_adds_a_socket_and_a_missing_port_is_the_default():
    """Trap 35."""
    lines = (("listen", "127.0.0.1"), ("listen", "::1", 4000), ("listen", "web1", "4001"))
    server, server_mistakes = read_server(block(*lines))
    assert server.listen == (Address("127.0.0.1", 25827), Address("::1", 4000), Address("web1", 4001))
    connmon, connmon_mistakes = read_connmon(block(*lines, ("monitor", "desk")))
    assert connmon.listen == (Address("127.0.0.1", 25828), Address("::1", 4000), Address("web1", 4001))
    assert connmon.monitor == (Address("desk", 25828),)
    assert server_mistakes == connmon_mistakes == []


def test_an_address_said_twice_is_one_socket():
    settings, _ = read_server(block(("listen", "::1"), ("listen", "[::1]", 25827)))
    assert settings.listen == (Address("::1", 25827),)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("err", "error"),
        ("error", "error"),
        ("critical", "error"),
        ("warning", "warning"),
        ("warn", "warning"),
        ("notice", "notice"),
        ("INFO", "info"),
        ("debug", "debug"),
    ],
)
def test_collectds_and_the_usual_names_of_levels_are_understood(said, meant):
    """Trap 35."""
    settings, mistakes = read_server(block(("loglevel", said)))
    assert (settings.loglevel, mistakes) == (meant, [])


def test_directives_are_recognised_in_any_case():
    settings, mistakes = read_server(block(("Listen", "::1"), ("LogLevel", "debug"), ("VALUES", "earlier")))
    assert settings == ServerSettings((Address("::1", 25827),), "debug", "earlier")
    assert mistakes == []


def test_networks_of_consoles_add_up():
    settings, mistakes = read_connmon(block(("allow", "10.0.0.0/8", "fd00::/8"), ("allow", "192.0.2.7")))
    assert settings.allow == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("192.0.2.7/32"))
    assert mistakes == []


def test_a_second_block_of_the_plugin_adds_to_the_first():
    first, _ = read_server(block(("listen", "::1"), ("loglevel", "debug")))
    second, _ = read_server(block(("listen", "127.0.0.1")), first)
    assert second == ServerSettings((Address("::1", 25827), Address("127.0.0.1", 25827)), "debug")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (("listne", "::1"), '"listne" is not a directive: did you mean "listen"?; the line was ignored'),
        (("speed", 3), '"speed" is not a directive: there are listen, loglevel, values, authfile, securitylevel, '
         "strict; the line was ignored"),
        (("listen", True), "listen: True is not a host; put it in quotes; the line was ignored"),
        (("listen", 25827), "listen: 25827.0 is not a host; put it in quotes; the line was ignored"),
        (("listen", ""), "listen: '' is not a host; put it in quotes; the line was ignored"),
        (("listen", "::1", 1, 2), "listen: takes a host and a port, not 3 words; the line was ignored"),
        (("listen", "::1", 0), "listen: 0.0 is not a port: a number from 1 to 65535; the line was ignored"),
        (("listen", "::1", 65536), "listen: 65536.0 is not a port: a number from 1 to 65535; "
         "the line was ignored"),
        (("listen", "::1", 1.5), "listen: 1.5 is not a port: a number from 1 to 65535; the line was ignored"),
        (("listen", "::1", "nan"), "listen: 'nan' is not a port: a number from 1 to 65535; the line was ignored"),
        (("listen", "::1", "http"), "listen: 'http' is not a port: a number from 1 to 65535; "
         "the line was ignored"),
        (("listen", "::1", True), "listen: True is not a port: a number from 1 to 65535; the line was ignored"),
        (("LogLevel", "loud"), 'LogLevel: there is no level "loud": there are error, err, critical, fatal, '
         "warning, warn, notice, info, debug; the line was ignored"),
        (("loglevel", 1), "loglevel: takes one word in quotes; the line was ignored"),
        (("loglevel",), "loglevel: takes one word in quotes; the line was ignored"),
        (("values", "some"), 'values: takes "all" or "earlier", not "some"; the line was ignored'),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_that_names_the_directive_and_the_rest_applies(line, sentence):
    """Trap 35."""
    settings, mistakes = read_server(block(("listen", "127.0.0.1", 1), line, ("loglevel", "debug")))
    assert mistakes == [sentence]
    assert settings == ServerSettings((Address("127.0.0.1", 1),), "debug")


@pytest.mark.parametrize("words", [(), ("10.0.0.0/40",), (10,), ("10.0.0.0/8", "everybody")])
def test_a_network_that_is_none_allows_nothing(words):
    settings, mistakes = read_connmon(block(("allow", *words)))
    assert settings.allow == ()
    assert [mistake.partition(":")[0] for mistake in mistakes] == ["allow"]


def test_a_block_inside_the_block_is_a_mistake():
    inner = FakeConfig("listen", ("::1",), (FakeConfig("port", (1.0,)),))
    settings, mistakes = read_server(FakeConfig("Module", ("plugin",), (inner,)))
    assert settings.listen == ()
    assert mistakes == ["listen: is a line of its own, not a block; the block was ignored"]


def test_an_ipv6_address_is_shown_in_brackets():
    assert [str(Address(host, 5)) for host in ("::1", "web1")] == ["[::1]:5", "web1:5"]


def test_what_reports_have_to_be_is_said_as_to_collectds_own_plugin():
    settings, mistakes = read_server(
        block(("AuthFile", "/etc/auth"), ("SecurityLevel", "Encrypt"), ("Strict", False))
    )
    assert mistakes == []
    assert settings.demand == Demand("/etc/auth", "encrypt", strict=False)
    assert not settings.is_closed


@pytest.mark.parametrize(
    "line",
    [
        ("SecurityLevel", "Encrpyt"),
        ("SecurtyLevel", "Encrypt"),
        ("SecurityLevel", 2),
        ("AuthFile",),
        ("Auth_File", "x"),
        ("Strict", "no"),
    ],
)
def test_a_mistake_about_what_reports_have_to_be_lets_nothing_in(line):
    settings, mistakes = read_server(block(("listen", "::1"), line))
    assert len(mistakes) == 1
    assert settings.is_closed
    assert not read_server(block(("listn", "::1")))[0].is_closed
