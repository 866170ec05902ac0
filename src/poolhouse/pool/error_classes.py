"""The classes of a pool's exceptions, which are also caught as its driver's."""

from functools import cache
from typing import NamedTuple

from poolhouse.errors import PoolClosed, PoolTimeout, TooManyRequests, also


class Errors(NamedTuple):
    """The pool's exceptions for one driver."""

    closed: type[PoolClosed]
    timeout: type[PoolTimeout]
    too_many: type[TooManyRequests]


@cache
def errors_for(base: type[Exception] | None) -> Errors:
    """The pool's exceptions, each also caught by ``except base``."""
    if base is None:
        return Errors(PoolClosed, PoolTimeout, TooManyRequests)
    return Errors(also(PoolClosed, base), also(PoolTimeout, base), also(TooManyRequests, base))
