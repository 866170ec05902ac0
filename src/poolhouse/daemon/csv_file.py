"""The CSV file of a service: appended to, reopened for each write, rotated by size.

Each write has a thread of its own, and there is one write at a time: a slow or missing disk delays neither reports
nor consoles, nor the end of the process. Rows that become due meanwhile are dropped and counted.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from logging import INFO, WARNING
from pathlib import Path
from threading import Thread

from poolhouse.configuration.service import CSV_KEEP
from poolhouse.shortage import words_of

#: The bytes in which the end of a file's last whole row is sought.
_LONGEST_ROW = 65_536

#: Logs a sentence; takes level and text.
Say = Callable[[int, str], object]


class CsvFile:
    """A file to which rows are appended.

    Attributes:
        dropped: How many groups of rows were not written.
    """

    def __init__(self, path: str, header: str, say: Say, largest: int | None = None, keep: int = CSV_KEEP) -> None:
        """Start without opening the file.

        Args:
            path: The file.
            header: Its first line, written if the file is new or empty.
            say: Called with lines for the log: once when writing or rotating fails, once when it succeeds again.
            largest: The size in bytes from which the file is renamed to ``<path>.1`` and restarted; ``None`` for
                never.
            keep: How many renamed files are kept. ``<path>.1`` is the newest.
        """
        self.dropped = 0
        self._path = Path(path)
        self._header = header
        self._say = say
        self._largest = largest
        self._keep = keep
        #: The present or last write; its error; and whether it has rotated the file, or why not.
        self._writing: Thread | None = None
        self._failure: OSError | MemoryError | None = None
        self._has_rotated = False
        self._rotation_failure: OSError | MemoryError | None = None
        #: Whether the log has said that rows are not written, or that the file is not rotated.
        self._is_failing = False
        self._is_too_large = False
        #: Whether the file's first line has been compared with the header, and whether it differs, which is
        #: logged.
        self._was_compared = False
        self._has_other_header = False

    def append(self, rows: str) -> None:
        """Write rows unless a write is still under way; never waits, never raises."""
        if self._writing is not None:
            if self._writing.is_alive():
                self._fail("the last write has not ended yet")
                return
            self._judge()
            self._writing = None
        self._failure = self._rotation_failure = None
        self._has_rotated = False
        try:
            writing = Thread(target=self._run, args=(rows,), name="csv", daemon=True)
            writing.start()
        except (RuntimeError, MemoryError) as error:  # The thread limit is reached.
            self._fail(words_of(error))
        else:
            self._writing = writing

    def close(self, timeout: float) -> None:
        """Wait for the write under way, for this many seconds at most."""
        if self._writing is not None:
            self._writing.join(timeout)
            if self._writing.is_alive():
                self.dropped += 1
            else:
                self._judge()

    def _judge(self) -> None:
        """Handle the result of the last write."""
        if self._failure is not None:
            self._fail(_words(self._failure))
        elif self._is_failing:
            self._is_failing = False
            self._say(INFO, f"{self._path}: rows are written again")
        if self._has_other_header:
            self._has_other_header = False
            self._say(WARNING, f"{self._path}: its first line is another header; rows with these columns follow")
        if self._rotation_failure is not None and not self._is_too_large:
            self._is_too_large = True
            self._say(
                WARNING, f"{self._path}: it grows, since it cannot be rotated: {_words(self._rotation_failure)}"
            )
        elif self._has_rotated and self._is_too_large:
            self._is_too_large = False
            self._say(INFO, f"{self._path}: it is rotated again")

    def _fail(self, reason: str) -> None:
        self.dropped += 1
        if not self._is_failing:
            self._say(WARNING, f"{self._path}: rows are not written: {reason}")
        self._is_failing = True

    def _run(self, rows: str) -> None:
        try:
            self._write(rows)
        except (OSError, MemoryError) as error:
            self._failure = error

    def _write(self, rows: str) -> None:
        """Write rows. The file is opened each time: if it was moved or removed, a new one begins."""
        if self._largest is not None and self._size() >= self._largest:
            try:
                self._rotate()
            except (OSError, MemoryError) as error:
                self._rotation_failure = error
        with open(self._path, "ab", buffering=0, opener=_opened) as file:
            descriptor = file.fileno()
            begin, lead = self._mend(descriptor, os.fstat(descriptor).st_size)
            if begin and not self._was_compared:
                self._compare()
            data = (lead + rows).encode("utf-8", "replace")
            try:
                if file.write(data) != len(data):
                    raise OSError("the disk is full")
            except (OSError, MemoryError):
                # Half a row would break the file's readers.
                os.ftruncate(descriptor, begin)
                raise

    def _mend(self, descriptor: int, size: int) -> tuple[int, str]:
        """Cut off the remains of a last row that a kill or power cut interrupted.

        Returns:
            The new size, and what must precede the next rows.
        """
        if not size:
            return 0, self._header
        header = self._header.encode("utf-8", "replace")
        try:
            with self._path.open("rb") as file:
                begin = file.read(len(header))
                tail_at = file.seek(max(0, size - _LONGEST_ROW))
                tail = file.read(size - tail_at)
        except OSError:  # The file may be writable but not readable.
            return size, ""
        if tail.endswith(b"\n"):
            return size, ""
        if not header.startswith(begin) or (tail_at and b"\n" not in tail):
            return size, "\n"  # The line is not ours to cut.
        whole = tail_at + tail.rfind(b"\n") + 1
        os.ftruncate(descriptor, whole)
        return whole, "" if whole else self._header

    def _compare(self) -> None:
        """Check the first line: other columns may have been there before, or an old connmon without a header."""
        self._was_compared = True
        header = self._header.encode("utf-8", "replace")
        with suppress(OSError), self._path.open("rb") as file:
            self._has_other_header = file.read(len(header)) != header

    def _rotate(self) -> None:
        """Rename the file. Each step is atomic: if one fails, or a crash comes between two, no rows are lost."""
        path = os.path.realpath(self._path)  # A link stays in place, and leads to the next file.
        taken = 1
        while taken < self._keep and os.path.lexists(f"{path}.{taken}"):
            taken += 1
        for number in range(taken, 1, -1):
            os.replace(f"{path}.{number - 1}", f"{path}.{number}")
        os.replace(path, f"{path}.1")
        self._has_rotated = True

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0


def _opened(path: str, flags: int) -> int:
    """A descriptor of a file that only its owner and group can read; the caller closes it."""
    return os.open(path, flags, 0o640)


def _words(error: OSError | MemoryError) -> str:
    """The error's text with its number, by which the cause can be looked up."""
    return words_of(error) if isinstance(error, MemoryError) else str(error)
