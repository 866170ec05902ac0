"""Programs that are packed together with their libraries: by zipapp, shiv or pex, or by pip into their own folder.

Their libraries need not be in site-packages. But pip leaves a folder ``NAME-1.0.dist-info`` beside each package
that it installs, and the code that starts a packed program has known names.
"""

import os
from functools import lru_cache

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


def _names_in(archive: str) -> set[str]:
    from zipfile import ZipFile  # Few programs are archives.

    with ZipFile(archive) as opened:
        return {name.partition("/")[0] for name in opened.namelist()}
