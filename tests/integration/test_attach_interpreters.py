"""Every Python that this machine has, under ``poolhouse run``: attached from 3.11 on, and undisturbed before."""

import json
import os
import subprocess
import sys
from pathlib import Path

from poolhouse.attach.finder import OLDEST_PYTHON
from support.attached import COMMANDS, plain_environment

#: Valid in every Python: its version, how it is attached, and what of poolhouse is imported.
PROGRAM = """
import sys
imported = [name for name in sys.modules if name.startswith("poolhouse")]
ways = [finder.way for finder in sys.meta_path if hasattr(finder, "is_poolhouses")]
import json
print(json.dumps([list(sys.version_info[:2]), ways, imported]))
"""


def pythons() -> list[Path]:
    """This one, and those of pyenv."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return [Path(sys.executable), *sorted(versions.glob("*/bin/python"))]


def test_each_python_runs_and_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "found.py").write_text(PROGRAM)
    for python in pythons():
        done = subprocess.run(
            [COMMANDS / "poolhouse", "run", "--", python, "found.py"],
            cwd=tmp_path,
            env={**plain_environment(), "PYTHONDONTWRITEBYTECODE": "1"},  # Python 2 leaves it beside the source.
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), python
        version, ways, imported = json.loads(done.stdout)
        assert ways == (["poolhouse run"] if tuple(version) >= OLDEST_PYTHON else []), python
        assert imported == [], python
