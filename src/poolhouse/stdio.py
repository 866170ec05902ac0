"""The three standard files of our commands: any of them may be closed, full, or without a reader.

Output must never end a daemon (`say`). What a command was asked to print must arrive, or the command says in a
sentence that it did not (`write` and `guarded`).
"""

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

#: What a write to a standard file fails with, and what nothing else of a command lets escape.
_OUTPUT_ERRORS = frozenset((errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF))

#: What stands for a character of ours where a terminal's encoding has none: as wide, so that columns stay columns.
_INSTEAD = str.maketrans("✓✗●○█▇▆▅▄▃▂▁░─…–≤µ×↵↑↓←→▴▾▸◂▲‖“”", 'vx*o##==--__.-~-<uxE^v<>^v><^|""')


def reserve() -> None:
    """Open the null device in the place of each standard file that is closed.

    Else the next socket or file to be opened takes its number, and gets whatever is written to the standard output
    or error. `sys.stdout` and the others stay ``None`` where they were closed.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest free number, which is this one.


def write(text: str, stream: TextIO | None) -> None:
    """Write the whole text now. What the stream cannot encode is drawn in ASCII, or is a ``?``.

    Raises:
        OSError: If it cannot be written; nothing of it stays in a buffer, where it would fail again at the exit.
    """
    if stream is None:
        raise OSError(errno.EBADF, "it is closed")
    encoding = stream.encoding or "utf-8"
    try:
        encoded = text.encode(encoding)
    except UnicodeEncodeError:
        encoded = text.translate(_INSTEAD).encode(encoding, "replace")
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # A stream of the tests, or of an embedding program.
        stream.write(encoded.decode(encoding))
        stream.flush()
        return
    stream.flush()
    left = memoryview(encoded)
    while left:
        left = left[os.write(descriptor, left) :]


def say(text: str, stream: TextIO | None) -> OSError | None:
    """Write a line if that is possible; why it was not, for who wants to know. Never raises."""
    try:
        write(f"{text}\n", stream)
    except OSError as error:
        return error
    except ValueError as error:  # The stream was closed by somebody in this process.
        return OSError(errno.EBADF, str(error))
    return None


def guarded(name: str, command: Callable[[], object]) -> None:
    """Run a command whose output matters: if that is lost it ends with a sentence and status 1, not a traceback.

    A reader that has seen enough (``head``) is no mistake: the status is 1 then, too, but nothing is said.
    """
    reserve()
    try:
        try:
            command()
        finally:
            _flush()
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            raise
        _give_up_output()
        if error.errno != errno.EPIPE:
            say(f"{name}: the output cannot be written: {error.strerror}", sys.stderr)
        sys.exit(1)


def _flush() -> None:
    """Write what is buffered, while its failure can still be told from the command's own."""
    if sys.stdout is not None:
        with suppress(ValueError):
            sys.stdout.flush()


def _give_up_output() -> None:
    """What is left in a buffer goes nowhere, so that the interpreter's own flush at the exit does not fail."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            try:
                stream.flush()
            except OSError:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
