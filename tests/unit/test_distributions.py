"""Our own look at what is installed finds what `importlib.metadata` finds, which is not imported."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, DistributionFinder, PackageNotFoundError, version
from importlib.metadata import distributions as all_distributions
from pathlib import Path

import pytest

from poolhouse.distributions import version_of

HEADERS = "Metadata-Version: 2.1\nName: {}\nVersion: {}\nSummary: a: b\n\nName: no header\nVersion: 9\n"


def as_the_library_says(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all there is to import from, with the finders of a plain Python."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "file", "name"),
    [
        ("shop_tools-1.5.dist-info", "METADATA", "shop-tools"),
        ("Shop_Tools-1.5.dist-info", "METADATA", "Shop_Tools"),
        ("shop.tools-1.5.dist-info", "METADATA", "shop.tools"),
        ("shop_tools.egg-info", "PKG-INFO", "shop-tools"),
        ("shop_tools-1.5-py3.11.egg-info", "PKG-INFO", "shop_tools"),
        ("shop_tools-1.5.dist-info", "RECORD", "shop-tools"),
        ("shop-1.5.dist-info", "METADATA", "shop"),
        ("shop_tools_more-1.5.dist-info", "METADATA", "shop-tools-more"),
    ],
)
def test_a_folder_is_read_as_the_library_reads_it(alone: Path, folder: str, file: str, name: str):
    (alone / folder).mkdir()
    (alone / folder / file).write_text(HEADERS.format(name, "1.5"))
    # What the library makes of a folder without metadata differs between versions of Python; for us it is none.
    expected = None if file == "RECORD" else as_the_library_says("shop-tools")
    assert version_of("shop-tools") == expected
    assert (expected is None) == (file == "RECORD" or "more" in folder or "tools" not in folder.lower())


def test_a_file_of_distutils_is_metadata(alone: Path):
    (alone / "shop_tools-1.5.egg-info").write_text(HEADERS.format("shop-tools", "1.5"))
    assert version_of("shop-tools") == as_the_library_says("shop-tools") == "1.5"


def test_the_first_folder_of_the_path_counts(alone: Path, monkeypatch: pytest.MonkeyPatch):
    for place, number in (("first", "1"), ("second", "2")):
        info = alone / place / f"shop_tools-{number}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(HEADERS.format("shop-tools", number))
    monkeypatch.setattr(sys, "path", [str(alone / name) for name in ("missing", "first", "second")])
    assert version_of("shop-tools") == as_the_library_says("shop-tools") == "1"
    monkeypatch.setattr(sys, "path", [""])
    monkeypatch.chdir(alone / "second")
    assert version_of("shop-tools") == "2"


def test_the_distribution_in_an_archive_is_found(alone: Path, monkeypatch: pytest.MonkeyPatch):
    archive = alone / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("shop_tools-1.5.dist-info/METADATA", HEADERS.format("shop-tools", "1.5"))
    monkeypatch.setattr(sys, "path", [str(archive)])
    assert version_of("shop-tools") == "1.5"


def test_an_egg_is_found(alone: Path, monkeypatch: pytest.MonkeyPatch):
    egg = alone / "shop_tools-1.5-py3.11.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "PKG-INFO").write_text(HEADERS.format("shop-tools", "1.5"))
    monkeypatch.setattr(sys, "path", [str(egg)])
    assert version_of("shop-tools") == "1.5"


ANY = DistributionFinder.Context()


class Finder(DistributionFinder):
    """A finder of distributions that are in no folder of the path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_distributions(self, context: DistributionFinder.Context = ANY) -> Iterator[Distribution]:
        yield Distribution.at(self._folder)


def test_another_finder_of_distributions_is_asked(
    alone: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "METADATA").write_text(HEADERS.format("shop-tools", "1.5"))
    assert version_of("shop-tools") is None
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(folder)])
    assert version_of("shop-tools") == "1.5"


def test_everything_installed_here_has_the_same_version():
    names = {one.metadata["Name"].lower().replace("_", "-").replace(".", "-") for one in all_distributions()}
    assert "poolhouse" in names
    assert {name: version_of(name) for name in names} == {name: as_the_library_says(name) for name in names}


def test_the_library_is_not_imported():
    code = (
        "import sys; from poolhouse.distributions import version_of; from poolhouse.feed.product import product;"
        "print(product('connmond'), version_of('sqlalchemy-collectd'), 'importlib.metadata' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["connmond", version("poolhouse"), "None", "False"]
