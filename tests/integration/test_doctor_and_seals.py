"""``poolhouse doctor`` tells a wrong password from a wrong level, from a host of others and from no server."""

from pathlib import Path

import pytest

from support.connmond import Connmond
from support.doctor import examine


@pytest.fixture
def auth_file(tmp_path: Path) -> str:
    path = tmp_path / "auth"
    path.write_text("alice: right\n#poolhouse-hosts alice: web*\n")
    path.chmod(0o600)
    return str(path)


def url_of(port: int, security: str = "", password: str = "right", host: str = "web1") -> str:
    seal = f"&security={security}&username=alice&password={password}" if security else ""
    return f"collectd://127.0.0.1:{port}/?report_host={host}{seal}"


def report_of(daemon: Connmond, url: str) -> tuple[int, str]:
    status, findings, errors = examine(url, "--consoles", str(daemon.consoles), "--timeout", "4")
    assert errors == ""
    assert "right" not in str(findings).replace("are right", "")
    return status, findings["report"]


def test_at_the_level_encrypt(auth_file: str):
    with Connmond("--authfile", auth_file, "--securitylevel", "encrypt") as daemon:
        assert report_of(daemon, url_of(daemon.reports, "encrypt"))[0] == 0
        status, report = report_of(daemon, url_of(daemon.reports, "encrypt", "wrong"))
        assert status == 1
        assert "its AuthFile does not have user alice with this password" in report
        status, report = report_of(daemon, url_of(daemon.reports, "sign"))
        assert (status, "it demands what is encrypted" in report) == (1, True)
        status, report = report_of(daemon, url_of(daemon.reports))
        assert (status, "it demands what is encrypted" in report) == (1, True)
        status, report = report_of(daemon, url_of(daemon.reports, "encrypt", host="db1"))
        assert status == 1
        assert "does not show it" in report
        assert "the AuthFile does not allow their user to report for their host" in report


def test_at_the_level_sign_and_where_nothing_is_demanded(auth_file: str):
    with Connmond("--authfile", auth_file, "--securitylevel", "sign") as daemon:
        assert report_of(daemon, url_of(daemon.reports, "sign"))[0] == 0
        status, report = report_of(daemon, url_of(daemon.reports))
        assert (status, "it demands what is signed or encrypted" in report) == (1, True)
    with Connmond() as daemon:
        # Signatures are not looked at, as by collectd; what is encrypted cannot be read.
        assert report_of(daemon, url_of(daemon.reports, "sign"))[0] == 0
        status, report = report_of(daemon, url_of(daemon.reports, "encrypt"))
        assert (status, "it cannot decrypt" in report) == (1, True)
