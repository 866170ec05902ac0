"""Signed and encrypted datagrams against fixed bytes, against openssl, and against whoever tampers with them."""

import hashlib
import subprocess
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packets.sealed import ENCRYPTED, PASSWORD, PLAIN, SIGNED, START, USER
from poolhouse.configuration.keys import Keys, parse_keys
from poolhouse.errors import PacketError, SealError
from poolhouse.wire.aes import load_keystream, require_keystream
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.seal import LEVELS, Level, Payload, Policy, Reason, encrypt, open_datagram, sign

KEYSTREAM = require_keystream("tests")
KEYS = Keys({USER: (PASSWORD,), b"bob": (b"other", b"before")})

users = st.binary(min_size=1, max_size=64)
passwords = st.binary(min_size=1, max_size=80)


def policy(level: Level = "none", *, strict: bool = True, keys: Keys | None = KEYS) -> Policy:
    return Policy(level, keys, strict, KEYSTREAM)


def sealed(parts: bytes, user: bytes = USER, password: bytes = PASSWORD, start: bytes = START) -> bytes:
    """As our senders encrypt."""
    return encrypt(sign(parts, user, password), user, password, start, KEYSTREAM)


def reason_of(datagram: bytes, policy: Policy) -> Reason:
    with pytest.raises(SealError) as caught:
        open_datagram(datagram, policy)
    reason = caught.value.reason
    assert isinstance(reason, Reason)
    return reason


def test_the_worked_example_is_sealed_byte_for_byte():
    assert sign(PLAIN, USER, PASSWORD) == SIGNED
    assert encrypt(PLAIN, USER, PASSWORD, START, KEYSTREAM) == ENCRYPTED


@pytest.mark.parametrize("datagram", [PLAIN, SIGNED, ENCRYPTED])
def test_the_worked_example_is_opened(datagram: bytes):
    opened = open_datagram(datagram, policy())
    (payload,) = opened.payloads
    assert (payload.parts, opened.ignored) == (PLAIN, None)
    assert payload.user == (b"" if datagram is PLAIN else USER)
    assert len(decode_packet(payload.parts)) == 3


def openssl(*arguments: str, stdin: bytes) -> bytes:
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


def test_openssl_computes_the_same_signature():
    mac = openssl("dgst", "-sha256", "-hmac", PASSWORD.decode(), "-binary", stdin=USER + PLAIN)
    assert sign(PLAIN, USER, PASSWORD)[4:36] == mac


@pytest.mark.parametrize("parts", [b"", b"\0\0\0\5\0", PLAIN, PLAIN * 8], ids=len)
def test_openssl_decrypts_to_the_same_bytes(parts: bytes):
    start = bytes(range(100, 116))
    body = encrypt(parts, USER, PASSWORD, start, KEYSTREAM)[6 + len(USER) + 16 :]
    key = hashlib.sha256(PASSWORD).hexdigest()
    clear = openssl("enc", "-d", "-aes-256-ofb", "-K", key, "-iv", start.hex(), stdin=body)
    assert clear == hashlib.sha1(parts).digest() + parts


@given(parts=st.binary(max_size=1400), user=users, password=passwords, start=st.binary(min_size=16, max_size=16))
def test_what_is_sealed_is_opened(parts: bytes, user: bytes, password: bytes, start: bytes):
    parts = b"\x7a\x01" + (4 + len(parts)).to_bytes(2) + parts
    keys = Keys({user: (password,)})
    for datagram in (sign(parts, user, password), sealed(parts, user, password, start)):
        level: Level = "sign" if datagram[1] == 0 else "encrypt"
        assert open_datagram(datagram, policy(level, keys=keys)).payloads == [Payload(parts, user)]


@given(datagram=st.binary(max_size=300), level=st.sampled_from(LEVELS), has_keys=st.booleans())
def test_any_bytes_are_opened_or_a_packet_error(datagram: bytes, level: Level, has_keys: bool):
    with suppress(PacketError):
        assert open_datagram(datagram, policy(level, keys=KEYS if has_keys else None)).payloads
        assert level == "none"


@given(st.data())
def test_whatever_byte_is_altered_nothing_else_is_ever_accepted(data: st.DataObject):
    whole = data.draw(st.sampled_from([SIGNED, sealed(PLAIN)]))
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PacketError):
        open_datagram(bytes(flipped), policy("sign"))


@given(st.data())
def test_a_datagram_cut_short_is_a_packet_error(data: st.DataObject):
    whole = data.draw(st.sampled_from([SIGNED, sealed(PLAIN)]))
    with pytest.raises(PacketError):
        open_datagram(whole[: data.draw(st.integers(0, len(whole) - 1))], policy("sign"))


def forged(datagram: bytes, known: bytes, wanted: bytes) -> bytes:
    """Another text in a captured datagram whose text is known, without the password."""
    at = 6 + len(USER) + 16
    clear, other = (hashlib.sha1(parts).digest() + parts for parts in (known, wanted))
    body = bytes(a ^ b ^ c for a, b, c in zip(datagram[at:], clear, other, strict=True))
    return datagram[:at] + body


def test_encryption_alone_is_forged_and_strict_refuses_what_could_be():
    other = PLAIN.replace(b"web1", b"evil")
    forgery = forged(ENCRYPTED, PLAIN, other)
    assert open_datagram(forgery, policy("encrypt", strict=False)).payloads == [Payload(other, USER)]
    for level in ("sign", "encrypt"):
        assert reason_of(forgery, policy(level)) is Reason.FORGEABLE
        assert reason_of(ENCRYPTED, policy(level)) is Reason.FORGEABLE


def test_what_our_senders_encrypt_cannot_be_forged():
    known = sign(PLAIN, USER, PASSWORD)
    forgery = forged(sealed(PLAIN), known, known.replace(b"web1", b"evil"))
    for level in LEVELS:
        assert reason_of(forgery, policy(level)) is Reason.BAD_SIGNATURE


def test_a_part_beside_the_signature_is_not_signed():
    inside = string = b"\0\0\0\x09evil\0" + sign(PLAIN, USER, PASSWORD)
    opened = open_datagram(encrypt(inside, USER, PASSWORD, START, KEYSTREAM), policy("encrypt"))
    assert opened.payloads == [Payload(PLAIN, USER)]
    assert opened.ignored is Reason.FORGEABLE
    assert open_datagram(string, policy("sign")).ignored is Reason.UNSIGNED


def test_an_old_password_opens_and_is_noticed():
    for datagram in (sign(PLAIN, b"bob", b"before"), sealed(PLAIN, b"bob", b"before")):
        assert open_datagram(datagram, policy("sign")).payloads == [Payload(PLAIN, b"bob", place=1)]
    assert not open_datagram(sign(PLAIN, b"bob", b"other"), policy()).payloads[0].is_old


@pytest.mark.parametrize(
    ("datagram", "level", "reason"),
    [
        (PLAIN, "sign", Reason.UNSIGNED),
        (PLAIN, "encrypt", Reason.UNENCRYPTED),
        (SIGNED, "encrypt", Reason.UNENCRYPTED),
        (sign(PLAIN, USER, b"wrong"), "none", Reason.BAD_SIGNATURE),
        (sign(PLAIN, b"eve", PASSWORD), "none", Reason.UNKNOWN_USER),
        (sealed(PLAIN, USER, b"wrong"), "none", Reason.BAD_ENCRYPTION),
        (sealed(PLAIN, b"eve"), "none", Reason.UNKNOWN_USER),
        (b"\x02\x00\x00\x24" + bytes(32), "none", Reason.MALFORMED_SEAL),
        (b"\x02\x10\x00\x06\x00\x00", "none", Reason.MALFORMED_SEAL),
        (b"\x02\x10\x00\x04", "none", Reason.MALFORMED_SEAL),
        (b"\x02\x10\x00\x07\x00\x01a", "none", Reason.MALFORMED_SEAL),
        (sign(sign(sign(PLAIN, USER, PASSWORD), USER, PASSWORD), USER, PASSWORD), "none", Reason.MALFORMED_SEAL),
        (b"", "sign", Reason.UNSIGNED),
    ],
)
def test_what_is_refused_has_its_reason(datagram: bytes, level: Level, reason: Reason):
    assert reason_of(datagram, policy(level)) is reason


def test_without_keys_or_cipher_encryption_is_refused_and_signatures_are_not_checked():
    nothing = Policy()
    assert open_datagram(sign(PLAIN, b"eve", b"x"), nothing).payloads == [Payload(PLAIN)]
    assert reason_of(ENCRYPTED, nothing) is Reason.NO_KEYS
    assert reason_of(ENCRYPTED, Policy("none", KEYS)) is Reason.NO_CIPHER
    assert open_datagram(PLAIN + ENCRYPTED, nothing) == ([Payload(PLAIN)], Reason.NO_KEYS)


def test_no_error_and_no_repr_tells_a_password():
    keys = parse_keys(b"alice: s3cret\nhunter2\nalice: hunter2\n#poolhouse-also eve: hunter2\n")
    said = [repr(keys), repr(Policy("sign", keys)), str(keys), *keys.warnings]
    for datagram in (sign(PLAIN, USER, b"wrong"), ENCRYPTED[:60]):
        with pytest.raises(PacketError) as caught:
            open_datagram(datagram, Policy("sign", keys, True, KEYSTREAM))
        said.append(repr(caught.value))
    assert not any("s3cret" in text or "hunter2" in text for text in said)


def test_the_cipher_is_imported_only_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    import sys

    from poolhouse.errors import SettingError

    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    assert load_keystream() is None
    with pytest.raises(SettingError, match=r"collectd_security: .*cryptography.*\[encrypt\]"):
        require_keystream("collectd_security")
