"""The CSV file of a service: appended to, reopened for each instant, rotated by size.

Each write has a thread of its own, and there is one write at a time: a disk that is slow or gone holds up neither
reports nor consoles, nor the end of the process. Rows that fall due meanwhile are dropped and counted.
"""

import os
from collections.abc import Callable
from logging import INFO, WARNING
from pathlib import Path
from threading import Thread

#: Says a sentence; level and text.
Say = Callable[[int, str], object]


class CsvFile:
    """A file that rows are appended to.

    Attributes:
        dropped: Groups of rows that were not written.
    """

    def __init__(self, path: str, header: str, say: Say, largest: int | None = None) -> None:
        """Open nothing yet.

        Args:
            path: The file.
            header: Its first line; written where the file is new or empty.
            say: Called with lines for the log: once when writing fails, once when it succeeds again.
            largest: Bytes from which on the file is renamed to ``<path>.1`` and begun again; ``None`` for never.
        """
        self.dropped = 0
        self._path = Path(path)
        self._header = header
        self._say = say
        self._largest = largest
        #: The write under way, or the last one; and its error.
        self._writing: Thread | None = None
        self._failure: OSError | None = None
        #: Whether the log says that rows are not written.
        self._is_failing = False

    def append(self, rows: str) -> None:
        """Write rows if the last ones were written; never waits, never raises."""
        if self._writing is not None:
            if self._writing.is_alive():
                self._fail("the last write has not ended yet")
                return
            self._judge()
        self._failure = None
        writing = Thread(target=self._run, args=(rows,), name="csv", daemon=True)
        try:
            writing.start()
        except RuntimeError as error:  # As many threads as there may be.
            self._fail(str(error))
        else:
            self._writing = writing

    def close(self, timeout: float) -> None:
        """Wait for the rows under way, for this many seconds at most."""
        if self._writing is not None:
            self._writing.join(timeout)
            if self._writing.is_alive():
                self.dropped += 1
            else:
                self._judge()

    def _judge(self) -> None:
        """Look at the result of the last write."""
        if self._failure is not None:
            self._fail(str(self._failure))
        elif self._is_failing:
            self._is_failing = False
            self._say(INFO, f"{self._path}: rows are written again")

    def _fail(self, reason: str) -> None:
        self.dropped += 1
        if not self._is_failing:
            self._say(WARNING, f"{self._path}: rows are not written: {reason}")
        self._is_failing = True

    def _run(self, rows: str) -> None:
        try:
            self._write(rows)
        except OSError as error:
            self._failure = error

    def _write(self, rows: str) -> None:
        """Open the file each time: after it was moved or removed, the next rows begin a new one."""
        if self._largest is not None and self._size() >= self._largest:
            os.replace(self._path, f"{self._path}.1")
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            begin = os.fstat(descriptor).st_size
            content = ("" if begin else self._header) + rows
            data = content.encode("utf-8", "replace")
            try:
                if file.write(data) != len(data):
                    raise OSError("the disk is full")
            except OSError:
                # Half a row would break the file's readers.
                os.ftruncate(descriptor, begin)
                raise

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0
