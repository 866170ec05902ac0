"""The command ``poolhouse attach --install``: one line in an environment of Python attaches every start of it.

For what ``poolhouse run`` does not reach: Pythons that are started with ``-I`` or ``-E``, which ignore
``PYTHONPATH``, servers that embed Python, and services whose start cannot be changed. The line attaches only if a
destination is set: by ``--report`` at the installation, or by ``POOLHOUSE_REPORT`` in the environment.

Up to Python 3.14 it is a line of a ``.pth`` file, which the module `site` runs; from 3.15 on (PEP 829) it is an
entry point in a ``.start`` file, and the module beside it. Where poolhouse was removed, neither does anything.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from poolhouse.attach.finder import OLDEST_PYTHON

NAME = "poolhouse-attach"
MODULE = "_poolhouse_attach"
#: The first Python that runs entry points of ``.start`` files.
START_FILES = (3, 15)
#: Seconds for an interpreter to say where its environment is.
PATIENCE_S = 30.0

#: Where the file is that `site` of the new process reads, without importing its package.
FINDER = str(Path(__file__).with_name("finder.py"))

_ASK = """
import json, sys, sysconfig
print(json.dumps([list(sys.version_info[:2]), sysconfig.get_path("purelib"), sys.executable]))
"""


class Environment(NamedTuple):
    """An environment of Python."""

    version: tuple[int, int]
    #: The folder in which `site` looks for ``.pth`` and ``.start`` files.
    folder: Path
    python: str


class Refused(Exception):
    """An environment cannot be attached to; the text says why."""


def find(name: str | None) -> Environment:
    """The environment named by a user: an interpreter, or the folder of a virtual environment.

    Args:
        name: A path, or a command to look up; ``None`` for the Python that runs this.

    Raises:
        Refused: If it is not a Python.
    """
    python = sys.executable if name is None else name
    if os.path.isdir(python):
        python = str(Path(python, "bin", "python"))
    try:
        # Its own environment variables could lead it elsewhere.
        done = subprocess.run([python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=PATIENCE_S)
        version, folder, executable = json.loads(done.stdout)
        return Environment((version[0], version[1]), Path(folder), executable)
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired):
        raise Refused(f"{python} does not answer as a Python does") from None


def files(environment: Environment, report: str | None) -> dict[Path, str]:
    """The files to write, with their contents.

    Args:
        environment: The environment that they belong to.
        report: The destination if the environment variable names none; ``None`` to attach only if it names one.

    Raises:
        Refused: If its Python is too old.
    """
    if environment.version < OLDEST_PYTHON:
        oldest, this = (".".join(map(str, version)) for version in (OLDEST_PYTHON, environment.version))
        raise Refused(f"poolhouse needs Python {oldest} or newer, and {environment.python} is {this}")
    code = _code(report)
    if environment.version < START_FILES:
        return {environment.folder / f"{NAME}.pth": f"import os; exec({code!r}, {{}})\n"}
    function = "".join(f"    {line}\n" for line in code.splitlines())
    return {
        environment.folder / f"{MODULE}.py": f"def start():\n{function}",
        environment.folder / f"{NAME}.start": f"{MODULE}:start\n",
    }


def _code(report: str | None) -> str:
    """The code that every start of Python runs."""
    lines = ["try:", "    import os"]
    if report is not None:
        lines.append(f"    os.environ.setdefault('POOLHOUSE_REPORT', {report!r})")
    lines += [
        "    if os.environ.get('POOLHOUSE_REPORT'):",
        "        from _frozen_importlib_external import SourceFileLoader",
        f"        path = {FINDER!r}",
        "        names = {'__name__': 'poolhouse.attach.finder', '__file__': path}",
        "        exec(SourceFileLoader(names['__name__'], path).get_code(names['__name__']), names)",
        "        names['start']('poolhouse attach --install')",
        "except Exception:",
        "    pass",
    ]
    return "\n".join(lines)


def install(environment: Environment, report: str | None) -> list[Path]:
    """Write the files; returns what was written.

    Raises:
        Refused: If its Python is too old.
        OSError: If a file cannot be written.
    """
    wanted = files(environment, report)
    environment.folder.mkdir(parents=True, exist_ok=True)  # Debian makes its own with the first package.
    for path, text in wanted.items():
        # Atomic: a Python that starts now reads either the old file or the new one.
        new = path.with_name(f"{path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    return list(wanted)


def remove(environment: Environment) -> list[Path]:
    """Remove what `install` has written, for any version of Python; returns what was removed.

    Raises:
        OSError: If a file cannot be removed.
    """
    found = installed_files(environment.folder)
    for path in found:
        path.unlink()
    return found


def installed_files(folder: Path) -> list[Path]:
    """Our files in a folder of packages."""
    return [path for name in (f"{NAME}.pth", f"{NAME}.start", f"{MODULE}.py") if (path := folder / name).is_file()]
