import os
import subprocess
import sys
from pathlib import Path

import pytest

import poolhouse

SOURCES = str(Path(__file__).parents[2] / "src")


def test_importing_poolhouse_imports_neither_sqlalchemy_nor_textual_nor_anything_of_itself() -> None:
    code = "import sys, poolhouse; print(*sorted(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": SOURCES}, capture_output=True, text=True, check=True
    )
    modules = run.stdout.split()
    assert [name for name in modules if name.partition(".")[0] in ("poolhouse", "sqlalchemy", "textual")] == [
        "poolhouse"
    ]
    assert not {"threading", "socket", "logging", "multiprocessing"} & set(modules)


@pytest.mark.parametrize("name", poolhouse.__all__)
def test_every_public_name_is_found(name: str) -> None:
    assert callable(getattr(poolhouse, name))
    assert name in dir(poolhouse)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'poolhouse' has no attribute 'instrumnet'"):
        _ = poolhouse.instrumnet  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(["-m", "nova"], "nova"), (["nova/__main__.py"], "nova"), (["-c", "import nova.__main__"], "python")],
)
def test_python_itself_says_how_it_runs_the_program(arguments: list[str], name: str, tmp_path: Path) -> None:
    (tmp_path / "nova").mkdir()
    (tmp_path / "nova" / "__init__.py").touch()
    (tmp_path / "nova" / "__main__.py").write_text(
        "from poolhouse.report.destination import Destination\nprint(Destination().program_name)"
    )
    path = os.pathsep.join([SOURCES, str(tmp_path)])
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == name
