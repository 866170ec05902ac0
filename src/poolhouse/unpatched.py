"""Built-in modules of Python in their original form, whatever library patches them.

gevent and eventlet replace what is in ``_thread``; freezegun and `unittest.mock` what is in ``time``. A second
instance of such a module, which nobody else ever sees, has the original functions, whether it is made before or
after the patching: as other objects, so also those who look for the functions everywhere do not find them.
"""

from importlib import import_module
from importlib.machinery import BuiltinImporter
from importlib.util import module_from_spec
from types import ModuleType


def unpatched(name: str) -> ModuleType:
    """An instance of a module of our own; where Python was built without the module in it, the one there is.

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
