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

#: The errors of a write to a standard file. Nothing else in a command lets one of them escape.
_OUTPUT_ERRORS = frozenset((errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF))

#: ASCII substitutes for our symbols, each as wide, so that columns stay aligned in a terminal without Unicode.
_INSTEAD = str.maketrans("✓✗●○█▇▆▅▄▃▂▁░─…–≤µ×↵↑↓←→▴▾▸◂▲‖“”", 'vx*o##==--__.-~-<uxE^v<>^v><^|""')


def reserve() -> None:
    """Open the null device in place of each standard file that is closed.

    Otherwise the next socket or file to be opened would take its number and receive whatever is written to
    standard output or standard error. `sys.stdout` and the others stay ``None`` where they were closed.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest free number, which is this one.


def write(text: str, stream: TextIO | None) -> None:
    """Write the whole text now. Characters that the stream cannot encode become ASCII, or ``?``.

    Raises:
        OSError: If the text cannot be written; none of it stays in a buffer, where it would fail again at exit.
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
    except (OSError, ValueError):  # A stream of tests or of an embedding program has no descriptor.
        stream.write(encoded.decode(encoding))
        stream.flush()
        return
    stream.flush()
    left = memoryview(encoded)
    while left:
        left = left[os.write(descriptor, left) :]


def say(text: str, stream: TextIO | None) -> OSError | None:
    """Write a line if possible. Returns the error that prevented it, or ``None``; never raises."""
    try:
        write(f"{text}\n", stream)
    except OSError as error:
        return error
    except ValueError as error:  # Something in this process has closed the stream.
        return OSError(errno.EBADF, str(error))
    return None


def guarded(name: str, command: Callable[[], object]) -> None:
    """Run a command whose output matters: if it is lost, end with a sentence and status 1 instead of a traceback.

    If the reader has seen enough (``head``), the status is 1 too, but nothing is printed.
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
    """Write what is buffered while its failure can still be told apart from the command's own."""
    if sys.stdout is not None:
        with suppress(ValueError):
            sys.stdout.flush()


def _give_up_output() -> None:
    """Discard what is left in a buffer, so that the interpreter's own flush at exit does not fail."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            try:
                stream.flush()
            except OSError:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
