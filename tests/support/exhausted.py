"""Descriptors, threads or memory that are exhausted at one call, for as long as a test wants."""

import errno
import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeAlias

import pytest

#: What the system raises, by name: descriptors of the process and of the machine, memory of the kernel.
OF_FILES: dict[str, Exception] = {
    name: OSError(number, os.strerror(number))
    for name, number in (("EMFILE", errno.EMFILE), ("ENFILE", errno.ENFILE), ("ENOMEM", errno.ENOMEM))
}
OF_MEMORY: dict[str, Exception] = {"MemoryError": MemoryError()}
#: What a thread that cannot be started raises.
OF_THREADS: dict[str, Exception] = {"RuntimeError": RuntimeError("can't start new thread")}
EXHAUSTED = {**OF_FILES, **OF_MEMORY, **OF_THREADS}

#: Functions by their modules or classes and their names, and what each can raise.
Calls: TypeAlias = list[tuple[Any, str, dict[str, Exception]]]


def each(calls: Calls) -> Iterable[Any]:
    """The arguments of a test of each call with each of its errors: owner, name and error."""
    return [
        pytest.param(owner, name, EXHAUSTED[error], id=f"{owner.__name__}.{name}-{error}")
        for owner, name, errors in calls
        for error in errors
    ]


class Exhausted:
    """Within its block, a function of a module or class raises.

    Attributes:
        calls: How often it was called, and raised.
    """

    def __init__(self, owner: Any, name: str, error: Exception) -> None:
        self.calls = 0
        self._owner, self._name, self._error = owner, name, error

    def __enter__(self) -> Self:
        self._is_own = self._name in vars(self._owner)
        self._before = vars(self._owner).get(self._name)
        setattr(self._owner, self._name, self._raise)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_own:
            setattr(self._owner, self._name, self._before)
        else:
            delattr(self._owner, self._name)

    def _raise(self, *_: object, **__: object) -> None:
        self.calls += 1
        raise self._error.with_traceback(None)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Within its block, this process gets no descriptor from the system, whoever asks."""
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def words(error: Exception) -> str:
    """The reason as every sentence gives it."""
    return "there is no memory left" if isinstance(error, MemoryError) else str(getattr(error, "strerror", error))
