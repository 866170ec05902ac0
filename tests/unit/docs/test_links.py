"""What the documentation refers to exists: relative links with their headings, and paths of this project."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "SECURITY")]
PAGES += [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]
#: Folders whose names a page may begin a path with.
TOP = ("src", "tests", "tools", "docs", "benchmarks", "fuzz", "examples")
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(rf"`((?:{'|'.join(TOP)})/[\w./*-]*|[\w-]+\.(?:md|toml|txt)|\.ci/run)")


def prose(page: Path) -> str:
    """A page without its fenced blocks, which may show anything."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_links(page: Path) -> list[str]:
    """Relative links that lead nowhere."""
    wrong = []
    for link in _LINK.findall(_CODE.sub("", prose(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert missing_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_of_this_project_that_a_page_names_exists(page: Path) -> None:
    named = set(_PATH.findall(prose(page)))
    assert [path for path in named if not any(ROOT.glob(path.rstrip("/")))] == []


def test_every_package_and_module_of_the_architecture_exists() -> None:
    page = prose(ROOT / "ARCHITECTURE.md")
    package = ROOT / "src" / "poolhouse"
    (table,) = re.findall(r"## The map\n(.*?)\n## ", page, re.DOTALL)
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]
    on_the_map = {name for row in rows for name in row}
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert on_the_map == there - {"__init__"}
    # `fleet/limits.py`, `pool/drivers/`, `report.roster`: a package of ours, and something in it.
    for path in re.findall(rf"`((?:{'|'.join(on_the_map)})/[\w/.]*)`", page):
        assert (package / path).exists(), path
    for name in re.findall(rf"`((?:{'|'.join(on_the_map)})(?:\.[a-z_]+)+)`", page):
        if name == "pool.connect":
            continue  # A method of SQLAlchemy's pools.
        module = package.joinpath(*name.split("."))
        assert (
            module.with_suffix(".py").exists() or module.is_dir() or module.parent.with_suffix(".py").exists()
        ), name


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(index.read_text())}
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions"}
    assert {str(page) for page in pages - {index} - linked} == set()


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One & two\n\n[a](page.md#one--two) [b](gone.md) [c](#three) [d](https://example.org)\n")
    assert missing_links(page) == ["gone.md", "#three"]
