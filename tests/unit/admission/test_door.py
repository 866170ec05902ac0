"""What passes a listener's door, what is counted, and what is said about the rest."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packets.sealed import ENCRYPTED, PASSWORD, PLAIN, SIGNED, START, USER
from poolhouse.admission.door import Demand, Door, open_door
from poolhouse.admission.gate import QUIET, Gate
from poolhouse.configuration.keys import Keys
from poolhouse.errors import SettingError
from poolhouse.wire.aes import load_keystream
from poolhouse.wire.seal import Level, Payload, Policy, Reason, encrypt, sign

KEYS = Keys({USER: (PASSWORD, b"before")})
KEYSTREAM = load_keystream()
assert KEYSTREAM is not None


def parts(payloads: list[Payload]) -> list[bytes]:
    return [payload.parts for payload in payloads]


def gate(level: Level = "sign") -> Gate:
    return Gate(Policy(level, KEYS, True, KEYSTREAM))


def test_what_passes_has_no_seal_any_more():
    sealed = encrypt(SIGNED, USER, PASSWORD, START, KEYSTREAM)
    for datagram in (SIGNED, sealed, PLAIN + SIGNED, sealed + PLAIN):
        assert parts(gate().admit(datagram, "web1")) == [PLAIN]
    assert parts(gate("none").admit(PLAIN, "web1")) == [PLAIN]


def test_what_is_refused_is_counted_by_reason():
    one = gate()
    for datagram in (PLAIN, PLAIN, ENCRYPTED, sign(PLAIN, USER, b"x"), sign(PLAIN, b"eve", b"x"), b"\x02\0\0"):
        assert one.admit(datagram, "web1") == []
    assert one.refused == {
        Reason.UNSIGNED: 2,
        Reason.FORGEABLE: 1,
        Reason.BAD_SIGNATURE: 1,
        Reason.UNKNOWN_USER: 1,
        Reason.MALFORMED_SEAL: 1,
    }
    one.admit(PLAIN + SIGNED, "web1")
    assert one.refused[Reason.UNSIGNED] == 3


def test_a_reason_has_one_sentence_a_minute():
    one = gate()
    assert one.sentences(0.0) == []
    one.admit(PLAIN, "192.0.2.1")
    assert one.sentences(1.0) == ["1 datagrams were refused so far: they are not signed; the last from 192.0.2.1"]
    for _ in range(1000):
        one.admit(PLAIN, "192.0.2.2")
    assert one.sentences(2.0) == one.sentences(60.0) == []
    one.admit(sign(PLAIN, USER, b"wrong"), "192.0.2.3")
    assert len(one.sentences(60.5)) == 1
    (line,) = one.sentences(1.0 + QUIET)
    assert line.startswith("1,001 datagrams")
    assert line.endswith("the last from 192.0.2.2")
    assert one.sentences(1000.0) == []


def test_who_still_uses_a_password_from_before_is_told():
    one = gate()
    one.admit(sign(PLAIN, USER, b"before"), "192.0.2.1")
    expected = ["user 'alice' still uses an old password, the last time at 192.0.2.1"]
    assert one.sentences(1.0) == expected
    one.admit(sign(PLAIN, USER, b"before"), "192.0.2.1")
    assert one.sentences(2.0) == []
    assert one.sentences(62.0) == expected


@given(st.binary(max_size=200))
def test_nothing_is_raised(datagram: bytes):
    one = gate()
    assert one.admit(datagram, "web1") == []
    assert sum(one.refused.values()) == 1


def auth_file(folder: Path, content: bytes = b"alice: s3cret\n") -> str:
    path = folder / "auth"
    path.write_bytes(content)
    path.chmod(0o600)
    return str(path)


def test_a_door_reads_its_authfile_again(tmp_path: Path):
    door = Door(Demand(auth_file(tmp_path), "sign"))
    assert door.warnings == ()
    assert parts(door.admit(SIGNED, "web1")) == [PLAIN]
    auth_file(tmp_path, b"alice: changed now\n")
    assert door.look(9.0) == []
    assert door.look(10.0) == [f"{tmp_path / 'auth'} was read again: 1 users"]
    assert door.admit(SIGNED, "web1") == []
    assert door.refused == {Reason.BAD_SIGNATURE: 1}
    assert len(door.look(12.0)) == 1


def test_without_an_authfile_there_is_a_door_only_where_something_is_demanded(tmp_path: Path):
    assert open_door(Demand()) is None
    assert open_door(Demand(auth_file(tmp_path))) is not None
    with pytest.raises(SettingError, match="SecurityLevel: sign needs AuthFile too"):
        open_door(Demand(level="sign"))


def test_an_authfile_that_is_not_there_is_an_error_at_the_start(tmp_path: Path):
    with pytest.raises(SettingError, match="AuthFile: there is no file"):
        open_door(Demand(str(tmp_path / "none"), "sign"))


def test_without_the_extra_only_what_must_be_decrypted_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    door = Door(Demand(auth_file(tmp_path), "sign"))
    assert parts(door.admit(SIGNED, "web1")) == [PLAIN]
    assert door.admit(ENCRYPTED, "web1") == []
    assert door.refused == {Reason.NO_CIPHER: 1}
    with pytest.raises(SettingError, match=r"--securitylevel: .*\[encrypt\]"):
        Door(Demand(auth_file(tmp_path), "encrypt", level_setting="--securitylevel"))
