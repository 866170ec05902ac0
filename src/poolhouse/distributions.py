"""Which version of a distribution is installed, without `importlib.metadata` wherever that is possible.

That module imports `email`, `zipfile` and more, which takes as much CPU as everything else that the reporter
imports. Distributions that pip installs are folders beside the packages: these are read here. Everything else,
such as an archive in `sys.path`, is left to `importlib.metadata`.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import PathFinder

#: The folder of a distribution, beside its packages, and the files that may have its metadata.
_FOLDERS = (".dist-info", ".egg-info")
_FILES = ("METADATA", "PKG-INFO")


def version_of(name: str) -> str | None:
    """The version of a distribution in this interpreter; ``None`` if it is not installed.

    A removal that did not finish may leave a folder without metadata, which does not count.

    Args:
        name: The distribution's name, in lower case with hyphens: ``sqlalchemy-collectd``.

    Raises:
        UnicodeError: If metadata is not UTF-8.
        Exception: Whatever a finder of distributions in `sys.meta_path` raises.
    """
    for found, version in _in_folders(name) if _has_folders_only() else _in_archives_too(name):
        if found is not None and _plain(found) == name:
            return version
    return None


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _has_folders_only() -> bool:
    """Whether distributions can only be in folders that can be listed."""
    if any(hasattr(finder, "find_distributions") for finder in sys.meta_path if finder is not PathFinder):
        return False
    return not any(os.path.isfile(path) or str(path).endswith(".egg") for path in sys.path)


def _in_folders(name: str) -> Iterator[tuple[str | None, str | None]]:
    """The name and version in each folder of this name, in the order of `sys.path`."""
    for path in sys.path:
        try:
            children = os.listdir(path or ".")
        except OSError:
            continue
        for child in children:
            low = child.lower()
            if low.endswith(_FOLDERS) and _plain(low.rpartition(".")[0].partition("-")[0]) == name:
                yield _metadata(os.path.join(path, child))


def _metadata(folder: str) -> tuple[str | None, str | None]:
    """The name and version in a distribution's folder; ``None`` for what it lacks."""
    text = ""
    for path in (*(os.path.join(folder, name) for name in _FILES), folder):  # distutils wrote a single file.
        with suppress(OSError), open(path, encoding="utf-8") as file:
            text = file.read()
        if text:
            break
    found: dict[str, str] = {}
    for line in text.partition("\n\n")[0].splitlines():
        header, _, value = line.partition(":")
        found.setdefault(header, value.strip())
    return found.get("Name"), found.get("Version")


def _in_archives_too(name: str) -> Iterator[tuple[str | None, str | None]]:
    from importlib.metadata import distributions  # Only here: see above.

    for one in distributions(name=name):
        if one.metadata:
            yield one.metadata["Name"], one.version
