"""The protection of reports: the settings ``username``, ``password``, ``password_file`` and ``security``.

The code that seals is imported only if needed: few processes need it.
"""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from poolhouse.errors import SettingError
from poolhouse.record import Record
from poolhouse.report.log import log
from poolhouse.safely import WARNING

if TYPE_CHECKING:
    from poolhouse.report.sealer import Sealer

#: The settings, without their prefix.
NAMES = ("username", "password", "password_file", "security")

Security: TypeAlias = Literal["none", "sign", "encrypt"]
_LEVELS: tuple[Security, ...] = get_args(Security)


class Protection(Record, hidden=("password",)):
    """A user's password and its use; the `repr` does not show the password.

    Attributes:
        security: ``sign``, or ``encrypt``, which signs too.
        username: The user's name in the server's AuthFile.
        password: The user's password.
    """

    security: Literal["sign", "encrypt"]
    username: str
    password: str

    @property
    def payload_bytes(self) -> int:
        """The most bytes that a datagram may have before it is sealed."""
        from poolhouse.wire.challenge import ANSWER_BYTES
        from poolhouse.wire.parts import PACKET_BYTES, PAYLOAD_BYTES
        from poolhouse.wire.seal import ENCRYPTION_BYTES, SIGNATURE_BYTES

        seal = SIGNATURE_BYTES + len(self.username.encode())
        if self.security == "encrypt":
            seal += ENCRYPTION_BYTES + len(self.username.encode())
        return min(PAYLOAD_BYTES, PACKET_BYTES - seal - ANSWER_BYTES)

    def sealer(self) -> "Sealer":
        """A sealer for datagrams.

        Raises:
            SettingError: If it must encrypt and nothing is installed that can.
        """
        from poolhouse.report.sealer import Sealer

        return Sealer(self)


def protection_of(
    username: str | None, password: str | None, security: Security | None, prefix: str
) -> Protection | None:
    """The protection that settings mean together; ``None`` for none.

    Args:
        username: The user; ``None`` if none is named.
        password: The user's password; ``None`` if there is none.
        security: ``None`` if not set.
        prefix: The prefix of the settings' names.

    Raises:
        SettingError: If one has no effect without another, or if nothing is installed that can encrypt: data that
            should be protected is never sent in clear.
    """
    if security is None:
        if username is None and password is None:
            return None
        raise SettingError(
            f"{prefix}security", "expected sign, encrypt or none, since there is a username or a password"
        )
    if security == "none":
        return None
    if username is None or password is None:
        missing = "username" if username is None else f"password, or {prefix}password_file,"
        raise SettingError(f"{prefix}security", f"{security} needs {prefix}{missing} too")
    from poolhouse.wire.aes import require_keystream
    from poolhouse.wire.seal import LONGEST_USER

    if len(username.encode()) > LONGEST_USER[security]:
        raise SettingError(f"{prefix}username", f"expected at most {LONGEST_USER[security]} bytes")
    if security == "encrypt":
        require_keystream(f"{prefix}security")
    return Protection(security, username, password)


def read_security(value: Any) -> Security:
    """The value of ``security``; `ValueError` for a wrong one."""
    for level in _LEVELS:
        if value == level:
            return level
    raise ValueError(f"expected {', '.join(_LEVELS[:-1])} or {_LEVELS[-1]}, not {value!r}")


def read_username(value: Any) -> str:
    """The value of ``username``; `ValueError` for a name that no AuthFile can contain."""
    if not _is_line(value) or ":" in value or value[0] == "#":
        # Such a text may be a user with the password.
        shown = "" if ":" in str(value) else f", not {value!r}"
        raise ValueError(f"expected the name of a user as in an AuthFile{shown}")
    return str(value)


def read_secret(value: Any) -> str:
    """The value of ``password``; `ValueError`, without the password, for one that no AuthFile can contain."""
    if not _is_line(value):
        raise ValueError("expected a text without a blank before it and without line breaks")
    return str(value)


def read_secret_file(path: Any, setting: str) -> str:
    """The password in the file named by the value of ``password_file``.

    Raises:
        SettingError: If there is none.
    """
    if not isinstance(path, str) or not path.strip():
        raise SettingError(setting, f"expected the path of a file, not {path!r}")
    from poolhouse.configuration.key_files import open_words, read_password

    password, may_others_read = read_password(path, setting)
    if may_others_read:
        log(WARNING, "poolhouse warns of %s: %s", setting, open_words(path))
    try:
        return read_secret(password)
    except ValueError as error:
        raise SettingError(setting, f"{path!r}: {error}") from None


def _is_line(value: Any) -> bool:
    """Whether it is a text that may be part of a line of an AuthFile, in UTF-8."""
    if not isinstance(value, str) or not value or value[0].isspace() or any(sign in value for sign in "\0\r\n"):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
