"""Installing poolhouse and others as users do, at the least cost: into environments without a pip of their own.

pip and the backend of builds are those of the tests' environment: installing them takes longer than using them.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from support.paths import TESTS

ROOT = TESTS.parent
PACKAGES = Path(sysconfig.get_path("purelib"))
#: pip, for an interpreter that has none: what ``pip --python`` runs.
_PIP = PACKAGES / "pip" / "__pip-runner__.py"
#: Modules are compiled when they are imported, and builds use the backend that is installed. pip reads an option's
#: "no" with its value: 0 after PIP_NO_COMPILE is what ``--no-compile`` is.
SETTINGS = {
    "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_BUILD_ISOLATION": "0",
    "PIP_NO_COMPILE": "0",
}


class Environment:
    """A virtual environment with a ``pip`` command.

    Args:
        folder: Where it is made.
        has: What it has from the beginning, with all that this needs, but poolhouse: copied from the tests'
            environment, of which the modules are compiled.

    Attributes:
        commands, packages: The folders of its commands and of its packages.
        variables: The variables of programs that use it.
    """

    def __init__(self, folder: Path, *has: str) -> None:
        self.folder = folder
        venv.create(folder, with_pip=False, symlinks=True)
        self.commands = folder / "bin"
        self.packages = folder / PACKAGES.relative_to(sys.prefix)
        for distribution in _needed_by(has):
            for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
                source = PACKAGES / name
                copy = shutil.copytree if source.is_dir() else shutil.copy2
                copy(source, self.packages / name)
        path = f"{self.commands}{os.pathsep}{os.environ['PATH']}"
        self.variables = {**os.environ, **SETTINGS, "PATH": path, "PYTHONPATH": ""}
        pip = self.commands / "pip"
        pip.write_text(f'#!/bin/sh\nexec {self.commands}/python {_PIP} "$@"\n')
        pip.chmod(0o755)

    def run(self, command: str, folder: Path, **variables: str) -> str:
        """Run a line of shell in a folder, which must end well; what it prints."""
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=folder,
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


def pip_install(target: Path, *requirements: str) -> None:
    """``pip install --target`` with the interpreter that runs the tests; what is imported is compiled then."""
    command = [sys.executable, _PIP, "install", "--quiet", "--no-compile", "--target", target, *requirements]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{requirements}\n{done.stdout}{done.stderr}"


def build_wheel(folder: Path) -> Path:
    """The wheel of poolhouse, as any builder makes it, in a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("poolhouse-*.whl")
    return wheel


def pack(folder: Path, *requirements: str) -> dict[str, str]:
    """Make wheels of what is required, poolhouse apart, from the tests' environment; settings for pip to use them.

    An index lists every version that there is, and reading that takes longer than installing one.
    """
    for distribution in _needed_by(requirements):
        (about,) = (file.parts[0] for file in distribution.files or () if file.name == "WHEEL")
        tags = re.findall("^Tag: (.*)-(.*)-(.*)$", (PACKAGES / about / "WHEEL").read_text(), re.MULTILINE)
        tag = "-".join(".".join(sorted(set(part))) for part in zip(*tags, strict=True))
        with zipfile.ZipFile(folder / f"{about.removesuffix('.dist-info')}-{tag}.whl", "w") as wheel:
            for file in distribution.files or ():
                if ".." not in file.parts and file.suffix != ".pyc":
                    wheel.write(PACKAGES / file, str(file))
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


def _needed_by(requirements: Iterable[str]) -> list[metadata.Distribution]:
    """What is required, poolhouse apart, and what that requires in turn."""
    waiting, seen = [Requirement(text) for text in requirements], set[str]()
    found: dict[str, metadata.Distribution] = {}
    while waiting:
        wanted = waiting.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        distribution = metadata.distribution(wanted.name)
        found[distribution.name] = distribution
        for text in distribution.requires or ():
            needed = Requirement(text)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *wanted.extras}):
                waiting.append(needed)
    found.pop("poolhouse", None)
    return list(found.values())
