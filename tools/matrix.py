"""Run every test, on each interpreter, SQLAlchemy and driver that is promised; the last lines name what ran.

The first leg is everything on this interpreter. Then come the SQLAlchemy tests on each other SQLAlchemy, the
drivers' tests on the oldest psycopg, and the pure and the process suites on each newer interpreter that runs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

from setup import CONSTRAINTS, ROOT, VENV, create_venv, install

#: The newest of each line that runs on Python 3.11; the first leg has the newest of all, from constraints.txt.
SQLALCHEMY = ("1.4.54", "2.0.58")
#: The oldest that docs/reference/drivers.md states.
PSYCOPG = "3.1.4"
INTERPRETERS = ("3.12", "3.13")
#: Random steps of the pool's simulation and schedules of the cluster's; `make check` takes the tests' own, smaller
#: numbers.
SIMULATIONS = {"POOLHOUSE_SIMULATION_STEPS": "1000000", "POOLHOUSE_CLUSTER_SCHEDULES": "12000"}

PURE_SUITES = ["tests/unit", "tests/simulation", "tests/contract"]
DRIVER_SUITES = [
    "tests/integration/test_pool_drivers.py",
    "tests/integration/test_pool_drivers_abort.py",
    "tests/integration/test_pool_outages.py",
    "tests/integration/test_pool_failing_connects.py",
    "tests/integration/test_pool_processes.py",
    "tests/integration/test_pool_psycopg_reports.py",
    "tests/integration/test_pool_gevent.py",
]
WHOLE = ["tests", "--doctest-modules", "src/poolhouse"]
#: Two tests at a time, those of a file one after the other.
IN_TURNS = ["--numprocesses=2", "--dist=loadfile"]
#: What Python warns of at a fork, how an interpreter ends, and where frames of greenlets lie, differ.
PROCESS_SUITES = [
    "tests/integration/test_pool_interrupts.py",
    "tests/integration/test_report_processes.py",
    "tests/integration/test_pool_drivers.py",
    "tests/integration/test_pool_outages.py",
    "tests/integration/test_pool_processes.py",
    "tests/integration/test_pool_gevent.py",
    "tests/integration/test_sqlalchemy_pool_holders.py",
    "tests/integration/test_sqlalchemy_pool_fork.py",
]
SQLALCHEMY_SUITES = ["tests/unit/instrumentation", "tests/integration/test_sqlalchemy*.py"]


@dataclass
class Leg:
    """One virtual environment, and the tests that run in it."""

    name: str
    folder: Path
    python: str
    arguments: list[str]
    #: Versions instead of those in constraints.txt, by the name that stands there.
    pins: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the virtual environment unless it is there with these very constraints."""
        if self.folder == VENV:
            return
        lines = [line for line in CONSTRAINTS.read_text().splitlines() if line.partition("==")[0] not in self.pins]
        text = "\n".join([*lines, *(f"{name}=={version}" for name, version in self.pins.items()), ""])
        stamp = self.folder / "constraints.txt"
        if stamp.exists() and stamp.read_text() == text:
            return
        create_venv(self.folder, self.python)
        unfinished = self.folder / "unfinished.txt"
        unfinished.write_text(text)
        install(self.folder, unfinished, ["--editable", f"{ROOT}[all]", "--group", "test"])
        unfinished.rename(stamp)

    def run(self) -> tuple[int, int]:
        """Run the tests; how many passed, and how many did not."""
        print(f"\n=== {self.name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            command = [
                str(self.folder / "bin" / "python"),
                "-m",
                "pytest",
                "--quiet",
                f"--junitxml={report}",
                *IN_TURNS,
            ]
            environment = os.environ | SIMULATIONS
            status = subprocess.run([*command, *self.arguments], cwd=ROOT, env=environment).returncode
            if not report.exists():
                return 0, 1
            suite = next(ET.parse(report).iter("testsuite"))
        bad = sum(int(suite.get(kind, 0)) for kind in ("failures", "errors", "skipped"))
        # A run that failed without a failing test (a crash, an empty selection) is a failure too.
        return int(suite.get("tests", 0)) - bad, max(bad, int(status != 0))


def pinned(name: str) -> str:
    """The version that constraints.txt names.

    >>> pinned("nobody") == ""
    True
    """
    lines = CONSTRAINTS.read_text().splitlines()
    return next((line.partition("==")[2] for line in lines if line.lower().startswith(f"{name.lower()}==")), "")


def interpreter(version: str) -> str | None:
    """An interpreter of this version that runs: on PATH, or among pyenv's; ``None`` if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python{version}"), reverse=True)]
    if on_path := shutil.which(f"python{version}"):
        found.insert(0, on_path)
    for candidate in found:
        # pyenv's shims are on PATH for versions that are not switched on, and fail when run.
        if subprocess.run([candidate, "-c", "pass"], capture_output=True).returncode == 0:
            return candidate
    return None


def legs() -> list[Leg]:
    """The matrix, from what this machine has."""
    here = ".".join(map(str, sys.version_info[:3]))
    newest = f"SQLAlchemy {pinned('SQLAlchemy')}"
    matrix = [Leg(f"Python {here}, {newest}: everything", VENV, sys.executable, WHOLE)]
    for version in SQLALCHEMY:
        name = f"Python {here}, SQLAlchemy {version}: instrumentation, FairQueuePool"
        suites = [str(path) for pattern in SQLALCHEMY_SUITES for path in sorted(ROOT.glob(pattern))]
        folder = ROOT / f".venv-sqlalchemy-{version}"
        matrix.append(Leg(name, folder, sys.executable, suites, {"SQLAlchemy": version}))
    name = f"Python {here}, psycopg {PSYCOPG}: drivers"
    pins = {"psycopg": PSYCOPG, "psycopg-binary": PSYCOPG}
    matrix.append(Leg(name, ROOT / f".venv-psycopg-{PSYCOPG}", sys.executable, DRIVER_SUITES, pins))
    for version in INTERPRETERS:
        if not here.startswith(f"{version}.") and (python := interpreter(version)):
            name = f"Python {version}, {newest}: unit, simulation, contract, processes"
            matrix.append(Leg(name, ROOT / f".venv-python-{version}", python, PURE_SUITES + PROCESS_SUITES))
    return matrix


def main() -> int:
    """Run all legs and print the table of what ran."""
    started = time.monotonic()
    table: list[tuple[str, int, int]] = []
    for leg in legs():
        leg.prepare()
        table.append((leg.name, *leg.run()))
    print(f"\n=== the matrix that ran, in {(time.monotonic() - started) / 60:.1f} minutes")
    for name, passed, failed in table:
        print(f"{'ok    ' if not failed else 'FAILED'} {name}: {passed} passed, {failed} failed")
    failures = sum(failed for _, _, failed in table)
    print(f"{sum(passed for _, passed, _ in table)} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
