"""Descriptors, threads or memory are exhausted at each call with which a file of connmond is written or read.

Each part goes on, says one sentence, and takes up again when the shortage is over.
"""

import os
import threading
from pathlib import Path

import pytest

from poolhouse.configuration import key_files
from poolhouse.configuration.key_files import LOOK_PERIOD, KeyFile
from poolhouse.daemon import csv_file
from poolhouse.daemon.csv_file import CsvFile
from support.exhausted import OF_FILES, OF_MEMORY, OF_THREADS, Calls, Exhausted, each

HEADER = "timestamp,token\n"
#: Every call with which rows are written, and what it can raise.
WRITES: Calls = [
    (csv_file, "Thread", OF_MEMORY),
    (threading.Thread, "start", OF_THREADS | OF_MEMORY),
    (os, "open", OF_FILES | OF_MEMORY),
    (os, "fstat", OF_FILES | OF_MEMORY),
    (Path, "stat", OF_FILES | OF_MEMORY),
]
#: Every call with which an AuthFile is read again.
READS: Calls = [
    (os, "stat", OF_FILES | OF_MEMORY),
    (Path, "open", OF_FILES | OF_MEMORY),
    (os, "fstat", OF_FILES | OF_MEMORY),
    (key_files, "parse_keys", OF_MEMORY),
]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Rows:
    """A CSV file to which rows are appended, one after the other."""

    def __init__(self, path: Path, largest: int | None = None) -> None:
        self.said: list[str] = []
        self.path = path
        self.file = CsvFile(str(path), HEADER, self.say, largest)

    def say(self, level: int, sentence: str) -> None:
        self.said.append(sentence)

    def append(self, rows: str) -> None:
        """The result of a write is looked at by the next one."""
        self.file.append(rows)
        if self.file._writing is not None:
            self.file._writing.join(60)


@pytest.mark.parametrize(("owner", "name", "error"), each(WRITES))
def test_rows_are_written_again_when_the_shortage_is_over(tmp_path, monkeypatch, owner, name, error):
    monkeypatch.setattr(threading, "excepthook", lambda args: pytest.fail(f"a thread ended by {args.exc_value!r}"))
    rows = Rows(tmp_path / "f.csv", largest=1 << 20)
    rows.append("1\n")
    before = descriptors()
    with Exhausted(owner, name, error) as exhausted:
        rows.append("2\n")
        rows.append("3\n")
    assert exhausted.calls == 2
    rows.append("4\n")
    rows.file.close(60)
    assert descriptors() == before
    assert rows.path.read_text() == f"{HEADER}1\n4\n"
    assert rows.file.dropped == 2
    reason = "there is no memory left" if isinstance(error, MemoryError) else str(error)
    assert rows.said == [f"{rows.path}: rows are not written: {reason}", f"{rows.path}: rows are written again"]


@pytest.mark.parametrize("error", [*OF_FILES.values(), *OF_MEMORY.values()], ids=[*OF_FILES, *OF_MEMORY])
def test_rows_are_written_while_the_file_cannot_be_rotated(tmp_path, error):
    rows = Rows(tmp_path / "f.csv", largest=1)
    rows.append("1\n")
    with Exhausted(os, "replace", error) as exhausted:
        rows.append("2\n")
        rows.append("3\n")
    assert exhausted.calls == 2
    rows.append("4\n")
    rows.file.close(60)
    assert rows.path.read_text() == f"{HEADER}4\n"
    assert Path(f"{rows.path}.1").read_text() == f"{HEADER}1\n2\n3\n"
    reason = "there is no memory left" if isinstance(error, MemoryError) else str(error)
    assert rows.said == [
        f"{rows.path}: it grows, since it cannot be rotated: {reason}",
        f"{rows.path}: it is rotated again",
    ]


@pytest.mark.parametrize(("owner", "name", "error"), each(READS))
def test_an_authfile_is_read_again_when_the_shortage_is_over(tmp_path, owner, name, error):
    path = tmp_path / "auth"
    path.write_text("alice: secret\n")
    path.chmod(0o600)
    file, now = KeyFile(str(path), "--authfile"), 100.0
    before = descriptors()
    path.write_text("alice: secret\nbob: another\n")
    assert file.refresh(now - LOOK_PERIOD) == []
    with Exhausted(owner, name, error) as exhausted:
        said = file.refresh(now) + file.refresh(now + LOOK_PERIOD)
    assert exhausted.calls == 2
    reason = "there is no memory left" if isinstance(error, MemoryError) else error.strerror
    assert said == [f"--authfile: {path}: {reason}; the users that were read last remain valid"]
    assert len(file.keys) == 1
    assert file.refresh(now + 2 * LOOK_PERIOD) == [f"{path} was read again: 2 users"]
    assert len(file.keys) == 2
    assert descriptors() == before
