"""The command connmon."""

import subprocess
import sys

CONNMON = (sys.executable, "-m", "poolhouse.console")


def connmon(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end, without a terminal."""
    return subprocess.run([*CONNMON, *arguments], capture_output=True, text=True, timeout=90, check=False)
