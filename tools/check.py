"""Everything that can be checked in about a minute, four checks at a time; ends with status 1 if one fails."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"

#: In processes of their own: workers of pytest-xdist would each collect all of them.
TESTS = ["pytest", "--quiet", "-p", "no:xdist", "-m", "not long"]
OF_POOLS = ["tests/unit/pool", "tests/contract", *glob("tests/simulation/test_pool_*.py", root_dir=ROOT)]
OF_FLEETS = [
    *(f"tests/unit/{package}" for package in ("cluster", "feed", "fleet", "verdicts", "wire")),
    *sorted(set(glob("tests/simulation/test_*.py", root_dir=ROOT)) - set(OF_POOLS)),
]
OTHERS = ["tests/unit", *(f"--ignore={path}" for path in (*OF_POOLS, *OF_FLEETS))]
#: Longest first, so that the workers end together. Four for two cores: the tests of the pools mostly wait.
CHECKS = {
    "pyright": ["pyright", "--warnings", "--pythonpath", str(BIN / "python")],
    "pools": [*TESTS, *OF_POOLS],
    "fleets": [*TESTS, *OF_FLEETS],
    "others": [*TESTS, *OTHERS],
    "mypy": ["mypy"],
    "doctests": ["pytest", "--quiet", "--doctest-modules", "src/poolhouse"],
    "imports": ["lint-imports", "--no-logo", "--no-cache"],
    "format": ["ruff", "format", "--check", "--quiet"],
    "lint": ["ruff", "check", "--quiet"],
    "promises": ["python", "tools/promises.py"],
}


def check(name: str) -> tuple[str, bool, str, float]:
    """Run one check: its name, whether it passed, what it printed, seconds."""
    program, *arguments = CHECKS[name]
    started = time.monotonic()
    done = subprocess.run(
        [str(BIN / program), *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return name, done.returncode == 0, done.stdout, time.monotonic() - started


def main() -> int:
    """Run all checks and print what failed."""
    failed = 0
    with ThreadPoolExecutor(4) as workers:
        for name, passed, printed, seconds in workers.map(check, CHECKS):
            print(f"{'ok    ' if passed else 'FAILED'} {name:9} {seconds:5.1f} s", flush=True)
            if not passed:
                failed += 1
                print(printed, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
