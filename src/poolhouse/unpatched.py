"""Built-in modules of Python in their original form, whatever libraries have patched.

gevent and eventlet replace functions in ``_thread``; freezegun and `unittest.mock` replace those in ``time``. A
second instance of such a module, which no other code ever sees, has the original functions, whether it is made
before or after the patching. They are distinct objects, so libraries that search every module for the functions
miss them.
"""

from importlib import import_module
from importlib.machinery import BuiltinImporter
from importlib.util import module_from_spec
from types import ModuleType


def unpatched(name: str) -> ModuleType:
    """A private instance of a built-in module; the shared one if this Python was built without the module in it.

    >>> import time
    >>> ours = unpatched("time")
    >>> ours.monotonic is time.monotonic, ours.monotonic() - time.monotonic() < 1
    (False, True)
    """
    spec = BuiltinImporter.find_spec(name)
    if spec is None or spec.loader is None:
        return import_module(name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
