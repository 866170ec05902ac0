"""Attaches poolhouse to a Python that ``poolhouse run`` has started, or a child of its.

This folder is the first of PYTHONPATH, so the interpreter imports this file before the application. Every Python
does, also one that is too old for poolhouse: the file is valid for all of them, from 2.7 on.
"""

import os
import sys

_folder = os.path.dirname(os.path.abspath(__file__))
_myself = sys.modules.pop(__name__, None)
# The application looks for nothing in this folder; its children find it in PYTHONPATH.
sys.path[:] = [_entry for _entry in sys.path if _entry != _folder]

if sys.version_info >= (3, 11):
    try:
        from _frozen_importlib_external import SourceFileLoader as _Loader

        _file = os.path.join(os.path.dirname(_folder), "finder.py")
        _names = {"__name__": "poolhouse.attach.finder", "__file__": _file}
        exec(_Loader("poolhouse.attach.finder", _file).get_code("poolhouse.attach.finder"), _names)  # type: ignore
        _names["start"]("poolhouse run")  # type: ignore[operator]
    except Exception:  # An installation that was removed while its programs run, for example.
        pass

# The sitecustomize that this one hides: what it raises reaches the interpreter, which tells it as ever.
try:
    import sitecustomize as _hidden  # type: ignore  # noqa: F401
except ImportError:
    if getattr(sys.exc_info()[1], "name", "sitecustomize") != "sitecustomize":
        raise
if "sitecustomize" not in sys.modules and _myself is not None:
    sys.modules["sitecustomize"] = _myself  # The import of this module ends with a look there.
