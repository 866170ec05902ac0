"""The CSV file: what is written, and what becomes of it where the disk does not play along."""

import os
import resource
import signal
from pathlib import Path

import pytest

from poolhouse.daemon.csv_file import CsvFile

HEADER = "timestamp,token\n"


class Log(list[tuple[int, str]]):
    def __call__(self, level: int, text: str) -> None:
        self.append((level, text))


def written(path: Path, *rows: str, log: Log | None = None, largest: int | None = None) -> CsvFile:
    """A file to which rows were appended one after the other."""
    file = CsvFile(str(path), HEADER, log if log is not None else Log(), largest)
    for row in rows:
        file.append(row)
        file._writing.join(30)
    file.close(30)
    return file


def test_a_new_file_begins_with_the_header(tmp_path):
    written(tmp_path / "c.csv", "1\n", "2\n")
    assert (tmp_path / "c.csv").read_text() == f"{HEADER}1\n2\n"


def test_an_empty_file_gets_the_header_and_one_with_rows_goes_on(tmp_path):
    # connmon emptied the file at each start, and then wrote no header, since the file existed.
    (tmp_path / "c.csv").touch()
    written(tmp_path / "c.csv", "1\n")
    written(tmp_path / "c.csv", "2\n")
    assert (tmp_path / "c.csv").read_text() == f"{HEADER}1\n2\n"


def test_others_may_not_read_it(tmp_path):
    written(tmp_path / "c.csv", "1\n")
    assert (tmp_path / "c.csv").stat().st_mode & 0o007 == 0


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path):
    file = CsvFile(str(tmp_path / "c.csv"), HEADER, Log())
    file.append("1\n")
    file._writing.join(30)
    os.rename(tmp_path / "c.csv", tmp_path / "old.csv")
    file.append("2\n")
    file.close(30)
    assert (tmp_path / "c.csv").read_text() == f"{HEADER}2\n"


def test_it_is_rotated_by_size_when_asked(tmp_path):
    written(tmp_path / "c.csv", "x" * 100 + "\n", "2\n", "3\n", largest=100)
    assert (tmp_path / "c.csv.1").read_text() == HEADER + "x" * 100 + "\n"
    assert (tmp_path / "c.csv").read_text() == f"{HEADER}2\n3\n"


def test_a_full_disk_is_one_line_counted_and_leaves_no_half_row(tmp_path):
    log, path = Log(), tmp_path / "c.csv"
    written(path, "1\n")
    full = path.stat().st_size + 3
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # The kernel then writes as much as fits, as it does on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (full, before[1]))
        file = written(path, "long row\n", "long row\n", "long row\n", log=log)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_text() == f"{HEADER}1\n"
    assert file.dropped >= 2
    assert len(log) == 1
    assert "rows are not written" in log[0][1]


def test_once_there_is_room_again_that_is_said_once(tmp_path):
    log, folder = Log(), tmp_path / "later"
    file = CsvFile(str(folder / "c.csv"), HEADER, log)
    for _ in range(3):
        file.append("1\n")
        file._writing.join(30)
    folder.mkdir()
    for _ in range(3):
        file.append("2\n")
        file._writing.join(30)
    file.close(30)
    assert [text.rpartition(": ")[2] for _, text in log] == [
        f"[Errno 2] No such file or directory: '{folder / 'c.csv'}'".rpartition(": ")[2],
        "rows are written again",
    ]
    assert (folder / "c.csv").read_text() == f"{HEADER}2\n2\n2\n"


@pytest.mark.parametrize("name", ["/dev/full", "/proc/nothing", "/"])
def test_what_cannot_be_written_harms_nobody(name):
    file = CsvFile(name, HEADER, Log())
    for _ in range(3):
        file.append("1\n")
        file._writing.join(30)
    file.close(30)
    assert file.dropped >= 2


def test_a_disk_that_hangs_drops_rows_and_holds_up_nobody(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # Opening it for writing waits for a reader: a disk that does not answer.
    log = Log()
    file = CsvFile(str(pipe), HEADER, log)
    for _ in range(5):
        file.append("1\n")
    assert file.dropped == 4
    assert [text for _, text in log] == [f"{pipe}: rows are not written: the last write has not ended yet"]
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file.close(30)
    os.close(reader)
