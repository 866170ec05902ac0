"""Signed and encrypted datagrams, by every kind of listener."""

from fuzz.samples import datagrams
from poolhouse.admission.console_gate import ConsoleGate
from poolhouse.admission.gate import Gate
from poolhouse.configuration.keys import Keys
from poolhouse.errors import PacketError
from poolhouse.feed.protocol.datagrams import Ask, encode_datagram
from poolhouse.report.protection import Protection
from poolhouse.wire.aes import load_keystream
from poolhouse.wire.challenge import ANSWER_BYTES, answer_in, question_part, with_answer
from poolhouse.wire.feed_part import parted
from poolhouse.wire.seal import LEVELS, Policy, encrypt, open_datagram, sign

_USER, _PASSWORD = b"alice", b"s3cret"
_KEYSTREAM = load_keystream()
_SEALER = Protection("sign", "alice", "s3cret").sealer()
_POLICIES = [
    Policy(level, keys, strict, _KEYSTREAM)
    for level in LEVELS
    for keys in (None, Keys({_USER: (_PASSWORD, b"before")}))
    for strict in (True, False)
]


def seeds() -> dict[str, bytes]:
    """One datagram in each kind of seal."""
    plain = datagrams()["no pool 0"]
    signed = sign(plain, _USER, _PASSWORD)
    found = {"plain": plain, "signed": signed, "twice": sign(signed, _USER, _PASSWORD)}
    found["question"] = sign(question_part(bytes(16)), _USER, _PASSWORD)
    found["answer"] = sign(with_answer(plain, bytes(16)), _USER, _PASSWORD)
    found["console"] = sign(parted(encode_datagram(Ask(bytes(8)))), _USER, _PASSWORD)
    if _KEYSTREAM is not None:
        found["encrypted"] = encrypt(plain, _USER, _PASSWORD, bytes(16), _KEYSTREAM)
        found["signed and encrypted"] = encrypt(signed, _USER, _PASSWORD, bytes(16), _KEYSTREAM)
        found["after an earlier password"] = encrypt(signed, _USER, b"before", bytes(16), _KEYSTREAM)
    return found


def check(data: bytes) -> None:
    """Nothing but `PacketError`, nothing empty that was accepted, nothing unsealed where a seal is demanded."""
    for policy in _POLICIES:
        try:
            opened = open_datagram(data, policy)
        except PacketError:
            continue
        assert opened.payloads, "opened, and nothing inside"
        assert policy.level == "none" or policy.keys, "accepted without keys"
        assert policy.level == "none" or all(payload.user for payload in opened.payloads), "accepted unsealed"
    for policy in _POLICIES:
        found = ConsoleGate(policy).open(data, "192.0.2.1")
        if isinstance(found, tuple) and found[1] is None:
            assert policy.level == "none", "unsealed where a seal is demanded"
            assert found[0] == data
    _SEALER.hear(data)
    assert answer_in(data) is None or len(data) >= ANSWER_BYTES
    gate = Gate(_POLICIES[-1])
    admitted = gate.admit(data, "192.0.2.1")
    assert admitted or gate.refused, "refused without a reason"
    assert all(sentence.isprintable() for sentence in gate.sentences(1.0)), "a log line that is not printable"
