"""PyPI's sqlalchemy-collectd 0.0.8 and poolhouse, installed into one environment by pip, in either order."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from poolhouse.earlier import COMMANDS, advice
from support.installs import ROOT, Environment, build_wheel

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


def use(environment: Environment, folder: Path) -> tuple[list[str], bool]:
    """What an application is told in which engines are made, and whether every name leads to us."""
    told, is_ours = json.loads(environment.run(f"python -c {shlex.quote(USE_TWICE)}", folder))
    return told, is_ours


def test_an_application_is_told_once_and_what_it_is_told_puts_it_right(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", "hatchling", "setuptools", "sqlalchemy")
    ours = f"--no-index {build_wheel(tmp_path)}"
    uninstall, install = COMMANDS
    assert install.endswith(IN_A_CHECKOUT)
    environment.run(f"pip install {EARLIER}", tmp_path)
    for later in (ours, EARLIER):
        environment.run(f"pip install {later}", tmp_path)
        assert use(environment, tmp_path)[0] == [advice("0.0.8")]
        environment.run(f"{uninstall} --yes", tmp_path)
        environment.run(install.removesuffix(IN_A_CHECKOUT), ROOT)
        assert use(environment, tmp_path) == ([], True)


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
