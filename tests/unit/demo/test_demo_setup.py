"""`make demo` installs what the demo imports, and none of the tests' tools."""

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


def test_without_the_tests_environment_only_the_extra_of_the_demo_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool: dict[str, Any] = runpy.run_path(str(ROOT / "tools" / "setup.py"))
    installed: list[list[str]] = []
    begun: list[list[str]] = []
    names = tool["demo"].__globals__
    monkeypatch.setitem(names, "VENV", tmp_path / "none")
    monkeypatch.setitem(names, "DEMO_VENV", tmp_path / "demo")
    monkeypatch.setitem(names, "make", lambda folder, wanted, what: installed.append(what))
    monkeypatch.setattr("os.execv", lambda python, words: begun.append(words))
    tool["demo"]()
    assert installed == [["--editable", f"{ROOT}[demo]"]]
    assert begun[0][:3] == [str(tmp_path / "demo" / "bin" / "python"), "-m", "poolhouse.demo"]


def test_that_extra_has_connmond_the_console_and_sqlalchemy() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["demo"][0] == "poolhouse[console,daemon]"
    needed = {re.split(r"\W", one)[0] for extra in ("console", "daemon") for one in extras[extra]}
    assert needed | {re.split(r"\W", one)[0] for one in extras["demo"][1:]} == {
        "click",
        "sqlalchemy",
        "starlette",
        "textual",
        "uvicorn",
    }
