"""The settings of signed and encrypted reports: what they mean together, and that no password is ever told."""

import sys
from collections import deque
from pathlib import Path

import pytest

from poolhouse.configuration.keys import Keys
from poolhouse.configuration.service import BUILT_IN
from poolhouse.errors import SettingError
from poolhouse.report.destination import Destination
from poolhouse.report.dispatcher import Dispatcher
from poolhouse.report.protection import Protection
from poolhouse.report.route import Route
from poolhouse.report.sealer import ANSWERED_REPORTS
from poolhouse.report.sender import MOST_HEARD, Sender
from poolhouse.report.stream import Identity
from poolhouse.testing.clock import VirtualClock
from poolhouse.wire.aes import load_keystream
from poolhouse.wire.challenge import answer_in, question_part
from poolhouse.wire.parts import PACKET_BYTES, PAYLOAD_BYTES
from poolhouse.wire.seal import Payload, Policy, open_datagram, sign
from support.fake_network import FakeNetwork

SIGNED = {"collectd_username": "alice", "collectd_password": "hunter2", "collectd_security": "sign"}


def test_settings_name_a_user_a_password_and_what_to_do_with_it():
    protection = Destination.from_settings(SIGNED).protection
    assert protection == Protection("sign", "alice", "hunter2")
    assert Destination.from_settings({}).protection is None
    assert Destination.from_settings({**SIGNED, "collectd_security": "none"}).protection is None


@pytest.mark.parametrize(
    "url",
    [
        "collectd://web1/?username=alice&password=hunter2&security=sign",
        "collectd://alice:hunter2@web1/?security=sign",
        "collectd://alice@web1/?password=hunter2&security=sign",
    ],
)
def test_a_url_says_the_same(url: str):
    destination = Destination.from_url(url)
    assert destination.protection == Protection("sign", "alice", "hunter2")
    assert destination.host == "web1"


def test_a_url_is_percent_encoded():
    destination = Destination.from_url("collectd://b%C3%BCro:p%40ss%3A@web1/?security=sign")
    assert destination.protection == Protection("sign", "büro", "p@ss:")


def test_each_setting_is_looked_for_on_its_own():
    base = Destination.from_url("collectd://alice:hunter2@web1/?security=sign")
    there = Destination.from_settings({"collectd_program_name": "shop"}, base=base)
    assert there.protection == Protection("sign", "alice", "hunter2")
    other = Destination.from_settings({"collectd_username": "bob", "collectd_password": "pw"}, base=base)
    assert other.protection == Protection("sign", "bob", "pw")
    assert Destination.from_settings({"collectd_security": "none"}, base=base).protection is None


def test_a_password_may_stand_in_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    path.chmod(0o600)
    settings = {"username": "alice", "password_file": str(path), "security": "sign"}
    assert Destination.from_settings(settings, ("",)).protection == Protection("sign", "alice", "hunter2")
    assert caplog.text == ""
    path.chmod(0o644)
    Destination.from_url(f"collectd://alice@h/?security=sign&password_file={path}")
    assert "can be read by every user of this machine" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("changed", "setting"),
    [
        ({"collectd_security": None}, "collectd_security"),
        ({"collectd_username": None}, "collectd_security"),
        ({"collectd_password": None}, "collectd_security"),
        ({"collectd_username": None, "collectd_security": None}, "collectd_security"),
        ({"collectd_security": "Sign"}, "collectd_security"),
        ({"collectd_security": ""}, "collectd_security"),
        ({"collectd_username": "a:b"}, "collectd_username"),
        ({"collectd_username": " a"}, "collectd_username"),
        ({"collectd_username": "#a"}, "collectd_username"),
        ({"collectd_username": ""}, "collectd_username"),
        ({"collectd_username": "a" * 71}, "collectd_username"),
        ({"collectd_username": "a" * 65, "collectd_security": "encrypt"}, "collectd_username"),
        ({"collectd_password": ""}, "collectd_password"),
        ({"collectd_password": " hunter2"}, "collectd_password"),
        ({"collectd_password": "hunter2\n"}, "collectd_password"),
        ({"collectd_password": "hunter2\udc80"}, "collectd_password"),
        ({"collectd_password": 7}, "collectd_password"),
        ({"collectd_password": ("hunter2", "hunter2")}, "collectd_password"),
        ({"collectd_password_file": "/nowhere/hunter"}, "collectd_password_file"),
        ({"collectd_password_file": 7}, "collectd_password_file"),
    ],
)
def test_what_cannot_protect_is_refused_with_its_setting_and_without_the_password(
    changed: dict[str, object], setting: str
):
    settings = {key: value for key, value in {**SIGNED, **changed}.items() if value is not None}
    with pytest.raises(SettingError) as caught:
        Destination.from_settings(settings)
    assert caught.value.setting == setting
    assert "hunter2" not in str(caught.value)


def test_two_ways_to_say_a_password_are_one_too_many(tmp_path: Path):
    path = tmp_path / "password"
    path.write_text("hunter2")
    with pytest.raises(SettingError, match="collectd_password_file: there is a collectd_password too"):
        Destination.from_settings({**SIGNED, "collectd_password_file": str(path)})


def test_reports_over_tcp_are_not_sealed_and_nobody_may_think_so():
    service = Destination(service=BUILT_IN.service())
    with pytest.raises(SettingError, match="collectd_username: reports to a service go over TCP"):
        Destination.from_settings(SIGNED, base=service)
    sealed = Destination.from_settings(SIGNED)
    over_tcp = Destination.from_service_settings({"connmon_addr": "web1:5800"}, base=sealed)
    assert over_tcp.protection is None
    assert Destination.from_settings({**SIGNED, "collectd_host": "web2"}, base=over_tcp).protection is not None


def test_without_the_extra_encryption_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    assert Destination.from_settings(SIGNED).protection is not None
    with pytest.raises(SettingError, match=r"collectd_security: .*\[encrypt\]"):
        Destination.from_settings({**SIGNED, "collectd_security": "encrypt"})


def test_no_repr_tells_the_password():
    destination = Destination.from_settings(SIGNED)
    assert "hunter2" not in repr(destination) + repr(destination.protection) + repr(destination.target)


@pytest.mark.parametrize("security", ["sign", "encrypt"])
@pytest.mark.parametrize("length", [1, 14, 15, 64])
def test_no_sealed_datagram_is_longer_than_collectd_reads(security: str, length: int):
    protection = Destination.from_settings(
        {**SIGNED, "collectd_username": "a" * length, "collectd_security": security}
    ).protection
    assert protection is not None
    assert protection.payload_bytes <= PAYLOAD_BYTES
    assert len(protection.sealer()(bytes(protection.payload_bytes))) <= PACKET_BYTES


def test_no_two_datagrams_are_encrypted_alike():
    protection = Protection("encrypt", "alice", "hunter2")
    seal = protection.sealer()
    assert len({seal(b"\0\0\0\5\0") for _ in range(100)}) == 100


@pytest.mark.parametrize("security", ["sign", "encrypt"])
def test_a_sender_seals_every_datagram(security: str):
    network = FakeNetwork(VirtualClock())
    network.names["web1"] = ["192.0.2.1"]
    route = Route("web1", 25827)
    route.begin_lookup(0.0)
    route.found(network.look_up("web1", 25827), 0.0)
    protection = Protection("sign" if security == "sign" else "encrypt", "alice", "hunter2")
    report = [b"\0\0\0\5\0", b"\0\2\0\5\0"]
    assert Sender(route, network, protection.sealer()).send(report)
    policy = Policy(protection.security, Keys({b"alice": (b"hunter2",)}), True, load_keystream())
    arrived = [open_datagram(datagram, policy).payloads for _, _, datagram in network.arrived]
    assert arrived == [[Payload(datagram, b"alice")] for datagram in report]


def test_streams_with_another_protection_have_other_senders():
    clock = VirtualClock()
    dispatcher = Dispatcher(clock, FakeNetwork(clock), lambda: Identity("1:abcdef", 0.0), lambda: None)
    plain = Destination.from_settings({"collectd_host": "web1"})
    signed = Destination.from_settings({**SIGNED, "collectd_host": "web1"})
    assert dispatcher.stream(plain) is not dispatcher.stream(signed)
    assert dispatcher.stream(plain).senders != dispatcher.stream(signed).senders
    assert dispatcher.stream(signed.replace()) is dispatcher.stream(signed)


@pytest.mark.parametrize("security", ["sign", "encrypt"])
def test_a_question_that_is_signed_is_answered_in_the_next_reports_and_no_other(security: str):
    protection = Protection("sign" if security == "sign" else "encrypt", "alice", "hunter2")
    policy = Policy(protection.security, Keys({b"alice": (b"hunter2",)}), True, load_keystream())
    network = FakeNetwork(VirtualClock())
    network.names["web1"] = ["192.0.2.1"]
    route = Route("web1", 25827)
    route.begin_lookup(0.0)
    route.found(network.look_up("web1", 25827), 0.0)
    sender = Sender(route, network, protection.sealer())

    def answers() -> list[bytes | None]:
        network.arrived.clear()
        assert sender.send([b"\0\0\0\5\0", b"\0\2\0\5\0"])
        opened = [open_datagram(datagram, policy).payloads[0] for _, _, datagram in network.arrived]
        return [answer_in(payload.parts) for payload in opened]

    question, nonce = question_part(b"n" * 16), b"n" * 16
    network.waiting["192.0.2.1"] = deque(
        [b"", b"\0" * 2000, question, sign(question, b"alice", b"wrong"), sign(question, b"eve", b"hunter2")]
    )
    assert answers() == [None, None]
    network.waiting["192.0.2.1"].append(sign(question, b"alice", b"hunter2"))
    for _ in range(ANSWERED_REPORTS):
        assert answers() == [nonce, nonce]
    assert answers() == [None, None]


def test_whatever_comes_to_a_process_is_read_in_bounded_steps():
    network = FakeNetwork(VirtualClock())
    network.names["web1"] = ["192.0.2.1"]
    route = Route("web1", 25827)
    route.begin_lookup(0.0)
    route.found(network.look_up("web1", 25827), 0.0)
    sender = Sender(route, network, Protection("sign", "alice", "hunter2").sealer())
    network.waiting["192.0.2.1"] = deque([b"x"] * 1000)
    assert sender.send([b"\0\0\0\5\0"])
    assert sender.send([b"\0\0\0\5\0"])
    assert len(network.waiting["192.0.2.1"]) == 1000 - MOST_HEARD
