"""Exceptions that are kept after the call in which they were raised."""

from collections.abc import Sequence

from poolhouse.conceal import conceal
from poolhouse.errors import PoolError


def bare(error: BaseException) -> BaseException:
    """A copy of an exception that keeps no frame alive: it has neither a traceback nor a cause or context.

    The frames of a traceback refer to everything that was in them: connections of other pools, a web server's
    request. And each time the same exception is raised again, in any thread, more frames are added.

    >>> try:
    ...     raise OSError(111, "refused")
    ... except OSError as error:
    ...     copy = bare(error)
    >>> copy, copy.errno, copy.__traceback__
    (ConnectionRefusedError(111, 'refused'), 111, None)
    """
    kind = type(error)
    try:
        if isinstance(error, BaseExceptionGroup):
            return error.derive([bare(each) for each in error.exceptions])
        # Without `__init__`, whose arguments may differ from those in `args`.
        copy = kind.__new__(kind, *error.args)
        copy.args = error.args
        copy.__dict__.update(error.__dict__)
    except Exception:  # The class cannot be made this way: keep the message at least.
        return PoolError(f"{kind.__name__}: {error.args}")
    return copy


def without(error: BaseException, secrets: Sequence[str]) -> BaseException:
    """A copy that nobody else has, made by `bare` or `frameless`, after passwords are removed from its text.

    Args:
        error: The copy; it is changed.
        secrets: Known passwords (`poolhouse.conceal.conceal`).

    Returns:
        The copy; a `PoolError` with the text if its class takes the text from elsewhere than its arguments.

    >>> without(ValueError('missing "=" after "me:secret@db" in connection info string'), ["me:secret@db"])
    ValueError('missing "=" after "…" in connection info string')
    """
    try:
        if (text := conceal(str(error), secrets)) == str(error):
            return error
        error.args = tuple(conceal(each, secrets) if isinstance(each, str) else each for each in error.args)
        if str(error) == text:
            return error
    except Exception:  # The class is the application's or a driver's, and may do anything here.
        return PoolError(type(error).__name__)
    return PoolError(f"{type(error).__name__}: {text}")
