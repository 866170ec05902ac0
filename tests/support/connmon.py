"""The command connmon."""

import subprocess
import sys

from support import zygote

#: Three nodes as connmon's own documentation has them, word for word.
SEED_CLUSTER = """\
[connmon_service_default]
name: default

nodes:
    node1 hostname=192.168.1.205:5800
    node2 hostname=192.168.1.206:5800
    node3 hostname=192.168.1.207:5800
"""
CONNMON = (sys.executable, "-m", "poolhouse.console")


def connmon(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end, without a terminal."""
    return zygote.run([*CONNMON, *arguments], capture_output=True, text=True, timeout=90, check=False)
