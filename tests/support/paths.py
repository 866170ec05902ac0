"""Where things are."""

import os
from pathlib import Path

TESTS = Path(__file__).parents[1]
SOURCES = TESTS.parent / "src"

#: Where a program of ours finds poolhouse and these helpers.
PYTHONPATH = os.pathsep.join(map(str, (SOURCES, TESTS)))
