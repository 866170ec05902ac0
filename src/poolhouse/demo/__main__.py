"""``python -m poolhouse.demo`` is ``poolhouse demo``."""

import sys

from poolhouse.demo.command import main
from poolhouse.stdio import guarded

if __name__ == "__main__":
    guarded("poolhouse demo", lambda: sys.exit(main()))
