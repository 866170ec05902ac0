"""Run the benchmarks, one after the other, and print their tables; each measures its peers in the same run.

python tools/bench.py           all of them
python tools/bench.py pool      those whose names begin so: everything about the pools
"""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the files of benchmarks/ that are programs, or those that are asked for; 1 if one failed."""
    wanted = tuple(sys.argv[1:]) or ("",)
    # Names with an underscore in front are what the programs share.
    programs = sorted(path for path in (ROOT / "benchmarks").glob("[a-z]*.py") if path.stem.startswith(wanted))
    if not programs:
        sys.exit(f"no benchmark begins with {' or '.join(wanted)}")
    print(f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}, ", end="")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n", flush=True)
    failed = 0
    for program in programs:
        print(f"## {program.stem}\n", flush=True)
        began = time.monotonic()
        failed |= subprocess.run([sys.executable, str(program)], cwd=ROOT).returncode
        print(f"({time.monotonic() - began:.0f} s, load now {os.getloadavg()[0]:.1f})\n", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
