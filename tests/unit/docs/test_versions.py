"""What pages and messages say of installing poolhouse, and of the SQLAlchemy that it needs, is so."""

import re
from pathlib import Path

import pytest

from poolhouse.instrumentation.installation import OLDEST

ROOT = Path(__file__).parents[3]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
#: Whatever a user may read.
TEXTS = [*PAGES, *sorted((ROOT / "src").rglob("*.py")), *sorted((ROOT / "examples").rglob("*.*"))]

_UNPUBLISHED = re.compile(r"pip3? install (?:-\S+ )*['\"]?poolhouse\b")
_SHORT = re.compile(r"SQLAlchemy (?:before )?1\.4(?![.\d])")


def test_nobody_is_told_to_install_what_is_not_published() -> None:
    assert _UNPUBLISHED.search("pip install 'poolhouse[console]'")
    wrong = [path for path in TEXTS if path.is_file() and _UNPUBLISHED.search(path.read_text(errors="replace"))]
    assert wrong == []


# A decision's evidence names the versions of the tests' environments.
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name != "decisions"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_oldest_sqlalchemy_is_named_to_its_last_number(page: Path) -> None:
    oldest = ".".join(map(str, OLDEST))
    paragraphs = page.read_text().split("\n\n")
    assert [one for one in paragraphs if _SHORT.search(" ".join(one.split())) and oldest not in one] == []
