"""Addresses as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.addresses import format_address, parse_address
from poolhouse.errors import SettingError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web1", ("web1", 25827)),
        ("web1:1", ("web1", 1)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("::1", ("::1", 25827)),
        ("::", ("::", 25827)),
        ("[::1]", ("::1", 25827)),
        ("[::1]:9", ("::1", 9)),
        ("fe80::1%eth0", ("fe80::1%eth0", 25827)),
        (":9", ("0.0.0.0", 9)),
        (" web1:0 ", ("web1", 0)),
    ],
)
def test_every_form_of_an_address(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text, 25827, "reports") == expected


@pytest.mark.parametrize(
    "text", ["web1:x", "web1:", "web1:65536", "web1:-1", "a:b:c", "[web1]:1", "[::1]x", "web1:²"]
)
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(SettingError, match=r"^reports: "):
        parse_address(text, 25827, "reports")


@given(st.sampled_from(["web1", "10.0.0.1", "::1", "fe80::1%eth0"]), st.integers(0, 65535))
def test_an_address_comes_back_as_it_was_written(host: str, port: int) -> None:
    assert parse_address(format_address(host, port), 1, "reports") == (host, port)


@pytest.mark.parametrize("text", ["ann:s3cret@web1", "ann:s3cret@web1:25828", "ann:s3cret@[::1]:25828"])
def test_a_password_before_the_host_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SettingError, match=r"^--host: expected host:port; a user or a password") as caught:
        parse_address(text, 25828, "--host")
    assert "s3cret" not in str(caught.value)
