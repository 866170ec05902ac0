"""Whose code a frame runs: the application's, a library's, or a package's between the application and its pool.

The line that holds a connection is the innermost line of the application. Some packages are always skipped,
because they lie between the application and every pool (`PASSED`, and those that a setting adds). The standard
library, packages in site-packages and those that a program is packed with are skipped as long as there is other
code further out: an application may be installed there itself. One that was installed from its source is known.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

from poolhouse.defaults import SKIP_VARIABLE
from poolhouse.errors import SettingError
from poolhouse.sites.installed import is_from_source, is_installed, is_launcher

#: Packages and modules between applications and their pools.
PASSED = (
    "aiomysql",
    "asyncpg",
    "contextlib",
    "django.db",
    "flask_sqlalchemy",
    "poolhouse",
    "psycopg2.pool",
    "psycopg_pool",
    "sqlalchemy",
    "sqlalchemy_collectd",
    "sqlmodel",
)
#: The part of poolhouse that uses pools like an application.
_APPLICATION = "poolhouse.demo"
#: The most module names that are remembered; modules made at run time may have any number of names.
_MOST_NAMES = 4_096


class Kind(Enum):
    """Whose code a frame runs."""

    #: A package that is always skipped.
    PASSED = 1
    #: The standard library, or something installed beside it.
    LIBRARY = 2
    APPLICATION = 3


class Modules:
    """Decides whose code a frame runs."""

    __slots__ = ("_kinds", "_passed")

    def __init__(self, skip: Iterable[str] = ()) -> None:
        """Skip some packages or modules in addition to `PASSED`, by their dotted names."""
        self._passed = tuple(f"{name}." for name in (*PASSED, *skip))
        self._kinds: dict[str, Kind] = {}

    def kind_of(self, frame: FrameType) -> Kind:
        """Whose code this frame runs."""
        return self.kind(frame.f_code, frame.f_globals)

    def kind(self, code: CodeType, names: Mapping[str, Any]) -> Kind:
        """Whose code this is, in the module with these globals."""
        name: Any = names.get("__name__")
        if type(name) is not str:
            # SQLAlchemy 1.4 generates functions without a module at run time.
            return _kind_of_file(code.co_filename, "") if os.sep in code.co_filename else Kind.PASSED
        # A program and the command or notebook server that runs it may both be `__main__`.
        key = name if name != "__main__" else code.co_filename
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _MOST_NAMES:
                self._kinds.clear()
            self._kinds[key] = kind = self._kind_of_module(name, _file_of(code, names))
        return kind

    def _kind_of_module(self, name: str, file: str) -> Kind:
        if f"{name}.".startswith(self._passed):
            return Kind.APPLICATION if f"{name}.".startswith(f"{_APPLICATION}.") else Kind.PASSED
        return _kind_of_file(file, name)


def is_contextlib(frame: FrameType) -> bool:
    """Whether a frame is one of `contextlib`, which runs generators as context managers."""
    return frame.f_globals.get("__name__") == "contextlib"


@lru_cache
def modules_of(skip: tuple[str, ...] = ()) -> Modules:
    """The instance shared by all pools that skip the same packages: those of ``POOLHOUSE_SKIP`` and these."""
    named = os.environ.get(SKIP_VARIABLE, "")
    return Modules((*_names(named.split(",")), *skip))


def skipped(setting: Any, name: str) -> tuple[str, ...]:
    """The packages or modules named by a setting: a text with commas, or several texts.

    Raises:
        SettingError: If it is something else.

    >>> skipped("acme.db, acme.web,", "skip"), skipped(["acme"], "skip"), skipped("", "skip")
    (('acme.db', 'acme.web'), ('acme',), ())
    """
    texts: list[Any] = [setting] if isinstance(setting, str) or not isinstance(setting, Iterable) else [*setting]
    if not all(isinstance(text, str) for text in texts):
        raise SettingError(name, "expected names of packages or modules, separated by commas")
    return _names([part for text in texts for part in text.split(",")])


def _names(texts: list[str]) -> tuple[str, ...]:
    return tuple(name for text in texts if (name := text.strip().strip(".")))


def _file_of(code: CodeType, names: Mapping[str, Any]) -> str:
    """The file of a module: its source, even for code generated at run time, as by attrs and dataclasses."""
    file = code.co_filename
    if not file.startswith("<") or file.startswith("<frozen "):
        return file
    source = names.get("__file__")
    return source if type(source) is str else file


#: Where the standard library is.
_STANDARD = os.path.dirname(os.__file__).replace("\\", "/") + "/"


def _kind_of_file(file: str, module: str) -> Kind:
    path = file.replace("\\", "/")
    folder, _, name = path.rpartition("/")
    is_library = (
        path.startswith((_STANDARD, "<frozen "))
        or "/site-packages/" in path
        or "/dist-packages/" in path
        # The scripts that installers make for commands: each is the outermost frame of its program.
        or (module == "__main__" and folder.endswith(("/bin", "/Scripts")) and not name.endswith(".py"))
        # A program in one file has no folders, of its own modules neither.
        or (not folder and module.partition(".")[0] in sys.stdlib_module_names)
        or is_launcher(path, module)
        or is_installed(path, module)
    )
    return Kind.LIBRARY if is_library and not is_from_source(path, module) else Kind.APPLICATION
