"""Asking for a login at the terminal, even if standard input and output are redirected."""

import getpass
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from poolhouse.configuration.service import Login
from poolhouse.errors import SettingError
from poolhouse.stdio import say, write

_TERMINAL = "/dev/tty"
#: The longest password, in bytes: a huge file, or a device, is an error.
LONGEST_PASSWORD = 4096


def can_ask() -> bool:
    """Whether there is a terminal, and so perhaps a person who knows the password."""
    with suppress(OSError):
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        return True
    return sys.stdin is not None and sys.stdin.isatty()


def ask_login(user: str | None, reason: str = "") -> Login | None:
    """Ask for the password, and for the user if none is given; ``None`` if there is no answer.

    Args:
        user: The user whose password it is.
        reason: Why it is requested, in a sentence; empty if the user knows.
    """
    if reason:
        say(f"connmon: {reason}", sys.stderr)
    try:
        user = user or _ask("user: ")
        if not user:
            return None
        return Login(user, getpass.getpass(f"password of {user}: "))
    except EOFError:
        return None


def read_password(path: str) -> str:
    """The password on the first line of a file.

    Raises:
        SettingError: If the file cannot be read, or holds no password.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(LONGEST_PASSWORD + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingError("--password-file", f"{path!r} cannot be read: {reason}") from None
    password = content.split(b"\n", 1)[0].removesuffix(b"\r")
    if not password or len(password) > LONGEST_PASSWORD:
        raise SettingError("--password-file", f"{path!r}: expected a password in the first line")
    try:
        return password.decode()
    except UnicodeDecodeError:
        return password.decode("latin-1")  # As in a configuration file.


def _ask(question: str) -> str:
    """A line typed by the user, with echo."""
    try:
        with Path(_TERMINAL).open("r+b", buffering=0) as terminal:
            terminal.write(question.encode())
            return _line(terminal.readline().decode(errors="surrogateescape"))
    except OSError:
        write(question, sys.stderr)
        stdin: TextIO | None = sys.stdin
        return "" if stdin is None else _line(stdin.readline())


def _line(text: str) -> str:
    if not text:
        raise EOFError
    return text.strip()
