"""Hold docs/reference/promises.md against the tests: no promise without a test, no test that does not exist.

A promise is a table row whose last cell names tests as `path::test_name` in backquotes.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "promises.md"
TEST = re.compile(r"`(tests/[\w/.]+\.py)::(test_\w+)`")


def orphans(page: str) -> list[str]:
    """What is wrong with the page, a sentence each."""
    wrong = []
    for number, line in enumerate(page.splitlines(), 1):
        if not line.startswith("| ") or line.startswith(("| promise", "| ---")):
            continue
        named = TEST.findall(line)
        if not named:
            wrong.append(f"line {number}: a promise without a test: {line[:80]}")
        for path, test in named:
            file = ROOT / path
            if not file.exists() or f"def {test}(" not in file.read_text():
                wrong.append(f"line {number}: there is no test {path}::{test}")
    return wrong


if __name__ == "__main__":
    found = orphans(PAGE.read_text())
    print("\n".join(found) or f"{len(TEST.findall(PAGE.read_text()))} tests hold the promises")
    sys.exit(1 if found else 0)
