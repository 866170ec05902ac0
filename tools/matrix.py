"""Run every test, and with ``all`` on each interpreter, SQLAlchemy and driver that is promised.

    python tools/matrix.py [all]

Everything runs on this interpreter. With ``all``, the SQLAlchemy tests run on each other SQLAlchemy too, the
drivers' tests on the oldest psycopg, and the pure and the process suites on each newer interpreter that runs.
Tests of servers and clocks mostly wait: with the time that they leave, the virtual environments are made and the
pure suites run. The last lines name what ran.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO

import setup
from setup import CONSTRAINTS, ROOT, VENV, create_venv, install

#: The newest of each line that runs on Python 3.11; the first leg has the newest of all, from constraints.txt.
SQLALCHEMY = ("1.4.54", "2.0.58")
#: The oldest that docs/reference/drivers.md states.
PSYCOPG = "3.1.4"
INTERPRETERS = ("3.12", "3.13")
#: Random steps of the pool's simulation, schedules of the cluster's and examples of each property, on this
#: interpreter. They are pure logic: other interpreters, and `make check`, take the tests' own, smaller numbers.
SIMULATIONS = {
    "POOLHOUSE_SIMULATION_STEPS": "1000000",
    "POOLHOUSE_CLUSTER_SCHEDULES": "100000",
    "POOLHOUSE_EXAMPLES": "100",
}

PURE_SUITES = [
    "tests/unit",
    "tests/simulation",
    "tests/contract",
    # In virtual time too, but too long for `make check`. Interpreters differ in their opcodes.
    "tests/integration/test_pool_interrupts.py",
]
DRIVER_SUITES = [
    "tests/integration/test_pool_drivers.py",
    "tests/integration/test_pool_drivers_abort.py",
    "tests/integration/test_pool_closes_in_use.py",
    "tests/integration/test_pool_outages.py",
    "tests/integration/test_pool_failing_connects.py",
    "tests/integration/test_pool_processes.py",
    "tests/integration/test_pool_psycopg_reports.py",
    "tests/integration/test_pool_gevent.py",
]
#: Pure too, and too long for `make check`; on this interpreter only.
PURE_ONCE = ["tests/integration/test_pool_interleavings.py", "tests/integration/test_fleet_without_memory.py"]
DOCTESTS = ["--doctest-modules", "tests/support", "src/poolhouse"]
#: The files of the others that take longest. They begin first: all wait for who begins one of them last.
LONG = [
    "tests/integration/test_readme_examples.py",
    "tests/integration/test_connmon_tcp.py",
    "tests/integration/test_connmon_window.py",
    "tests/integration/test_framework_pages.py",
    "tests/integration/test_connmond_process.py",
    "tests/integration/test_connmond_service.py",
    "tests/integration/test_cluster_of_three.py",
    "tests/integration/test_sqlalchemy_pool_fork.py",
    "tests/integration/test_page_browser.py",
    "tests/integration/test_readme_tutorial.py",
    "tests/integration/test_watch_pages.py",
    "tests/integration/test_collectd_real_daemon.py",
    "tests/integration/test_fuzz_with_coverage.py",
]
#: Programs that are watched for two minutes, all at the same time: beside other tests they would get no CPU.
CAUSES = ["tests/causes", "--numprocesses=0", "--dist=no"]
#: Four at a time, for they wait more than they compute; those of a file one after the other, the files in order.
#: pytest-xdist does not end if it replaces a worker that crashed in the middle of a file.
WAITING = ["--numprocesses=4", "--dist=loadfile", "--no-loadscope-reorder", "--max-worker-restart=0"]
#: Two at a time, and with more patience: they may get next to no processor for minutes. Some take long: a worker
#: that is done takes tests from the other one.
COMPUTING = ["--numprocesses=2", "--dist=worksteal", "--timeout=1800"]
#: What Python warns of at a fork, how an interpreter ends, and where frames of greenlets lie, differ.
PROCESS_SUITES = [
    "tests/integration/test_report_processes.py",
    "tests/integration/test_pool_drivers.py",
    "tests/integration/test_pool_closes_in_use.py",
    "tests/integration/test_pool_closes_other_drivers.py",
    "tests/integration/test_pool_fork_drivers.py",
    "tests/integration/test_pool_outages.py",
    "tests/integration/test_pool_processes.py",
    "tests/integration/test_pool_gevent.py",
    "tests/integration/test_sqlalchemy_attached.py",
    "tests/integration/test_looks_at_sqlalchemy.py",
    "tests/integration/test_looks_beside_everything.py",
    "tests/integration/test_sqlalchemy_pool_holders.py",
    "tests/integration/test_sqlalchemy_pool_fork.py",
]
SQLALCHEMY_SUITES = ["tests/unit/instrumentation", "tests/integration/test_sqlalchemy*.py"]
#: The one of them whose frameworks need SQLAlchemy 2.
FRAMEWORKS = ROOT / "tests/integration/test_sqlalchemy_sites_frameworks.py"

#: Tests against real servers and clocks, by the beginning of their class name in pytest's report. What fails there
#: beside other tests is run once more alone: a machine has bad moments. Everything else has none.
REAL_TIME = ("tests.integration.", "tests.causes.")
#: What pytest-xdist says of a test whose process came to its end: a segmentation fault is no bad moment.
CRASHED = "crashed while running"
#: Seconds that no leg needs; one that takes longer hangs, and is ended. Pure legs give way to the others.
LIMIT, PURE_LIMIT = 2700.0, 4200.0
#: How much pure legs give way to the others: as much as can be.
NICENESS = 19
BAD = {"failure", "error", "skipped"}


@dataclass
class Result:
    """What became of the tests of a leg."""

    passed: int
    failed: int
    #: Those of ``passed`` that failed beside other tests and passed alone.
    unsteady: int = 0
    #: Those of ``failed`` that no bad moment of the machine excuses.
    failed_pure: int = 0

    def __str__(self) -> str:
        """``7 passed, 0 failed``, and how many of them needed a second run."""
        unsteady = f", {self.unsteady} of them in a second run" * bool(self.unsteady)
        return f"{self.passed} passed{unsteady}, {self.failed} failed"


@dataclass
class Leg:
    """One virtual environment, and the tests that run in it."""

    name: str
    folder: Path
    python: str
    arguments: list[str]
    #: Versions instead of those in constraints.txt, by the name that stands there.
    pins: dict[str, str] = field(default_factory=dict)
    #: Whether its tests know neither servers nor clocks.
    is_pure: bool = False
    result: Result = field(default_factory=lambda: Result(0, 0))
    #: How long its tests took, the second run included.
    seconds: float = 0.0

    def prepare(self) -> None:
        """Make the virtual environment unless it is there with these very constraints."""
        if self.folder == VENV:
            return
        wanted = "\n".join([CONSTRAINTS.read_text(), *self._pinned, ""])
        stamp = self.folder / "constraints.txt"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        if self.python == sys.executable:
            overlay(self.folder, self._pinned)
        else:
            create_venv(self.folder, self.python)
            # Tests import a part of what is installed, and that is compiled then.
            install(self.folder, CONSTRAINTS, ["--no-compile", "--editable", f"{ROOT}[all]", "--group", "test"])
        stamp.write_text(wanted)

    @property
    def _pinned(self) -> list[str]:
        return [f"{name}=={version}" for name, version in self.pins.items()]

    def run(self, folder: Path) -> None:
        """Run the tests. What pytest needs for `run_again` is kept in a folder of this leg's own."""
        title = f"\n=== {self.name}"
        if self.is_pure:
            # Beside another leg: all it printed, at its end.
            with (folder / "printed.txt").open("w+") as printed:
                self.result = self._run(folder, *COMPUTING, output=printed)
                printed.seek(0)
                print(f"{title}\n{printed.read()}", end="", flush=True)
        else:
            print(title, flush=True)
            self.result = self._run(folder, *WAITING)

    def run_again(self, folder: Path) -> None:
        """Run once more, alone, what failed where real time decides."""
        first = self.result
        if not first.failed or first.failed_pure:
            return
        print(f"\n=== {self.name}: {first.failed} failed, and run once more, alone", flush=True)
        again = self._run(folder, "--numprocesses=0", "--last-failed", "--last-failed-no-failures=none")
        self.result = Result(first.passed + again.passed, again.failed, again.passed)

    def _run(self, folder: Path, *options: str, output: IO[str] | None = None) -> Result:
        report = folder / "report.xml"
        report.unlink(missing_ok=True)
        command = [
            str(self.folder / "bin" / "python"),
            "-m",
            "pytest",
            "--quiet",
            f"--junitxml={report}",
            f"--override-ini=cache_dir={folder}/cache",
            "--durations=20",
            "--durations-min=10",
            *options,
        ]
        environment = os.environ | (SIMULATIONS if self.folder == VENV else {})
        command += self.arguments
        began, limit = time.monotonic(), PURE_LIMIT if self.is_pure else LIMIT
        try:
            status = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output, timeout=limit
            ).returncode
        except subprocess.TimeoutExpired:
            print(f"\n=== {self.name}: ended, for it has not come to its end within {limit:g} s", flush=True)
            return Result(0, 1, failed_pure=1)
        finally:
            self.seconds += time.monotonic() - began
        if not report.exists():
            return Result(0, 1, failed_pure=1)
        bad = [case for case in ET.parse(report).iter("testcase") if BAD & {child.tag for child in case}]
        tests = sum(1 for _ in ET.parse(report).iter("testcase"))
        pure = sum(map(is_beyond_excuse, bad))
        # A run that failed without a failing test (a crash, an empty selection) is a failure too.
        silent = int(status != 0 and not bad)
        return Result(tests - len(bad), len(bad) + silent, failed_pure=pure + silent)


def is_beyond_excuse(case: ET.Element) -> bool:
    """Whether no bad moment of the machine explains a failure: a test without real time, or a crash."""
    return not case.get("classname", "").startswith(REAL_TIME) or any(
        CRASHED in child.get("message", "") for child in case
    )


def overlay(folder: Path, pinned: list[str]) -> None:
    """Make a virtual environment that shares all packages with ``.venv``, but for the pinned ones.

    It is laid out as one that pip has made, by links: one folder of packages, and one version of each.
    """
    print(f"creating {folder.name} with {', '.join(pinned)} over {VENV.name}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, symlinks=True, with_pip=False)
    names = [requirement.partition("==")[0] for requirement in pinned]
    replaced = {file.parts[0] for name in names for file in metadata.files(name) or ()}
    shared = Path(sysconfig.get_path("purelib"))
    packages = folder / shared.relative_to(VENV)
    for theirs in shared.iterdir():
        if theirs.name not in replaced:
            (packages / theirs.name).symlink_to(theirs)
    for command in (VENV / "bin").iterdir():
        mine = folder / "bin" / command.name
        if not mine.exists():
            mine.write_bytes(command.read_bytes().replace(f"#!{VENV}/".encode(), f"#!{folder}/".encode(), 1))
            mine.chmod(0o755)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages)]
    setup.run([*pip, *pinned])


def pinned(name: str) -> str:
    """The version that constraints.txt names.

    >>> pinned("nobody") == ""
    True
    """
    lines = CONSTRAINTS.read_text().splitlines()
    return next((line.partition("==")[2] for line in lines if line.lower().startswith(f"{name.lower()}==")), "")


def here() -> str:
    """The version of this interpreter."""
    return ".".join(map(str, sys.version_info[:3]))


def newest() -> str:
    """The SQLAlchemy of constraints.txt, as the names of legs say it."""
    return f"SQLAlchemy {pinned('SQLAlchemy')}"


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


def long_first(paths: Iterable[Path]) -> list[str]:
    """Paths below the root as arguments for pytest, the longest first, then by name."""
    names = sorted(str(path.relative_to(ROOT)) for path in paths)
    return sorted(names, key=lambda name: LONG.index(name) if name in LONG else len(LONG))


def real_suites() -> list[str]:
    """Every file of tests that no pure leg and not that of the causes has."""
    others = tuple(ROOT / name for name in (*PURE_SUITES, *PURE_ONCE, CAUSES[0]))
    files = (ROOT / "tests").rglob("test_*.py")
    return long_first(path for path in files if not any(path.is_relative_to(other) for other in others))


def legs_here() -> list[Leg]:
    """Everything, on this interpreter and the newest of everything else."""
    name = f"Python {here()}, {newest()}"
    return [
        Leg(f"{name}: real programs", VENV, sys.executable, CAUSES),
        Leg(f"{name}: servers, processes, consoles", VENV, sys.executable, real_suites()),
        Leg(f"{name}: pure", VENV, sys.executable, PURE_SUITES + PURE_ONCE + DOCTESTS, is_pure=True),
    ]


def legs_elsewhere() -> list[Leg]:
    """What differs with the SQLAlchemy, the driver or the interpreter, on what this machine has of them."""
    matrix = []
    for version in SQLALCHEMY:
        name = f"Python {here()}, SQLAlchemy {version}: instrumentation, FairQueuePool"
        is_old = version.startswith("1.")
        paths = [path for pattern in SQLALCHEMY_SUITES for path in ROOT.glob(pattern)]
        suites = long_first([path for path in paths if not (is_old and path == FRAMEWORKS)])
        folder = ROOT / f".venv-sqlalchemy-{version}"
        matrix.append(Leg(name, folder, sys.executable, suites, {"SQLAlchemy": version}))
    name = f"Python {here()}, psycopg {PSYCOPG}: drivers"
    pins = {"psycopg": PSYCOPG, "psycopg-binary": PSYCOPG}
    matrix.append(Leg(name, ROOT / f".venv-psycopg-{PSYCOPG}", sys.executable, DRIVER_SUITES, pins))
    for version in INTERPRETERS:
        if not here().startswith(f"{version}.") and (python := interpreter(version)):
            name, folder = f"Python {version}, {newest()}", ROOT / f".venv-python-{version}"
            matrix.append(Leg(f"{name}: processes", folder, python, PROCESS_SUITES))
            matrix.append(Leg(f"{name}: pure", folder, python, PURE_SUITES, is_pure=True))
    return matrix


def run(matrix: list[Leg], kept: Path) -> None:
    """Run all legs: the pure ones beside the others, in a thread whose programs give way to theirs."""
    folders = {leg.name: Path(tempfile.mkdtemp(dir=kept)) for leg in matrix}
    # Linux knows a niceness for each thread, and what it starts inherits it.
    with ThreadPoolExecutor(1, initializer=os.nice, initargs=(NICENESS,)) as beside:
        try:
            makers = {leg.folder: leg.prepare for leg in matrix}
            made = {folder: beside.submit(prepare) for folder, prepare in makers.items()}
            pure = [beside.submit(leg.run, folders[leg.name]) for leg in matrix if leg.is_pure]
            for leg in matrix:
                if not leg.is_pure:
                    made[leg.folder].result()
                    leg.run(folders[leg.name])
            for done in pure:
                done.result()
        finally:
            beside.shutdown(cancel_futures=True)
    for leg in matrix:
        leg.run_again(folders[leg.name])


def main() -> int:
    """Run the legs that the command line asks for, and print the table of what ran."""
    arguments = argparse.ArgumentParser(description="Run every test.")
    arguments.add_argument("all", nargs="?", choices=["all"], help="elsewhere too, not only on this interpreter")
    started = time.monotonic()
    matrix = legs_here() + (legs_elsewhere() if arguments.parse_args().all else [])
    with tempfile.TemporaryDirectory() as kept:
        run(matrix, Path(kept))
    print(f"\n=== the matrix that ran, in {(time.monotonic() - started) / 60:.1f} minutes")
    for leg in matrix:
        state, minutes = "FAILED" if leg.result.failed else "ok    ", leg.seconds / 60
        print(f"{state} {leg.name}: {leg.result}, {minutes:.1f} minutes")
    results = [leg.result for leg in matrix]
    print(Result(*(sum(getattr(one, name) for one in results) for name in ("passed", "failed", "unsteady"))))
    return 1 if any(one.failed for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
