"""Whose modules answer, with packages as pip lays them out in a folder."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from poolhouse import earlier
from poolhouse.installing import reinstall_command
from poolhouse.instrumentation import installation


def lay_out(folder: Path, name: str, version: str, plugin: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[sqlalchemy.plugins]\ncollectd = {plugin}\n")


def lay_out_module(folder: Path, text: str) -> None:
    module = folder / "sqlalchemy_collectd" / "server" / "plugin.py"
    module.parent.mkdir(parents=True)
    (folder / "sqlalchemy_collectd" / "__init__.py").write_text("raise AssertionError('imported')")
    module.write_text(text)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all there is to import from."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "sqlalchemy_collectd", raising=False)
    monkeypatch.setattr(earlier, "_told", [])
    return tmp_path


def test_poolhouse_alone_needs_no_advice(alone: Path):
    lay_out(alone, "poolhouse", "0.1.0", "poolhouse.instrumentation.plugin:CollectdPlugin")
    lay_out(alone, "sqlalchemy", "2.1.9", "x:y")
    lay_out_module(alone, "from poolhouse.collectd_plugin import server")
    found = installation.look()
    assert found == installation.Installation("poolhouse 0.1.0", "poolhouse", "2.1.9", None)
    assert found.is_ours


@pytest.mark.parametrize("name", ["sqlalchemy-collectd", "sqlalchemy_collectd", "SQLAlchemy-Collectd"])
def test_the_earlier_package_is_told_with_the_two_commands(alone: Path, name: str):
    lay_out(alone, name, "0.0.8", "sqlalchemy_collectd.client.plugin:Plugin")
    lay_out_module(alone, "from . import receiver")
    found = installation.look()
    assert (found.plugin, found.module) == (f"{name} 0.0.8", "sqlalchemy-collectd")
    assert not found.is_ours
    assert found.advice is not None
    for command in (
        "pip uninstall sqlalchemy-collectd",
        reinstall_command(),
    ):
        assert command in found.advice


def test_nothing_installed_is_nothing(alone: Path):
    assert installation.look() == installation.Installation(None, None, None, None)
    assert not installation.look().is_ours


def test_the_advice_is_logged_once(alone: Path, caplog: pytest.LogCaptureFixture):
    lay_out(alone, "sqlalchemy-collectd", "0.0.8", "sqlalchemy_collectd.client.plugin:Plugin")
    with caplog.at_level(logging.DEBUG):
        installation.warn_once()
        installation.warn_once()
    told = [(record.name, record.getMessage()) for record in caplog.records]
    assert told == [("poolhouse.instrumentation", earlier.advice("0.0.8"))]


def test_looking_imports_no_sqlalchemy():
    code = (
        "import sys; from poolhouse.instrumentation import installation; installation.look(); "
        "sys.exit('sqlalchemy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
