"""Users and their passwords in the format of collectd's AuthFile: one ``user: password`` per line. Reads no file.

Blanks before the user and after the colon are skipped, and so are empty lines, comments (``#``) and lines without
a password. The first colon separates; everything behind it is part of the password, including ``:``, ``#`` and
trailing blanks. If a user has two lines, the first counts.

A user may have further passwords while they are being changed. They are in comments of this form, which collectd
ignores, so the same file works for both::

    #poolhouse-also alice: the old password

Another such comment lists the hosts that a user may report for. A user without this line may report for every
host; a user whose line names no host may report for none::

    #poolhouse-hosts alice: web1 web2.example batch-*

Source: collectd 5.12 ``src/utils_fbhash.c``.
"""

import re
from collections.abc import Mapping
from hashlib import sha256

#: The beginning of all our comments, of those with a further password, and of those with hosts.
OURS = b"#poolhouse-"
ALSO, HOSTS = OURS + b"also", OURS + b"hosts"
#: collectd splits lines of this many bytes or more into pieces; we ignore such lines.
LONGEST_LINE = 1023
#: The most passwords of one user: a datagram that matches none of them costs one computation for each.
MOST_PASSWORDS = 4

_BLANKS = b" \t\n\v\f\r"
#: A host's name or address, or a pattern with ``*``; no real host has a comma or a quote in it.
_HOST = re.compile(r"[\w.*%:-]+")
#: How many hosts are cached for each user.
_MOST_SAID = 4096
#: Bytes of a block of SHA-256.
_BLOCK = 64


class Hosts:
    """The hosts that a user may report for.

    >>> hosts = Hosts(("web*", "db1.example"))
    >>> [host in hosts for host in ("web1", "web2.example", "db1.example", "db1")]
    [True, True, True, False]
    """

    __slots__ = ("_patterns", "_said")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        """Keep the patterns; ``*`` stands for any text, including none."""
        self._patterns = tuple(pattern.split("*") for pattern in patterns)
        #: Earlier answers, because every report asks.
        self._said: dict[str, bool] = {}

    def __repr__(self) -> str:
        return f"<Hosts {' '.join(map('*'.join, self._patterns))}>"

    def __contains__(self, host: str) -> bool:
        """Whether the user may report for this host; upper and lower case differ."""
        said = self._said.get(host)
        if said is None:
            if len(self._said) >= _MOST_SAID:
                self._said.clear()
            said = self._said[host] = any(_matches(host, pattern) for pattern in self._patterns)
        return said


def _matches(host: str, pattern: list[str]) -> bool:
    """Whether a host begins with the first text, ends with the last, and has the others in between, in order."""
    if len(pattern) == 1:
        return host == pattern[0]
    first, *between, last = pattern
    if len(host) < len(first) + len(last) or not (host.startswith(first) and host.endswith(last)):
        return False
    at, end = len(first), len(host) - len(last)
    for text in between:
        found = host.find(text, at, end)
        if found < 0:
            return False
        at = found + len(text)
    return True


class Mac:
    """HMAC-SHA-256 with one password (RFC 2104); twice as fast as a new `hmac` object for each text.

    >>> Mac(b"key")(b"The quick brown fox jumps over the lazy dog").hex()[:16]
    'f7bc83f430538424'
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, password: bytes) -> None:
        """Prepare both hashes from the password."""
        block = (password if len(password) <= _BLOCK else sha256(password).digest()).ljust(_BLOCK, b"\0")
        self._inner, self._outer = (sha256(bytes(byte ^ pad for byte in block)) for pad in (0x36, 0x5C))

    def __call__(self, text: bytes) -> bytes:
        """The signature of a text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()


class Keys:
    """The passwords of each user; its `repr` does not show them.

    Attributes:
        warnings: A sentence for each line that is probably a mistake; none quotes a password.
    """

    __slots__ = ("_hosts", "_passwords", "_signers", "warnings")

    def __init__(
        self,
        passwords: Mapping[bytes, tuple[bytes, ...]],
        warnings: tuple[str, ...] = (),
        hosts: Mapping[bytes, Hosts] | None = None,
    ) -> None:
        """Keep the passwords.

        Args:
            passwords: By user: the one in use first, then the old ones.
            warnings: See the class.
            hosts: By user; a user who is missing may report for every host.
        """
        self._passwords = dict(passwords)
        self._hosts = dict(hosts or {})
        #: By user, what `signer` returns: every report needs it.
        self._signers: dict[bytes, tuple[Mac, Hosts | None]] = {}
        self.warnings = warnings

    def __repr__(self) -> str:
        return f"<Keys of {len(self)} users>"

    def __len__(self) -> int:
        """How many users there are."""
        return len(self._passwords)

    def passwords(self, user: bytes) -> tuple[bytes, ...]:
        """The user's passwords, the one in use first; empty for an unknown user."""
        return self._passwords.get(user, ())

    def signer(self, user: bytes) -> "tuple[Mac, Hosts | None] | None":
        """The signer for the user's password in use, and the user's `hosts`; ``None`` for an unknown user."""
        signer = self._signers.get(user)
        if signer is None and (passwords := self._passwords.get(user)) is not None:
            signer = self._signers[user] = Mac(passwords[0]), self._hosts.get(user)
        return signer

    def hosts(self, user: bytes) -> Hosts | None:
        """The hosts that the user may report for; ``None`` for all."""
        return self._hosts.get(user)


def parse_keys(content: bytes) -> Keys:
    r"""The users and passwords of an AuthFile.

    >>> keys = parse_keys(b"# ours\n alice:  s3:cret \nalice: ignored\n#poolhouse-also alice: before")
    >>> keys.passwords(b"alice"), keys.passwords(b"bob")
    ((b's3:cret ', b'before'), ())
    """
    first: dict[bytes, bytes] = {}
    found: dict[bytes, tuple[bytes, ...]]
    others: list[tuple[int, bytes, bytes]] = []
    bound: list[tuple[int, bytes]] = []
    warnings: list[str] = []
    for number, whole in enumerate(content.split(b"\n"), 1):
        line = whole.split(b"\0", 1)[0].rstrip(b"\r").lstrip(_BLANKS)
        if len(whole) > LONGEST_LINE:
            warnings.append(f"line {number} is longer than {LONGEST_LINE} bytes and is not read")
        elif line.startswith(ALSO) and line[len(ALSO) : len(ALSO) + 1].isspace():
            user, _, password = line[len(ALSO) :].lstrip(_BLANKS).partition(b":")
            others.append((number, user, password.lstrip(_BLANKS)))
        elif line.startswith(HOSTS) and line[len(HOSTS) : len(HOSTS) + 1].isspace():
            bound.append((number, line[len(HOSTS) :].lstrip(_BLANKS)))
        elif line.startswith(OURS):
            warnings.append(f"line {number} is not read: there are {ALSO.decode()} and {HOSTS.decode()}")
        elif line and not line.startswith(b"#"):
            _note(line, number, first, warnings)
    found = {user: (password,) for user, password in first.items()}
    for number, user, password in others:
        if user not in found:
            warnings.append(
                f"line {number} has a further password of a user who is not in the file; it is not read"
            )
        elif len(found[user]) == MOST_PASSWORDS:
            warnings.append(f"line {number} has a password too many: a user has {MOST_PASSWORDS} at most")
        elif password:
            found[user] += (password,)
    hosts = _bound(bound, found, warnings)
    return Keys(found, tuple(warnings), hosts)


def _bound(
    lines: list[tuple[int, bytes]], users: Mapping[bytes, tuple[bytes, ...]], warnings: list[str]
) -> dict[bytes, Hosts]:
    """The hosts of each user who has a line for them; several lines of one user add up."""
    found: dict[bytes, tuple[str, ...]] = {}
    for number, line in lines:
        user, colon, rest = line.partition(b":")
        if not colon:
            user = line.split()[0] if line.split() else b""
            warnings.append(f"line {number} has no colon; expected {HOSTS.decode()} user: host host*")
        if user not in users:
            if colon:
                warnings.append(f"line {number} has hosts of a user who is not in the file, so it binds nobody")
            continue
        words = rest.decode("utf-8", "replace").split() if colon else []
        right = tuple(word for word in words if _HOST.fullmatch(word))
        if len(right) < len(words):
            warnings.append(f"line {number} has a word that is no host: only * stands for others; it is not read")
        found[user] = found.get(user, ()) + right
        if not right:
            warnings.append(f"line {number} names no host, so it lets its user report for none")
    return {user: Hosts(patterns) for user, patterns in found.items()}


def _note(line: bytes, number: int, first: dict[bytes, bytes], warnings: list[str]) -> None:
    """Take the user and the password from a line, as collectd would."""
    user, colon, password = line.partition(b":")
    password = password.lstrip(_BLANKS)
    if not colon:
        warnings.append(f"line {number} has no colon; expected user: password")
    elif not user:
        warnings.append(f"line {number} has no user before its colon")
    elif not password:
        warnings.append(f"line {number} has no password behind its colon and is not read")
    elif user in first:
        warnings.append(f"line {number} has a user for the second time; the first line counts")
    else:
        if user[-1:].isspace():
            warnings.append(f"line {number} has a blank before its colon, which is part of the user's name")
        if password[-1:].isspace():
            warnings.append(f"line {number} ends in a blank, which is part of the password")
        first[user] = password
