"""Reading a dictionary that other threads, or finalizers, change meanwhile, where no lock keeps them out."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def copy_of(shared: dict[K, V]) -> dict[K, V]:
    """A copy of a dictionary as it was at one moment.

    ``shared.copy()`` and ``list(shared.items())`` are not that. CPython 3.11 runs the garbage collector where a
    container is allocated, also in the middle of these; what the collector calls changes the dictionary, or lets
    another thread do so. The copy is then inconsistent, and an iteration over it raises.

    ``dict(shared)``, ``list(shared)``, ``list(shared.values())`` and ``[*shared.values()]`` allocate first, and
    read without a further allocation. So do ``copy()`` of a set and of a deque, and ``list(…)`` and ``[*…]`` of a
    list; but ``copy()``, ``tuple()`` and slices of a list that becomes shorter meanwhile read memory that has been
    freed. From 3.12 on the collector runs only between two instructions.
    """
    return dict(shared)
