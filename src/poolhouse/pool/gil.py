"""Whether the interpreter runs one thread at a time, on which the pool's path without a lock rests."""

import sys


def is_gil_enabled() -> bool:
    """False in a free-threaded build (3.13t), as long as no extension module has had the GIL enabled."""
    look = getattr(sys, "_is_gil_enabled", None)  # It is missing before CPython 3.13.
    return True if look is None else bool(look())
