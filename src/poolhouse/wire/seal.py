"""collectd's signed and encrypted datagrams, both ways; pure: keys, start vectors and the cipher are arguments.

A signature part covers the user's name and everything after it. An encryption part contains other parts. On its
own it authenticates nothing: an attacker who knows the plain text of a captured part can replace it. So our
senders sign what they encrypt, and `Policy.strict` requires that.

Sources: collectd 5.12 ``src/network.c`` (``parse_part_sign_sha256``, ``parse_part_encr_aes256``,
``network_send_buffer_signed``, ``network_send_buffer_encrypted``).
"""

from enum import Enum
from hashlib import sha1, sha256
from hmac import compare_digest, digest
from typing import Literal, NamedTuple, TypeAlias

from poolhouse.configuration.keys import Hosts, Keys
from poolhouse.errors import PacketError, SealError
from poolhouse.wire.aes import Keystream
from poolhouse.wire.parts import ENCRYPTION, HEADER, SIGNATURE

Level: TypeAlias = Literal["none", "sign", "encrypt"]
#: The levels that collectd calls ``None``, ``Sign`` and ``Encrypt``, the weakest first.
LEVELS: tuple[Level, ...] = ("none", "sign", "encrypt")

#: Bytes of a signature, a start vector, and the check sum that is encrypted before the parts.
MAC_BYTES, START_BYTES, SUM_BYTES = 32, 16, 20
#: Bytes that a seal adds besides the user's name.
SIGNATURE_BYTES, ENCRYPTION_BYTES = 36, 42
#: The longest names of users that collectd's own sender can use, in bytes.
LONGEST_USER = {"none": 70, "sign": 70, "encrypt": 64}
#: The deepest nesting of seals: a signature inside an encrypted part, or encrypted parts behind a signature.
DEEPEST = 2

_MAC_AT = HEADER.size
_USER_AT = _MAC_AT + MAC_BYTES
_SEALS = (SIGNATURE, ENCRYPTION)
_SIGNATURE_BYTES = SIGNATURE.to_bytes(2)
#: The first byte of both kinds of seals, and of no other part.
_SEAL_BYTE = b"\x02"


class Reason(Enum):
    """Why a datagram, or some of its parts, was refused; the words follow "42 datagrams were refused: "."""

    UNSIGNED = "they are not signed"
    UNENCRYPTED = "they are not encrypted"
    FORGEABLE = "they are encrypted but not signed, and strict requires both"
    UNKNOWN_USER = "their user is not in the AuthFile"
    BAD_SIGNATURE = "their signature is wrong (another password, or altered on the way)"
    BAD_ENCRYPTION = "they cannot be decrypted (another password, or altered on the way)"
    NO_KEYS = "they are encrypted, but no AuthFile is set"
    NO_CIPHER = "they are encrypted, but the package cryptography is not installed"
    MALFORMED_SEAL = "their signature or encryption is malformed"
    HOST = "the AuthFile does not allow their user to report for their host"
    REPLAYED = "their process has already sent them, or newer ones"
    STALE = "their process is unknown, and nothing proves that they are new"

    @property
    def word(self) -> str:
        """The name for programs.

        >>> Reason.BAD_SIGNATURE.word
        'bad_signature'
        """
        return self.name.lower()


class Policy(NamedTuple):
    """What a listener accepts."""

    #: The weakest protection that is accepted.
    level: Level = "none"
    #: ``None`` without an AuthFile: then signatures are not checked, and nothing can be decrypted.
    keys: Keys | None = None
    #: Whether encrypted parts must be signed too; has no effect at level ``none``.
    strict: bool = True
    #: ``None`` if the cipher is not available: then nothing can be decrypted.
    keystream: Keystream | None = None


class Payload(NamedTuple):
    """The parts that were accepted, as a datagram without any seal."""

    parts: bytes
    #: The user whose password sealed them; empty if there was no seal, or if it was not checked.
    user: bytes = b""
    #: The index of that password among the user's: 0 for the one in use (`poolhouse.configuration.keys`).
    place: int = 0
    #: The hosts that the user may report for; ``None`` for all.
    hosts: Hosts | None = None

    @property
    def is_old(self) -> bool:
        """Whether it was sealed with one of the user's old passwords."""
        return self.place > 0


class Opened(NamedTuple):
    """The content of a datagram."""

    payloads: list[Payload]
    #: Why other parts of the datagram were left out; ``None`` if none were.
    ignored: Reason | None


def sign(parts: bytes, user: bytes, password: bytes) -> bytes:
    """The parts behind a signature."""
    covered = user + parts
    return HEADER.pack(SIGNATURE, _USER_AT + len(user)) + digest(password, covered, "sha256") + covered


def encrypt(parts: bytes, user: bytes, password: bytes, start: bytes, keystream: Keystream) -> bytes:
    """An encryption part with these parts inside; without a signature unless the parts begin with one.

    Args:
        parts: What to encrypt.
        user: The user's name.
        password: The user's password.
        start: 16 random bytes, never used before with this password.
        keystream: AES.
    """
    clear = _sum(parts) + parts
    body = _xor(clear, keystream(_key(password), start, len(clear)))
    length = HEADER.size + 2 + len(user) + START_BYTES + len(body)
    return HEADER.pack(ENCRYPTION, length) + len(user).to_bytes(2) + user + start + body


def open_datagram(datagram: bytes, policy: Policy) -> Opened:
    """The parts of a datagram that a listener accepts; at least one payload.

    Accepts what collectd accepts, with three differences: a datagram with one wrong seal is refused as a whole;
    after a signature, another seal is found only directly behind it; and `Policy.strict`.

    Raises:
        SealError: If nothing is accepted, or if a seal is wrong; its ``reason`` says why.
        PacketError: If the parts do not fill the datagram, or the seal around them.
    """
    if (signed := merely_signed(datagram, policy)) is not None:
        return Opened([signed], None)
    opening = _Opening(policy)
    opening.read(datagram, _Seal())
    if not opening.payloads:
        reason = opening.ignored or Reason.MALFORMED_SEAL
        raise SealError(f"refused: {reason.value}", None, reason)
    return Opened(opening.payloads, opening.ignored)


def merely_signed(datagram: bytes, policy: Policy) -> Payload | None:
    """The fast path for a datagram with one valid signature in front, if that is enough; ``None`` otherwise."""
    keys = policy.keys
    if datagram[:2] != _SIGNATURE_BYTES or keys is None or policy.level == "encrypt":
        return None
    length = int.from_bytes(datagram[2:4])
    user = datagram[_USER_AT:length]
    signer = keys.signer(user)
    inside = datagram[length:]
    if signer is None or length > len(datagram) or inside[:1] == _SEAL_BYTE:
        return None
    mac, hosts = signer
    if not compare_digest(mac(datagram[_USER_AT:]), datagram[_MAC_AT:_USER_AT]):
        return None
    return Payload(inside, user, 0, hosts)


class _Seal(NamedTuple):
    """What the seals around some parts say about them."""

    level: Level = "none"
    is_signed: bool = False
    user: bytes = b""
    place: int = 0
    depth: int = 0


class _Opening:
    """One datagram that is being opened."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.payloads: list[Payload] = []
        self.ignored: Reason | None = None

    def read(self, data: bytes, seal: _Seal) -> None:
        """Read parts: those without a seal of their own as one payload, and each seal by itself."""
        header = HEADER.unpack_from
        at = begin = 0
        end = len(data)
        loose = b""
        while at < end:
            kind, length = header(data, at) if end - at >= HEADER.size else (0, 0)
            if not HEADER.size <= length <= end - at:
                raise PacketError(f"a part of length {length} where {end - at} bytes are left", at)
            if kind in _SEALS:
                loose += data[begin:at]
                if seal.depth == DEEPEST:
                    raise SealError("a seal inside a seal inside a seal", at, Reason.MALFORMED_SEAL)
                if kind == SIGNATURE:
                    self._signed(data, at, length, seal)
                    begin = end
                    break
                begin = at + length
                if not self._encrypted(data, at, length, seal):
                    begin = end
                    break
            at += length
        loose = loose + data[begin:] if begin else data
        if loose or not (self.payloads or self.ignored):
            self._keep(loose, seal)

    def _keep(self, parts: bytes, seal: _Seal) -> None:
        """Accept parts if their seal is strong enough."""
        level = self._policy.level
        if LEVELS.index(seal.level) < LEVELS.index(level):
            self.ignored = Reason.UNENCRYPTED if level == "encrypt" else Reason.UNSIGNED
        elif level != "none" and self._policy.strict and not seal.is_signed:
            self.ignored = Reason.FORGEABLE
        else:
            keys = self._policy.keys
            hosts = keys.hosts(seal.user) if keys is not None and seal.user else None
            self.payloads.append(Payload(parts, seal.user, seal.place, hosts))

    def _signed(self, data: bytes, at: int, length: int, seal: _Seal) -> None:
        """Check a signature, and read everything after it."""
        user_at = at + _USER_AT
        if length <= _USER_AT:
            raise SealError(f"a signature part of {length} bytes", at, Reason.MALFORMED_SEAL)
        inside = data[at + length :]
        if self._policy.keys is None:
            self.read(inside, seal._replace(depth=seal.depth + 1))
            return
        user = data[user_at : at + length]
        passwords = self._passwords(user, at)
        # The signature covers the user's name and the parts after it, which are contiguous.
        covered, told = data[user_at:], data[at + _MAC_AT : user_at]
        for place, password in enumerate(passwords):
            if compare_digest(digest(password, covered, "sha256"), told):
                level: Level = "sign" if seal.level == "none" else seal.level
                found = _Seal(level, True, user, place, seal.depth + 1)
                if inside[:1] == _SEAL_BYTE:
                    self.read(inside, found)
                else:
                    self._keep(inside, found)
                return
        raise SealError(f"refused: {Reason.BAD_SIGNATURE.value}", at, Reason.BAD_SIGNATURE)

    def _encrypted(self, data: bytes, at: int, length: int, seal: _Seal) -> bool:
        """Decrypt a part and read it. False if there is no key file or cipher: nothing behind it is read then."""
        user_at = at + HEADER.size + 2
        user_bytes = int.from_bytes(data[at + HEADER.size : user_at])
        start_at = user_at + user_bytes
        if not user_bytes or length < ENCRYPTION_BYTES + user_bytes:
            raise SealError(f"an encryption part of {length} bytes", at, Reason.MALFORMED_SEAL)
        keys, keystream = self._policy.keys, self._policy.keystream
        if keys is None or keystream is None:
            self.ignored = Reason.NO_KEYS if keys is None else Reason.NO_CIPHER
            return False
        user = data[user_at:start_at]
        body = data[start_at + START_BYTES : at + length]
        start = data[start_at : start_at + START_BYTES]
        for place, password in enumerate(self._passwords(user, at)):
            clear = _xor(body, keystream(_key(password), start, len(body)))
            inside = clear[SUM_BYTES:]
            if compare_digest(clear[:SUM_BYTES], _sum(inside)):
                # The user of an outer signature counts: they could have altered what is only encrypted.
                signer = (seal.user, seal.place) if seal.is_signed else (user, place)
                self.read(inside, _Seal("encrypt", seal.is_signed, *signer, seal.depth + 1))
                return True
        raise SealError(f"refused: {Reason.BAD_ENCRYPTION.value}", at, Reason.BAD_ENCRYPTION)

    def _passwords(self, user: bytes, at: int) -> tuple[bytes, ...]:
        passwords = self._policy.keys.passwords(user) if self._policy.keys else ()
        if not passwords:
            raise SealError(f"refused: {Reason.UNKNOWN_USER.value}", at, Reason.UNKNOWN_USER)
        return passwords


def _key(password: bytes) -> bytes:
    return sha256(password).digest()


def _sum(parts: bytes) -> bytes:
    """The check sum that collectd encrypts before the parts."""
    return sha1(parts, usedforsecurity=False).digest()


def _xor(data: bytes, stream: bytes) -> bytes:
    return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(len(data))
