"""A password from a file."""

import pytest

from poolhouse.console.login import read_password
from poolhouse.errors import SettingError


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"s3cret", "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b"s3cret\nand what else stands there\n", "s3cret"),
        (b" with blanks ", " with blanks "),
        ("größe".encode(), "größe"),
        ("größe".encode("latin-1"), "größe"),
    ],
)
def test_it_is_the_first_line(tmp_path, content, password):
    (tmp_path / "password").write_bytes(content)
    assert read_password(str(tmp_path / "password")) == password


@pytest.mark.parametrize("content", [b"", b"\nsecond", b"x" * 5000])
def test_a_file_without_one_is_a_sentence(tmp_path, content):
    (tmp_path / "password").write_bytes(content)
    with pytest.raises(SettingError, match=r"--password-file: .*expected a password in the first line"):
        read_password(str(tmp_path / "password"))


@pytest.mark.parametrize("path", ["/nonexistent", "/", "/dev/zero", "a\0b"])
def test_whatever_is_named_it_is_a_sentence(path):
    with pytest.raises(SettingError, match="--password-file: "):
        read_password(path)
