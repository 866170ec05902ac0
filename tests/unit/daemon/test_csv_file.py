"""The CSV file: what is written, and what becomes of it where the disk does not play along."""

import os
import resource
import signal
import tempfile
from pathlib import Path

import pytest

from poolhouse.daemon.csv_file import CsvFile

HEADER = "timestamp,token\n"


class Log(list[tuple[int, str]]):
    def __call__(self, level: int, text: str) -> None:
        self.append((level, text))


def written(path: Path, *rows: str, log: Log | None = None, largest: int | None = None, keep: int = 5) -> CsvFile:
    """A file to which rows were appended one after the other."""
    file = CsvFile(str(path), HEADER, log if log is not None else Log(), largest, keep)
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


def test_a_file_with_other_columns_is_appended_to_and_that_is_said_once(tmp_path):
    (tmp_path / "c.csv").write_text("timestamp,progname\n0,a\n")
    log = Log()
    written(tmp_path / "c.csv", "1\n", "2\n", "3\n", log=log)
    assert (tmp_path / "c.csv").read_text() == "timestamp,progname\n0,a\n1\n2\n3\n"
    sentence = "its first line is another header; rows with these columns follow"
    assert [text for _, text in log] == [f"{tmp_path}/c.csv: {sentence}"]


@pytest.mark.parametrize("rows", ["", "1,café\n", "1,café\n2,d\n"])
def test_a_kill_at_any_byte_of_a_write_leaves_whole_rows_after_the_next_one(tmp_path, rows):
    path, log, before = tmp_path / "c.csv", Log(), f"{HEADER}{rows}".encode()
    whole, row = before if rows else b"", b'3,e\xc3\xa9,"x"\n'
    data = row if rows else before + row
    for cut in range(len(data) + 1):
        path.write_bytes(whole + data[:cut])
        written(path, "4\n", log=log)
        kept = (whole + data[:cut]).decode(errors="replace").rpartition("\n")
        assert path.read_text() == (f"{kept[0]}\n" if kept[1] else HEADER) + "4\n", cut
    assert not log


def test_the_last_line_of_a_file_that_is_not_ours_is_not_cut(tmp_path):
    for foreign in ("timestamp,progname\n0,a", "x" * 100_000, HEADER + "x" * 100_000):
        (tmp_path / "c.csv").write_text(foreign)
        written(tmp_path / "c.csv", "1\n")
        assert (tmp_path / "c.csv").read_text() == f"{foreign}\n1\n"


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


def contents(folder: Path) -> dict[str, str]:
    """What stands in the files of a folder, without the header that each begins with."""
    found = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    assert all(text.startswith(HEADER) for text in found.values()), found
    return {name: text.removeprefix(HEADER) for name, text in found.items()}


def test_so_many_renamed_files_are_kept_the_newest_first(tmp_path):
    written(tmp_path / "c.csv", *(f"{number}\n" for number in range(1, 7)), largest=1, keep=3)
    assert contents(tmp_path) == {"c.csv": "6\n", "c.csv.1": "5\n", "c.csv.2": "4\n", "c.csv.3": "3\n"}


def test_a_gap_that_a_crash_left_costs_no_file(tmp_path):
    for name, row in (("c.csv", "4"), ("c.csv.2", "2"), ("c.csv.3", "1")):
        (tmp_path / name).write_text(f"{HEADER}{row}\n")
    written(tmp_path / "c.csv", "5\n", largest=1, keep=3)
    assert contents(tmp_path) == {"c.csv": "5\n", "c.csv.1": "4\n", "c.csv.2": "2\n", "c.csv.3": "1\n"}


def test_what_a_link_leads_to_is_rotated_and_the_link_stays(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    (tmp_path / "c.csv").symlink_to(folder / "connmon.csv")
    written(tmp_path / "c.csv", "1\n", "2\n", largest=1)
    assert (tmp_path / "c.csv").is_symlink()
    assert contents(folder) == {"connmon.csv": "2\n", "connmon.csv.1": "1\n"}


def test_a_rotation_that_fails_is_said_once_and_rows_are_appended(tmp_path):
    log = Log()
    (tmp_path / "c.csv.1").mkdir()  # Nothing can be renamed to it.
    file = written(tmp_path / "c.csv", "1\n", "2\n", "3\n", "4\n", log=log, largest=1, keep=1)
    assert contents(tmp_path) == {"c.csv": "1\n2\n3\n4\n"}
    assert file.dropped == 0
    assert len(log) == 1
    assert log[0][1].startswith(
        f"{tmp_path}/c.csv: it grows, since it cannot be rotated: [Errno 21] Is a directory"
    )
    (tmp_path / "c.csv.1").rmdir()
    for _ in range(2):
        file.append("5\n")
        file._writing.join(30)
    file.close(30)
    assert contents(tmp_path) == {"c.csv": "5\n", "c.csv.1": "5\n"}
    assert [text for _, text in log[1:]] == [f"{tmp_path}/c.csv: it is rotated again"]


def test_a_folder_that_may_not_be_written_to_keeps_the_file_growing():
    """As a user who is not root: root may write anywhere."""
    log, me = Log(), os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "c.csv"
        path.touch()
        if me == 0:
            os.chown(path, 65534, 65534)
        os.chmod(name, 0o555)
        try:
            if me == 0:
                os.seteuid(65534)
            file = written(path, "1\n", "2\n", "3\n", log=log, largest=1)
        finally:
            os.seteuid(me)
            os.chmod(name, 0o755)
        assert contents(Path(name)) == {"c.csv": "1\n2\n3\n"}
    assert file.dropped == 0
    assert len(log) == 1
    assert "it cannot be rotated: [Errno 13] Permission denied" in log[0][1]


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
