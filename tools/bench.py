"""Run the benchmarks, one after the other, and print their tables; each measures its peers in the same run."""

import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run every file of benchmarks/ that is a program; 1 if one failed."""
    print(f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}\n", flush=True)
    failed = 0
    for benchmark in sorted((ROOT / "benchmarks").glob("[a-z]*.py")):
        print(f"## {benchmark.stem}\n", flush=True)
        failed |= subprocess.run([sys.executable, str(benchmark)], cwd=ROOT).returncode
        print(flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
