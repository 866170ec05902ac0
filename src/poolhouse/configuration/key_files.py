"""Files with passwords: an AuthFile, which is reread when it changes, and a file with one password."""

import os
import stat
from pathlib import Path

from poolhouse.configuration.keys import Keys, parse_keys
from poolhouse.errors import SettingError
from poolhouse.shortage import words_of

#: The most bytes of a file with passwords.
LARGEST_FILE = 1 << 20
#: Seconds between two checks whether an AuthFile has changed.
LOOK_PERIOD = 1.0

#: The fields of a file's status that change with its content.
_Stamp = tuple[int, int, int]


class KeyFile:
    """An AuthFile.

    Attributes:
        path: The file's path.
        keys: The users and passwords, as of the last time that the file could be read.
        warnings: Sentences about the file's present content.
    """

    def __init__(self, path: str, setting: str) -> None:
        """Read the file.

        Args:
            path: The file's path.
            setting: The user's name for `path`, for messages.

        Raises:
            SettingError: If the file cannot be read.
        """
        self.path = path
        self._setting = setting
        self._looked_at = 0.0
        self._trouble = ""
        content, self._stamp, others = _read(path, setting)
        #: The stamp at the latest look.
        self._seen = self._stamp
        self._take(content, others)

    def refresh(self, now: float) -> list[str]:
        """Reread the file if it has changed, checking once a second at most; returns sentences for the log.

        It is reread once it was the same at two checks: half of a file that is being written would refuse users,
        or let in those whose line of hosts is not there yet. If it cannot be read, the keys that were read last
        remain in effect.

        Args:
            now: Monotonic seconds.
        """
        if now - self._looked_at < LOOK_PERIOD:
            return []
        self._looked_at = now
        try:
            seen, self._seen = self._seen, _stamp(os.stat(self.path))
            if self._seen != seen or (seen == self._stamp and not self._trouble):
                return []
            content, stamp, others = _content(self.path, self._setting)
            if not stamp == seen == _stamp(os.stat(self.path)):  # It is being written again.
                return []
            self._take(content, others)
        except (OSError, ValueError, MemoryError) as error:
            trouble = "it cannot be read" if isinstance(error, ValueError) else words_of(error)
            if trouble == self._trouble:
                return []
            self._trouble = trouble
            return [f"{self._setting}: {self.path}: {trouble}; the users that were read last remain valid"]
        self._trouble, self._stamp = "", stamp
        return [f"{self.path} was read again: {len(self.keys)} users", *self.warnings]

    def _take(self, content: bytes, may_others_read: bool) -> None:
        keys = parse_keys(content)
        found = [f"{self.path}: {warning}" for warning in keys.warnings]
        if may_others_read:
            found.append(open_words(self.path))
        if not len(keys):
            found.append(f"{self.path} names no user: every report that is signed or encrypted is refused")
        self.warnings: tuple[str, ...] = tuple(found)
        self.keys: Keys = keys


def open_words(path: str) -> str:
    """The warning about a file with passwords that every user of the machine may read."""
    return f"{path} can be read by every user of this machine: chmod o= {path}"


def read_password(path: str, setting: str) -> tuple[str, bool]:
    """The password in the first line of a file, and whether every user of the machine may read the file.

    Raises:
        SettingError: If there is none; it names the setting, and never quotes the file's content.
    """
    content, _, may_others_read = _read(path, setting)
    line = content.split(b"\n", 1)[0].rstrip(b"\r")
    try:
        password = line.decode()
    except UnicodeDecodeError:
        raise SettingError(setting, f"the first line of {path!r} is not UTF-8") from None
    if not password:
        raise SettingError(setting, f"expected a password in the first line of {path!r}")
    return password, may_others_read


def _read(path: str, setting: str) -> tuple[bytes, _Stamp, bool]:
    """The content, its stamp, and whether others may read the file."""
    try:
        return _content(path, setting)
    except SettingError:
        raise
    except FileNotFoundError:
        raise SettingError(setting, f"there is no file {path!r}") from None
    except (OSError, ValueError) as error:
        # A shortage is temporary: callers that can retry look at the cause.
        raise SettingError(setting, f"{path!r} cannot be read: {error}") from error


def _content(path: str, setting: str) -> tuple[bytes, _Stamp, bool]:
    """As `_read`, but raises OSError, and ValueError for an invalid path."""
    with Path(path).open("rb") as file:
        # Take the stamp before reading, so that the next check notices a write in between.
        status = os.fstat(file.fileno())
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise SettingError(setting, f"{path!r} is larger than {LARGEST_FILE:,} bytes")
    return content, _stamp(status), bool(status.st_mode & stat.S_IROTH)


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino
