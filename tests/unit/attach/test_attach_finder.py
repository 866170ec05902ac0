"""The finder: one class is patched, and nothing else of an import changes."""

import importlib
import importlib.resources
import importlib.util
import inspect
import logging
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolhouse.attach import finder as under_test
from poolhouse.attach.finder import Finder, installed, start
from poolhouse.attach.targets import TARGETS

LIBRARY = """
class Pool:
    'A pool.'
    def __init__(self, size: int = 5):
        'Make one.'
        self.size = size
"""

targets_of_the_file = under_test._targets

#: The pools that `handle` has got.
handled: list[object] = []


def handle(pool: object) -> None:
    handled.append(pool)


def fail(pool: object) -> None:
    raise ValueError("a mistake of ours")


HERE = f"{__name__}:handle"


@pytest.fixture(autouse=True)
def _library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A library that can be imported, and everything as before at the end."""
    (tmp_path / "library_of_pools.py").write_text(LIBRARY)
    monkeypatch.setattr(sys, "meta_path", [one for one in sys.meta_path if not hasattr(one, "is_poolhouses")])
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or importlib.import_module(__name__))
    monkeypatch.delenv("POOLHOUSE_DISABLE", raising=False)
    # The libraries of this process stay as they are for the other tests.
    monkeypatch.setattr(under_test, "_targets", lambda: {"library_of_pools": ("Pool", HERE)})
    importlib.invalidate_caches()
    handled.clear()
    yield
    sys.modules.pop("library_of_pools", None)


def put(targets: dict[str, tuple[str, str]] | None = None) -> Finder:
    finder = Finder(targets or {"library_of_pools": ("Pool", HERE)}, "the test")
    sys.meta_path.insert(0, finder)
    return finder


def test_each_instance_is_handed_over_once_its_init_has_ended() -> None:
    finder = put()
    library = importlib.import_module("library_of_pools")
    assert finder.patched == ["library_of_pools.Pool"]
    pool = library.Pool(size=7)
    assert handled == [pool]
    assert pool.size == 7


def test_a_class_looks_as_if_nobody_had_touched_it() -> None:
    put()
    library = importlib.import_module("library_of_pools")
    assert str(inspect.signature(library.Pool)) == "(size: int = 5)"
    assert library.Pool.__init__.__doc__ == "Make one."
    assert library.Pool.__init__.__module__ == "library_of_pools"
    assert inspect.getsource(library).strip() == LIBRARY.strip()
    assert type(library.__loader__).__name__ == "SourceFileLoader"


def test_a_library_that_looks_for_its_callers_finds_none_of_ours(tmp_path: Path) -> None:
    init = "    def __init__(self):\n        self.caller = sys._getframe(1).f_globals['__name__']\n"
    (tmp_path / "library_of_pools.py").write_text(f"import sys\nclass Pool:\n{init}")
    put()
    assert importlib.import_module("library_of_pools").Pool().caller == "library_of_pools"
    assert len(handled) == 1


def test_it_goes_through_a_class_below() -> None:
    put()
    library = importlib.import_module("library_of_pools")

    class Below(library.Pool):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(3)
            self.is_ready = True

    below = Below()
    assert handled == [below]


def test_a_module_in_a_zip_file_is_followed_and_its_neighbours_are_not(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("zipped_pools", "other_zipped_pools", "zipped_neighbour"):
            archive.writestr(f"{name}.py", LIBRARY)
    sys.path.insert(0, str(tmp_path / "all.zip"))
    finder = put({"zipped_pools": ("Pool", HERE), "other_zipped_pools": ("Pool", HERE)})
    for name in ("zipped_pools", "zipped_neighbour", "other_zipped_pools"):
        importlib.import_module(name).Pool()
        sys.modules.pop(name)
    assert finder.patched == ["zipped_pools.Pool", "other_zipped_pools.Pool"]
    assert len(handled) == 2


class Asking:
    """A finder that asks all finders, as some tools do."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:  # type: ignore
                return spec
        return None


@pytest.mark.parametrize("place", [0, 1])
def test_finders_that_ask_each_other_come_to_an_end(place: int) -> None:
    finder = put()
    sys.meta_path.insert(place, Asking())  # type: ignore[arg-type]
    importlib.import_module("library_of_pools").Pool()
    assert finder.patched == ["library_of_pools.Pool"]
    assert len(handled) == 1


def test_two_copies_of_the_finder_hand_a_pool_over_once() -> None:
    put()
    put()
    importlib.import_module("library_of_pools").Pool()
    assert len(handled) == 1


def test_a_module_that_raises_raises_what_it_did_and_may_be_imported_again(tmp_path: Path) -> None:
    (tmp_path / "library_of_pools.py").write_text("1 / 0")
    finder = put()
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("library_of_pools")
    assert finder.patched == []
    (tmp_path / "library_of_pools.py").write_text(LIBRARY)
    importlib.invalidate_caches()
    importlib.import_module("library_of_pools").Pool()
    assert len(handled) == 1


def test_a_module_that_is_not_there_is_not_there() -> None:
    put({"no_such_library": ("Pool", HERE)})
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        importlib.import_module("no_such_library")
    assert importlib.util.find_spec("no_such_library") is None


@pytest.mark.parametrize(
    "target",
    [
        ("Pool", f"{__name__}:fail"),
        ("Pool", "no_such_module:run"),
        ("Pool", f"{__name__}:nothing"),
        ("Gone", HERE),
    ],
)
def test_what_fails_is_logged_at_debug_and_the_application_goes_on(
    target: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    put({"library_of_pools": target})
    with caplog.at_level(logging.DEBUG, "poolhouse.attach"):
        pool = importlib.import_module("library_of_pools").Pool()
    assert pool.size == 5
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    assert len(caplog.records) == 1


def test_a_module_without_a_loader_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "namespace_of_pools").mkdir()
    finder = put({"namespace_of_pools": ("Pool", HERE)})
    importlib.import_module("namespace_of_pools")
    assert finder.patched == []
    sys.modules.pop("namespace_of_pools")


def test_what_was_imported_before_is_patched_at_the_start() -> None:
    library = importlib.import_module("library_of_pools")
    finder = start("the test")
    assert finder is not None
    assert finder is start("again") is installed() is sys.meta_path[0]
    assert finder.way == "the test"
    library.Pool()
    assert len(handled) == 1


def test_the_environment_can_forbid_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLHOUSE_DISABLE", "1")
    assert start("the test") is None
    assert installed() is None
    monkeypatch.setenv("POOLHOUSE_DISABLE", "0")
    assert start("the test") is installed() is not None


def test_the_table_is_read_without_importing_its_package() -> None:
    assert targets_of_the_file() == TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_is_there_and_so_is_what_it_leads_to(name: str) -> None:
    class_name, handler = TARGETS[name]
    assert isinstance(getattr(importlib.import_module(name), class_name), type)
    module, _, function = handler.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_our_own_package_is_found_where_the_application_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    finder = put()
    spec = finder.find_spec("poolhouse")
    assert spec is not None
    monkeypatch.setattr(sys, "meta_path", [finder])
    alone = finder.find_spec("poolhouse")
    assert alone is not None
    assert alone.origin == spec.origin
    assert list(alone.submodule_search_locations or ()) == list(spec.submodule_search_locations or ())
