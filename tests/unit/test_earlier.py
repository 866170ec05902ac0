"""PyPI's sqlalchemy-collectd beside poolhouse, with packages as pip lays them out in a folder."""

import logging
import sys
from pathlib import Path

import pytest

from poolhouse import earlier
from poolhouse.safely import Log

LOG = Log("poolhouse.instrumentation").log


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all there is to import from, in a process that has not looked yet."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(earlier, "_told", [])
    return tmp_path


def lay_out(folder: Path) -> None:
    info = folder / "sqlalchemy_collectd-0.0.8.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sqlalchemy-collectd\nVersion: 0.0.8\n")


def test_a_broken_removal_is_no_installation(alone: Path):
    (alone / "sqlalchemy_collectd-0.0.8.dist-info").mkdir()
    assert earlier.legacy_version() is None


def test_the_advice_is_logged_once(alone: Path, caplog: pytest.LogCaptureFixture):
    lay_out(alone)
    with caplog.at_level(logging.DEBUG):
        earlier.warn_once(LOG)
        earlier.warn_once(LOG)
    assert [record.getMessage() for record in caplog.records] == [earlier.advice("0.0.8")]
    assert [record.name for record in caplog.records] == ["poolhouse.instrumentation"]


def test_without_the_earlier_package_nothing_is_logged(alone: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        earlier.warn_once(LOG)
    assert not caplog.records


def test_metadata_that_cannot_be_read_does_not_raise(
    alone: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken() -> None:
        raise OSError("no such disk")

    monkeypatch.setattr(earlier, "legacy_version", broken)
    with caplog.at_level(logging.DEBUG):
        earlier.warn_once(LOG)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
