"""Whether the interpreter runs one thread at a time, which the pool's path without a lock relies on."""

import sys


def is_gil_enabled() -> bool:
    """False in a free-threaded build (3.13t), unless an extension module has enabled the GIL."""
    look = getattr(sys, "_is_gil_enabled", None)  # Missing before CPython 3.13.
    return True if look is None else bool(look())
