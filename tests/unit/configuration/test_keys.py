"""AuthFiles as collectd reads them, and files with one password."""

import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.configuration.key_files import KeyFile, read_password
from poolhouse.configuration.keys import LONGEST_LINE, MOST_PASSWORDS, Hosts, Keys, parse_keys
from poolhouse.errors import SettingError


@pytest.mark.parametrize(
    ("content", "user", "password"),
    [
        (b"alice: s3cret\n", b"alice", b"s3cret"),
        (b"alice:s3cret", b"alice", b"s3cret"),
        (b" \t alice: \t s3cret\r\n", b"alice", b"s3cret"),
        (b"alice: a:b#c", b"alice", b"a:b#c"),
        (b"alice: kept \n", b"alice", b"kept "),
        (b"sp : pw", b"sp ", b"pw"),
        (b"\n\n# alice: no\nalice: yes\n", b"alice", b"yes"),
        (b"alice: first\nalice: second\n", b"alice", b"first"),
        (b"alice:\nalice: second\n", b"alice", b"second"),
        (b"no colon\nalice: pw\n", b"alice", b"pw"),
        ("bücher: schlüssel\n".encode(), "bücher".encode(), "schlüssel".encode()),
        (b"alice: \xff\xfe\n", b"alice", b"\xff\xfe"),
        (b"alice: cut\0here\n", b"alice", b"cut"),
    ],
)
def test_a_line_means_what_it_means_to_collectd(content: bytes, user: bytes, password: bytes):
    assert parse_keys(content).passwords(user) == (password,)


@pytest.mark.parametrize("content", [b"", b"\n", b"# alice: pw", b"alice", b"alice:", b"alice: \r\n", b": pw"])
def test_a_line_without_user_or_password_names_nobody(content: bytes):
    assert len(parse_keys(content)) == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_an_authfile(content: bytes):
    assert "Keys of" in repr(parse_keys(content))


def test_further_passwords_stand_in_comments_that_collectd_does_not_read():
    keys = parse_keys(b"alice: new\n#poolhouse-also alice: before\n#poolhouse-also alice: long before\n")
    assert keys.passwords(b"alice") == (b"new", b"before", b"long before")
    assert keys.warnings == ()


@pytest.mark.parametrize(
    "comment",
    [b"#alice: old", b"# poolhouse-also alice: old", b"#poolhouse-alsoalice: old", b"#poolhouse-also alice"],
)
def test_no_other_comment_is_a_password(comment: bytes):
    assert parse_keys(b"alice: new\n" + comment).passwords(b"alice") == (b"new",)


def test_a_further_password_needs_a_first_one_and_there_are_few():
    keys = parse_keys(b"#poolhouse-also eve: x\n")
    assert keys.passwords(b"eve") == ()
    assert "a user who is not in the file" in keys.warnings[0]
    many = parse_keys(b"a: 0\n" + b"".join(b"#poolhouse-also a: %d\n" % n for n in range(9)))
    assert len(many.passwords(b"a")) == MOST_PASSWORDS


def test_lines_that_may_not_mean_what_was_meant_have_warnings_with_their_numbers():
    keys = parse_keys(b"a: x \nb : y\na: z\nnonsense\n: w\nc:\n" + b"d: " + b"z" * LONGEST_LINE)
    assert [warning.split()[1] for warning in keys.warnings] == ["1", "2", "3", "4", "5", "6", "7"]


def test_a_file_is_read_again_when_it_changes(tmp_path: Path):
    path = tmp_path / "auth"
    path.write_bytes(b"alice: one\n")
    path.chmod(0o600)
    file = KeyFile(str(path), "--authfile")
    assert file.warnings == ()
    path.write_bytes(b"alice: two-two\n")
    assert file.refresh(1.5) == []
    assert file.refresh(2.4) == []
    assert file.refresh(2.5) == [f"{path} was read again: 1 users"]
    assert file.keys.passwords(b"alice") == (b"two-two",)
    assert file.refresh(9.0) == []


def test_a_file_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path):
    before = b"alice: one\n#poolhouse-hosts alice: web1\n"
    after = b"alice: two\n#poolhouse-hosts alice: web1\nbob: three\n"
    path, now = tmp_path / "auth", 1.0
    path.write_bytes(before)
    path.chmod(0o600)
    file = KeyFile(str(path), "--authfile")
    for end in range(len(after) + 1):
        path.write_bytes(after[:end])
        now += 1.0
        assert file.refresh(now) == []
        hosts = file.keys.hosts(b"alice")
        assert hosts is not None, "half of a file would let alice report for every host"
        assert ("web2" in hosts, file.keys.passwords(b"alice")) == (False, (b"one",))
    assert file.refresh(now + 1.0) == [f"{path} was read again: 2 users"]
    assert file.keys.passwords(b"alice") == (b"two",)


def test_a_file_that_is_written_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "auth"
    path.write_bytes(b"alice: one\n")
    path.chmod(0o600)
    file = KeyFile(str(path), "--authfile")
    path.write_bytes(b"alice: two\nbob: x\n")
    assert file.refresh(2.0) == []
    status_of = os.fstat

    def cut_behind(descriptor: int) -> os.stat_result:
        status = status_of(descriptor)
        os.truncate(path, 2)
        return status

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", cut_behind)
        assert file.refresh(3.0) == []
    assert file.keys.passwords(b"alice") == (b"one",)
    path.write_bytes(b"alice: three\n")
    assert file.refresh(4.0) + file.refresh(5.0) == [f"{path} was read again: 1 users"]


def test_a_file_that_vanishes_or_cannot_be_read_still_holds_and_is_told_once(tmp_path: Path):
    path = tmp_path / "auth"
    path.write_bytes(b"alice: one\n")
    file = KeyFile(str(path), "--authfile")
    path.unlink()
    (line,) = file.refresh(2.0)
    assert "No such file" in line
    assert "remain valid" in line
    assert file.refresh(4.0) == []
    assert file.keys.passwords(b"alice") == (b"one",)
    path.write_bytes(b"alice: two\n")
    assert file.refresh(6.0) == []
    assert file.refresh(7.0)
    assert file.keys.passwords(b"alice") == (b"two",)


def test_a_file_that_others_can_read_and_one_that_names_nobody_are_told(tmp_path: Path):
    path = tmp_path / "auth"
    path.write_bytes(b"")
    path.chmod(0o644)
    warnings = KeyFile(str(path), "--authfile").warnings
    assert any("every user of this machine" in warning for warning in warnings)
    assert any("names no user" in warning for warning in warnings)


def test_a_file_that_is_not_there_or_no_file_is_a_setting_error(tmp_path: Path):
    with pytest.raises(SettingError, match="--authfile: there is no file"):
        KeyFile(str(tmp_path / "none"), "--authfile")
    with pytest.raises(SettingError, match=r"--authfile: .*cannot be read"):
        KeyFile(str(tmp_path), "--authfile")
    with pytest.raises(SettingError, match=r"--authfile: .*larger than"):
        KeyFile("/dev/zero", "--authfile")


@pytest.mark.parametrize(
    ("content", "password"),
    [(b"pw\n", "pw"), (b"pw", "pw"), (b"pw \r\nmore", "pw "), ("schlüssel".encode(), "schlüssel")],
)
def test_a_password_is_the_first_line_of_its_file(tmp_path: Path, content: bytes, password: str):
    path = tmp_path / "password"
    path.write_bytes(content)
    path.chmod(0o600)
    assert read_password(str(path), "x") == (password, False)
    os.chmod(path, 0o604)
    assert read_password(str(path), "x") == (password, True)


@pytest.mark.parametrize("content", [b"", b"\nsecond", b"\xff\xfe\n"])
def test_a_file_without_a_password_is_a_setting_error_that_does_not_repeat_it(tmp_path: Path, content: bytes):
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=r"collectd_password_file: .*first line") as caught:
        read_password(str(path), "collectd_password_file")
    assert "second" not in str(caught.value)


def test_keys_know_how_many_they_are():
    assert len(Keys({b"a": (b"x",)})) == 1


def hosts_of(lines: bytes) -> tuple[Hosts | None, list[str]]:
    keys = parse_keys(b"alice: s3cret\n" + lines)
    assert keys.passwords(b"alice") == (b"s3cret",)
    return keys.hosts(b"alice"), list(keys.warnings)


def test_a_user_may_be_bound_to_hosts_in_comments_that_collectd_does_not_read():
    assert hosts_of(b"") == (None, [])
    hosts, warnings = hosts_of(
        b"#poolhouse-hosts alice: web1 batch-*.example\n#poolhouse-hosts  alice:b\xc3\xbcro\n"
    )
    assert warnings == []
    assert hosts is not None
    asked = ["web1", "batch-7.example", "büro", "web11", "Web1", "batch-.example.org", ""]
    assert [host in hosts for host in asked] == [True, True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("lines", "words", "is_open"),
    [
        (b"#poolhouse-hosts alice web1", "line 2 has no colon; expected #poolhouse-hosts user: host host*", False),
        (b"#poolhouse-hosts alice:", "line 2 names no host, so it lets its user report for none", False),
        (b"#poolhouse-hosts alice: web1,web2", "line 2 has a word that is no host", False),
        (b"#poolhouse-hosts alice: web[12]", "line 2 has a word that is no host", False),
        (b"#poolhouse-hosts alice: \xff", "line 2 has a word that is no host", False),
        (
            b"#poolhouse-hosts bob: web1",
            "line 2 has hosts of a user who is not in the file, so it binds nobody",
            True,
        ),
        (b"#poolhouse-hosts", "line 2 is not read: there are #poolhouse-also and #poolhouse-hosts", True),
        (b"#poolhouse-host alice: web1", "line 2 is not read: there are #poolhouse-also and", True),
    ],
)
def test_each_mistake_in_a_line_of_hosts_is_told_and_none_opens_more(lines: bytes, words: str, is_open: bool):
    hosts, warnings = hosts_of(lines)
    assert words in warnings[0]
    if is_open:
        assert hosts is None
    else:
        assert hosts is not None
        assert "web1" not in hosts


def test_one_wrong_word_costs_itself_only():
    hosts, warnings = hosts_of(b"#poolhouse-hosts alice: web1 web2, web3")
    assert hosts is not None
    assert [host in hosts for host in ("web1", "web2", "web3")] == [True, False, True]
    assert len(warnings) == 1


@given(st.lists(st.text(alphabet="ab*", min_size=1, max_size=6), max_size=4), st.text(alphabet="ab", max_size=8))
def test_a_pattern_means_what_fnmatch_says(patterns: list[str], host: str):
    assert (host in Hosts(tuple(patterns))) == any(fnmatchcase(host, pattern) for pattern in patterns)


def test_many_hosts_are_asked_for_in_bounded_memory():
    hosts = Hosts(("a*",))
    assert all(f"a{number}" in hosts for number in range(10_000))
    assert len(hosts._said) <= 4096
