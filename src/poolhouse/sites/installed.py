"""What the files of an installation say of a module: the application's, a library's, or the code that starts both.

Applications may be in site-packages, and libraries elsewhere: zipapp, shiv, pex and pip can pack a program
together with its libraries. But pip leaves a folder ``NAME-1.0.dist-info`` beside each package that it
installs. A file in it says whether the package came from a folder of source code, as with ``pip install .``.
The code that starts a packed program has known names.
"""

import os
from contextlib import suppress
from functools import lru_cache

_SITE_PACKAGES = "/site-packages/"
#: The end of the name of a folder that pip leaves beside what it has installed.
_INSTALLED = ".dist-info"


def is_launcher(path: str, module: str) -> bool:
    """Whether a module only starts a packed program.

    Args:
        path: The file of the module, with slashes.
        module: Its dotted name.
    """
    folder, _, name = path.rpartition("/")
    if module == "__main__":
        # zipapp, shiv; pex; pex that has made a virtual environment of itself.
        is_packed = name == "__main__.py" and (os.path.isfile(folder) or os.path.isdir(f"{folder}/.bootstrap"))
        return is_packed or name == "pex"
    if "/.bootstrap/pex/" in path:
        return True
    return module.partition(".")[0] == "_bootstrap" and os.path.isfile(_root_of(path, module))  # shiv


def is_from_source(path: str, module: str) -> bool:
    """Whether a module was installed from a folder of source code: it is the application's, or as good as that.

    Args:
        path: The file of the module, with slashes.
        module: Its dotted name.
    """
    before, found, inside = path.rpartition(_SITE_PACKAGES)
    root = before + found.rstrip("/") if found else _root_of(path, module)
    # A program that is started by its module's name calls it `__main__`.
    top = inside.partition("/")[0].removesuffix(".py") if found else module.partition(".")[0]
    return bool(root) and top in _from_source_in(root)


def is_installed(path: str, module: str) -> bool:
    """Whether pip or pex has installed a module in a place of the program's own.

    A library whose package has another name than its distribution is not recognized there.

    Args:
        path: The file of the module, with slashes.
        module: Its dotted name.
    """
    if ".whl/" in path:
        return True
    root = _root_of(path, module)
    return bool(root) and module.partition(".")[0].lower() in _installed_in(root)


def _root_of(path: str, module: str) -> str:
    """The folder or archive that a module was imported from; empty if its path does not tell.

    >>> _root_of("/srv/shop.pyz/acme/db/__init__.py", "acme.db"), _root_of("/srv/acme/db.py", "acme.db")
    ('/srv/shop.pyz', '/srv')
    >>> _root_of("/srv/acme/db.py", "other")
    ''
    """
    inside = f"/{module.replace('.', '/')}"
    for ending in (f"{inside}.py", f"{inside}/__init__.py"):
        if path.endswith(ending):
            return path.removesuffix(ending)
    return ""


@lru_cache(maxsize=256)
def _installed_in(root: str) -> frozenset[str]:
    """The names of the distributions that are installed in a folder or an archive, in lower case."""
    try:
        entries = os.listdir(root) if os.path.isdir(root) else _names_in(root)
    except Exception:  # A folder that cannot be read, or an archive of another kind.
        return frozenset()
    return frozenset(entry.partition("-")[0].lower() for entry in entries if entry.endswith(_INSTALLED))


@lru_cache(maxsize=256)
def _from_source_in(root: str) -> frozenset[str]:
    """The top-level packages and modules in a folder that were installed from source code."""
    names: set[str] = set()
    with suppress(OSError):
        for entry in os.listdir(root):
            if entry.endswith(_INSTALLED):
                names |= _from_source_by(f"{root}/{entry}")
    return frozenset(names)


def _from_source_by(folder: str) -> set[str]:
    """What one folder of pip's says of that; PEP 610 defines the first file, PEP 376 the second."""
    with suppress(OSError, UnicodeError):
        with open(f"{folder}/direct_url.json", encoding="utf-8") as origin:
            if '"dir_info"' not in origin.read():
                return set()
        with open(f"{folder}/RECORD", encoding="utf-8") as record:
            return {line.partition(",")[0].partition("/")[0].removesuffix(".py") for line in record}
    return set()


def _names_in(archive: str) -> set[str]:
    from zipfile import ZipFile  # Few programs are archives.

    with ZipFile(archive) as opened:
        return {name.partition("/")[0] for name in opened.namelist()}
