"""Hold the promises pages against the tests: no promise without a test, no test that does not exist.

The pages are ``docs/reference/promises*.md``. A promise is a table row whose last cell names tests as
`path::test_name` in backquotes, or as `path::test_name[case]` where the test runs cases that are functions of
``tests/support``.
"""

import re
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs" / "reference").glob("promises*.md"))
TEST = re.compile(r"`(tests/[\w/.]+\.py)::(test_\w+)(?:\[(\w+)\])?`")


@cache
def functions(path: Path) -> frozenset[str]:
    """The names of the functions in a module, or in the modules of a folder; none if there is no such path."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.exists() else []
    return frozenset(name for file in files for name in re.findall(r"\bdef (\w+)\(", file.read_text()))


def orphans(page: str) -> list[str]:
    """What is wrong with the page, a sentence each."""
    wrong = []
    for number, line in enumerate(page.splitlines(), 1):
        if not line.startswith("| ") or line.startswith(("| promise", "| ---")):
            continue
        named = TEST.findall(line)
        if not named:
            wrong.append(f"line {number}: a promise without a test: {line[:80]}")
        for path, test, case in named:
            if test not in functions(ROOT / path):
                wrong.append(f"line {number}: there is no test {path}::{test}")
            if case and case not in functions(ROOT / "tests" / "support"):
                wrong.append(f"line {number}: {path}::{test} has no case {case}")
    return wrong


if __name__ == "__main__":
    texts = {page.name: page.read_text() for page in PAGES}
    found = [f"{name}, {sentence}" for name, text in texts.items() for sentence in orphans(text)]
    print("\n".join(found) or f"{len(TEST.findall(' '.join(texts.values())))} tests hold the promises")
    sys.exit(1 if found else 0)
