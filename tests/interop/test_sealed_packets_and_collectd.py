"""Which sealed datagrams a real collectd accepts, and that ours are among them; and its own, which we accept.

Thirteen kinds of datagrams and four listeners: 52 verdicts of collectd and as many of ours, and one table.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from packets.capture import capture
from packets.known_values import NOTIFICATIONS, VALUES
from poolhouse.configuration.key_files import KeyFile
from poolhouse.errors import PacketError
from poolhouse.report.protection import Protection, Security
from poolhouse.wire.aes import require_keystream
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.encode import encode_packets
from poolhouse.wire.seal import Level, Policy, encrypt, open_datagram, sign
from poolhouse.wire.values import GAUGE, Identifier, ValueList
from support.collectd import Collectd, free_port, send
from support.waiting import wait_until

KEYSTREAM = require_keystream("tests")
LONG_USER = "u" * 64
AUTH_FILE = f"# of the tests\nalice: s3cret\nbob: other: #1 \nbob: second\n{LONG_USER}: long"

#: Each listener: its level, and whether it has an AuthFile.
LISTENERS: dict[str, tuple[Level, bool]] = {
    "none": ("none", False),
    "authfile": ("none", True),
    "sign": ("sign", True),
    "encrypt": ("encrypt", True),
}


def values(host: str, count: int = 1) -> bytes:
    """A datagram with values of a host."""
    lists = [
        ValueList(Identifier(host, "sqlalchemy", "nova", "gauge", f"v{n}"), 1.7e9, 10.0, bytes([GAUGE]), (5.0,))
        for n in range(count)
    ]
    (packet,) = encode_packets(lists)
    return packet


def signed(parts: bytes, user: bytes = b"alice", password: bytes = b"s3cret") -> bytes:
    return sign(parts, user, password)


def encrypted(parts: bytes, user: bytes = b"alice", password: bytes = b"s3cret") -> bytes:
    return encrypt(parts, user, password, os.urandom(16), KEYSTREAM)


def flipped(packet: bytes) -> bytes:
    """The last letter of the host altered: ``…a`` becomes ``…c``."""
    at = packet.index(b"-a\0") + 1
    return packet[:at] + bytes([packet[at] ^ 2]) + packet[at + 1 :]


#: Each kind of datagram, from two hosts' values; and which hosts each listener accepts.
KINDS: dict[str, tuple[Callable[[bytes, bytes], bytes], str]] = {
    "plain": (lambda a, b: a, "a a - -"),
    "signed": (lambda a, b: signed(a), "a a a -"),
    "signed-wrong-password": (lambda a, b: signed(a, password=b"x"), "a - - -"),
    "signed-unknown-user": (lambda a, b: signed(a, b"eve"), "a - - -"),
    "signed-altered": (lambda a, b: flipped(signed(a)), "c - - -"),
    "encrypted": (lambda a, b: encrypted(a), "- a a a"),
    "encrypted-wrong-password": (lambda a, b: encrypted(a, password=b"x"), "- - - -"),
    "encrypted-unknown-user": (lambda a, b: encrypted(a, b"eve"), "- - - -"),
    "encrypted-signed": (lambda a, b: encrypted(signed(a)), "- a a a"),
    "plain-and-signed": (lambda a, b: a + signed(b), "ab ab b -"),
    "plain-and-encrypted": (lambda a, b: a + encrypted(b), "a ab b b"),
    "encrypted-and-plain": (lambda a, b: encrypted(a) + b, "- ab a a"),
    "two-encrypted": (lambda a, b: encrypted(a) + encrypted(b, b"bob", b"other: #1 "), "- ab ab ab"),
}
#: What strict refuses besides: encrypted, and not signed.
STRICT = {
    ("encrypted", "sign"),
    ("encrypted", "encrypt"),
    ("plain-and-encrypted", "sign"),
    ("plain-and-encrypted", "encrypt"),
    ("encrypted-and-plain", "sign"),
    ("encrypted-and-plain", "encrypt"),
    ("two-encrypted", "sign"),
    ("two-encrypted", "encrypt"),
}
CASES = [(kind, listener) for kind in KINDS for listener in LISTENERS]


def packet(kind: str, listener: str) -> bytes:
    make, _ = KINDS[kind]
    return make(values(f"{kind}-{listener}-a"), values(f"{kind}-{listener}-b"))


def expected(kind: str, listener: str) -> set[str]:
    accepted = KINDS[kind][1].split()[list(LISTENERS).index(listener)]
    return {f"{kind}-{listener}-{letter}" for letter in accepted if letter != "-"}


@pytest.fixture(scope="module")
def auth_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("auth") / "auth"
    path.write_text(AUTH_FILE)
    path.chmod(0o600)
    return str(path)


class Listening:
    """A real collectd that listens in all four ways."""

    def __init__(self, folder: Path, auth_file: str) -> None:
        self.ports = {name: free_port() for name in LISTENERS}
        blocks = ""
        for name, (level, has_keys) in LISTENERS.items():
            keys = f'AuthFile "{auth_file}"' if has_keys else ""
            listen = f'<Listen "127.0.0.1" "{self.ports[name]}">'
            blocks += f'{listen}\nSecurityLevel "{level.capitalize()}"\n{keys}\n</Listen>\n'
        self.daemon = Collectd(folder, "", more=f"LoadPlugin network\n<Plugin network>\n{blocks}</Plugin>")

    def hosts(self) -> set[str]:
        return {name.split("/")[0] for name in self.daemon.newest()}


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory, auth_file: str) -> Iterator[Listening]:
    one = Listening(tmp_path_factory.mktemp("collectd"), auth_file)
    with one.daemon:
        yield one


@pytest.fixture(scope="module")
def accepted(listening: Listening) -> set[str]:
    """The hosts whose values collectd has written when it has seen all 52 datagrams."""
    for kind, listener in CASES:
        send([packet(kind, listener)], listening.ports[listener])
    last = set()
    for listener, port in listening.ports.items():
        parts = values(f"last-{listener}")
        send([encrypted(signed(parts)) if LISTENERS[listener][1] else parts], port)
        last.add(f"last-{listener}")
    awaited = last.union(*(expected(*case) for case in CASES))
    wait_until(lambda: listening.hosts() >= awaited, what="what collectd accepts")
    return listening.hosts()


@pytest.mark.parametrize(("kind", "listener"), CASES)
def test_collectd_accepts_what_the_table_says(kind: str, listener: str, accepted: set[str]):
    assert {host for host in accepted if host.startswith(f"{kind}-{listener}-")} == expected(kind, listener)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("kind", "listener"), CASES)
def test_we_accept_the_same_and_strict_refuses_what_can_be_forged(
    kind: str, listener: str, strict: bool, auth_file: str
):
    level, has_keys = LISTENERS[listener]
    policy = Policy(level, KeyFile(auth_file, "AuthFile").keys if has_keys else None, strict, KEYSTREAM)
    hosts: set[str] = set()
    with suppress(PacketError):
        for payload in open_datagram(packet(kind, listener), policy).payloads:
            hosts |= {item.identifier.host for item in decode_packet(payload.parts)}
    assert hosts == (set() if strict and (kind, listener) in STRICT else expected(kind, listener))


@pytest.mark.parametrize("user", ["alice", LONG_USER])
@pytest.mark.parametrize(
    ("security", "listeners"),
    [("sign", ("none", "authfile", "sign")), ("encrypt", ("authfile", "sign", "encrypt"))],
)
def test_collectd_reads_the_longest_datagram_of_our_senders_whole(
    security: Security, listeners: tuple[str, ...], user: str, listening: Listening
):
    assert security != "none"
    protection = Protection(security, user, "s3cret" if user == "alice" else "long")
    hosts = {listener: f"ours-{security}-{len(user)}-{listener}" for listener in listeners}
    for listener, host in hosts.items():
        count = 1
        with suppress(ValueError):  # As many values as the packet has room for.
            while len(values(host, count + 1)) <= protection.payload_bytes:
                count += 1
        parts = values(host, count)
        assert protection.payload_bytes - len(parts) < 40
        send([protection.sealer()(parts)], listening.ports[listener])
        last = f"{host}/sqlalchemy-nova/gauge-v{count - 1}"
        wait_until(lambda last=last: listening.daemon.newest().get(last) == 5.0, what=last)


@pytest.mark.parametrize("level", ["Sign", "Encrypt"])
def test_we_open_what_a_real_collectd_seals(level: str, tmp_path: Path, auth_file: str):
    seal = f'SecurityLevel "{level}"\nUsername "bob"\nPassword "other: #1 "'
    keys = KeyFile(auth_file, "AuthFile").keys
    policy = Policy("sign" if level == "Sign" else "encrypt", keys, False, KEYSTREAM)
    opened = [open_datagram(packet, policy) for packet in capture(tmp_path, seal)]
    assert all(one.ignored is None for one in opened)
    payloads = [payload for one in opened for payload in one.payloads]
    assert {payload.user for payload in payloads} == {b"bob"}
    told = [item for payload in payloads for item in decode_packet(payload.parts)]
    assert len(told) == len(NOTIFICATIONS) + len(VALUES)
