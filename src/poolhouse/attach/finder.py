"""The finder that notices when the application imports a library with pools.

It is the first in `sys.meta_path`. For the modules of `poolhouse.attach.targets` it asks the other finders, and
gives the loader they return an `exec_module` that patches one class after the module has run. The loader, its type
and its behaviour with `inspect` and `importlib.resources` are unchanged. Every other import costs one lookup.

Each patched ``__init__`` hands its instance to a function of poolhouse, which is imported only then. Whatever goes
wrong is logged at DEBUG by ``poolhouse.attach`` and forgotten: neither an import nor a pool fails because of it.

This file runs before the application, read by its path, so it imports no module that a bare interpreter has not
loaded already, and none of poolhouse.
"""

import os
import sys
from _frozen_importlib_external import SourceFileLoader, spec_from_file_location
from _thread import get_ident

# For type checkers only; importing `typing` would cost more than all the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

#: The environment variable that turns all of this off if it is neither empty nor 0.
DISABLE_VARIABLE = "POOLHOUSE_DISABLE"
#: The oldest Python that is attached to.
OLDEST_PYTHON = (3, 11)
#: The package that holds this file.
_PACKAGE = "poolhouse"


class Finder:
    """A finder for `sys.meta_path`.

    Attributes:
        is_poolhouses: Distinguishes it from other finders, even from another copy of this file.
        way: How poolhouse got into this process, in words.
        patched: The full names of the patched classes.
    """

    is_poolhouses = True

    def __init__(self, targets: "Mapping[str, tuple[str, str]]", way: str) -> None:
        """Watch for the modules of `targets`, a table as in `poolhouse.attach.targets`."""
        self.way = way
        self.patched: list[str] = []
        self._targets = targets
        self._names = frozenset((*targets, _PACKAGE))
        #: The present searches, by thread: another finder may ask all finders, and so this one again.
        self._finding: set[tuple[int, str]] = set()

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """The spec from the other finders, with a loader that reports when the module has run."""
        if name not in self._names:
            return None
        me = (get_ident(), name)
        if me in self._finding:
            return None
        self._finding.add(me)
        try:
            spec = self._found_by_others(name, path, target)
        finally:
            self._finding.discard(me)
        if name == _PACKAGE:
            return spec or _own_package()
        if spec is not None and spec.loader is not None:
            try:
                self._follow(spec.loader, name)
            except Exception:
                forget(name)
        return spec

    def _found_by_others(
        self, name: str, path: "Sequence[str] | None", target: "ModuleType | None"
    ) -> "ModuleSpec | None":
        for finder in list(sys.meta_path):
            find: Any = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(name, path, target)
            if spec is not None:
                return spec
        return None

    def _follow(self, loader: "Any", name: str) -> None:
        """Make the loader report when it has run this module; one loader may load several, from a zip file."""
        followed = getattr(loader.exec_module, "_poolhouse", None)
        if followed is not None:
            followed.add(name)
            return
        names, execute = {name}, loader.exec_module

        def exec_module(module: "ModuleType") -> None:
            execute(module)
            if module.__name__ in names:
                self.look_at(module.__name__, module)

        exec_module._poolhouse = names  # type: ignore[attr-defined]
        loader.exec_module = exec_module

    def look_at(self, name: str, module: "ModuleType") -> None:
        """Patch the class of a module that has run. Never raises."""
        try:
            class_name, handler = self._targets[name]
            full_name = name + "." + class_name
            if _patch(getattr(module, class_name), handler):
                self.patched.append(full_name)
        except Exception:
            forget(name)

    def look_at_loaded(self) -> None:
        """Patch modules that were imported before this finder existed."""
        for name in self._targets:
            module = sys.modules.get(name)
            if module is not None:
                self.look_at(name, module)


def installed() -> "Finder | None":
    """The finder of this process; ``None`` if poolhouse is not attached to it."""
    for finder in sys.meta_path:
        if getattr(finder, "is_poolhouses", False):
            return finder  # type: ignore[return-value]  # Of this class, or of that of another copy of this file.
    return None


def is_disabled() -> bool:
    """Whether the environment forbids attaching."""
    return os.environ.get(DISABLE_VARIABLE, "") not in ("", "0")


def start(way: str) -> "Finder | None":
    """Attach to this process, unless that is already done, or forbidden.

    Args:
        way: How poolhouse got here, in words, for `Finder.way`.

    Returns:
        The finder of this process; ``None`` if poolhouse is disabled here, or this Python is too old.
    """
    if is_disabled() or sys.version_info < OLDEST_PYTHON:
        return None
    finder = installed()
    if finder is None:
        finder = Finder(_targets(), way)
        sys.meta_path.insert(0, finder)
        finder.look_at_loaded()
    return finder


def forget(name: str) -> None:
    """Log the exception that is being handled at DEBUG. Never raises an `Exception`."""
    try:
        import logging

        logging.getLogger("poolhouse.attach").debug("poolhouse is not attached to %s", name, exc_info=True)
    except Exception:
        return


def _targets() -> "Mapping[str, tuple[str, str]]":
    """The table beside this file, read without importing its package."""
    path = os.path.join(os.path.dirname(__file__), "targets.py")
    code: Any = SourceFileLoader("poolhouse.attach.targets", path).get_code("poolhouse.attach.targets")
    names: dict[str, Any] = {}
    exec(code, names)
    table: Mapping[str, tuple[str, str]] = names["TARGETS"]
    return table


def _own_package() -> "ModuleSpec | None":
    """Our own package, for an application whose environment does not have it."""
    folder = os.path.dirname(os.path.dirname(__file__))
    path = os.path.join(folder, "__init__.py")
    return spec_from_file_location(_PACKAGE, path, submodule_search_locations=[folder])


def _patch(cls: "Any", handler: str) -> bool:
    """Have `handler` called with each instance made from now on. False if that is so already."""
    init = cls.__init__
    if hasattr(init, "_poolhouse"):
        return False

    handed = call

    def __init__(self: "Any", /, *args: "Any", **kwargs: "Any") -> None:
        init(self, *args, **kwargs)
        handed(handler, self)

    # A library that looks for the application's line of a warning passes over frames that run its own modules.
    scope = {"__name__": cls.__module__, "__builtins__": __builtins__}
    function: Any = type(__init__)
    patched = function(__init__.__code__, scope, "__init__", None, __init__.__closure__)
    for name in ("__module__", "__qualname__", "__doc__"):
        setattr(patched, name, getattr(init, name))
    patched.__wrapped__ = init
    patched._poolhouse = True
    cls.__init__ = patched
    return True


def call(handler: str, pool: "Any") -> None:
    """Call a function of poolhouse, which is imported at the first call. Never raises an `Exception`."""
    try:
        module, _, function = handler.partition(":")
        if module not in sys.modules:
            __import__(module)
        run: Callable[[Any], None] = getattr(sys.modules[module], function)
        run(pool)
    except Exception:
        forget(handler)
