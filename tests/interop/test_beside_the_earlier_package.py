"""PyPI's sqlalchemy-collectd 0.0.8 and poolhouse, installed into one environment by pip, in either order."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from poolhouse.earlier import COMMANDS, advice

ROOT = Path(__file__).parents[2]
EARLIER = "sqlalchemy-collectd==0.0.8"
IN_A_CHECKOUT = " in a checkout of poolhouse"

USE_TWICE = """
import json, logging, sys
told = []
class Handler(logging.Handler):
    def emit(self, record):
        told.append(record.getMessage())
logging.getLogger("poolhouse.instrumentation").addHandler(Handler())
import poolhouse, sqlalchemy
for _ in range(2):
    sqlalchemy.create_engine("sqlite://?plugin=collectd").connect().close()
    poolhouse.instrument(sqlalchemy.create_engine("sqlite://"))
from poolhouse.instrumentation.installation import look
import sqlalchemy_collectd.server
print(json.dumps([told, look().is_ours]))
"""


class Environment:
    """A virtual environment, and pip for it."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.environment = {**os.environ, "PIP_FIND_LINKS": str(wheels), "PIP_NO_COMPILE": "1"}

    def pip(self, *arguments: str, folder: Path | None = None) -> None:
        command = [sys.executable, "-m", "pip", "--quiet", "--python", str(self.folder), *arguments]
        done = subprocess.run(command, env=self.environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def use(self) -> tuple[list[str], bool]:
        """What an application is told in which engines are made, and whether every name leads to us."""
        command = [self.folder / "bin" / "python", "-c", USE_TWICE]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        told, is_ours = json.loads(done.stdout)
        return told, is_ours


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with poolhouse as users get it."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_an_application_is_told_once_and_what_it_is_told_puts_it_right(tmp_path: Path, wheels: Path) -> None:
    environment = Environment(tmp_path / "venv", wheels)
    uninstall, install = (command.removeprefix("pip ") for command in COMMANDS)
    assert install.endswith(IN_A_CHECKOUT)
    environment.pip("install", EARLIER)
    for later in ("poolhouse", EARLIER):
        environment.pip("install", later)
        assert environment.use()[0] == [advice("0.0.8")]
        environment.pip(*uninstall.split(), "--yes")
        environment.pip(*install.removesuffix(IN_A_CHECKOUT).split(), folder=ROOT)
        assert environment.use() == ([], True)


@pytest.mark.parametrize("command", ["connmond", "connmon"])
def test_the_commands_beside_the_application_tell_it_too(tmp_path: Path, command: str):
    metadata = tmp_path / "sqlalchemy_collectd-0.0.8.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: sqlalchemy-collectd\nVersion: 0.0.8\n")
    done = subprocess.run(
        [Path(sys.executable).with_name(command), "--help"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.strip()) == (0, advice("0.0.8"))
