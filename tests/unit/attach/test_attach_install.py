"""Where the line is written that attaches each start of a Python."""

import subprocess
import sys
from pathlib import Path

import pytest

from poolhouse.attach.install import (
    FINDER,
    MODULE,
    NAME,
    Environment,
    Refused,
    files,
    find,
    install,
    installed_files,
    remove,
)


def test_up_to_3_14_it_is_one_line_that_site_runs(tmp_path: Path) -> None:
    ((path, text),) = files(Environment((3, 14), tmp_path, "python"), "collectd://x/?program_name=it's").items()
    assert path == tmp_path / f"{NAME}.pth"
    assert text.startswith("import os; exec(")
    assert text.count("\n") == 1
    compile(text, "line", "exec")


def test_from_3_15_on_it_is_an_entry_point_and_its_module(tmp_path: Path) -> None:
    found = files(Environment((3, 15), tmp_path, "python"), None)
    assert found[tmp_path / f"{NAME}.start"] == f"{MODULE}:start\n"
    names: dict[str, object] = {}
    exec(compile(found[tmp_path / f"{MODULE}.py"], "module", "exec"), names)
    assert callable(names["start"])


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"needs Python 3.11 or newer, and python is 3.10$"):
        files(Environment((3, 10), tmp_path, "python"), None)


@pytest.mark.parametrize("version", [(3, 11), (3, 15)])
def test_what_was_written_can_be_removed(version: tuple[int, int], tmp_path: Path) -> None:
    tmp_path /= "packages"
    environment = Environment(version, tmp_path, "python")
    assert len(install(environment, None)) == 1 + (version == (3, 15))
    (tmp_path / "other.pth").touch()
    assert (
        sorted(install(environment, None))
        == sorted(install(environment, "x"))
        == sorted(installed_files(tmp_path))
    )
    assert sorted(remove(environment)) == sorted(files(environment, None))
    assert remove(environment) == []
    assert [path.name for path in tmp_path.iterdir()] == ["other.pth"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_removed_poolhouse_leaves_a_line_that_does_nothing(is_there: bool, tmp_path: Path) -> None:
    ((_, text),) = files(Environment((3, 11), tmp_path, "python"), "collectd://x/").items()
    if not is_there:
        text = text.replace(FINDER, str(tmp_path / "gone.py"))
    program = f"{text}\nimport sys; print([one.way for one in sys.meta_path if hasattr(one, 'is_poolhouses')])"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{['poolhouse attach --install'] if is_there else []}\n", "")


def test_an_environment_is_found_by_its_interpreter_or_its_folder() -> None:
    here = find(None)
    assert here == find(sys.executable) == find(sys.prefix)
    assert here.version == sys.version_info[:2]
    assert here.folder.is_dir()


@pytest.mark.parametrize("name", ["/no/such/python", "true", "/"])
def test_what_is_no_python_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="does not answer as a Python does"):
        find(name)
