"""Errors that outlive the call in which they were raised."""

from typing import Any

from poolhouse.errors import PoolError

#: How many levels of errors within errors are copied.
_DEPTH = 4


def frameless(error: BaseException, depth: int = _DEPTH) -> BaseException:
    """A copy of an error that refers to no frame: same class, same text, same attributes.

    A pool keeps the error of its last connect, to show it to clients that time out. The error itself refers to its
    traceback, the traceback to frames, and the frames to all variables of the client that met it. Raising the
    error adds frames even if its traceback was removed, so only a copy can be kept.

    Returns:
        A `PoolError` with the text of the error if its class cannot be copied without calling its constructor.

    >>> kept = frameless(FileNotFoundError(2, "No such file", "app.db"))
    >>> kept, kept.errno, kept.filename
    (FileNotFoundError(2, 'No such file'), 2, 'app.db')
    """
    try:
        twin = _twin(error, depth)
        if type(twin) is type(error) and str(twin) == str(error):
            return twin
    except Exception:
        # The class is the application's or a driver's, and may do anything here.
        return PoolError(_text(error))
    return PoolError(_text(error))


def _twin(error: Any, depth: int) -> Any:
    if isinstance(error, BaseExceptionGroup):
        twin: Any = error.derive([frameless(each, depth - 1) for each in error.exceptions])
    else:
        # `args` of an OSError lacks the file name; `__reduce__` has it.
        arguments = error.__reduce__()[1]
        twin = type(error).__new__(type(error), *(_kept(each, depth) for each in arguments))
        twin.args = tuple(_kept(each, depth) for each in error.args)
    twin.__dict__.update({name: _kept(value, depth) for name, value in vars(error).items()})
    return twin


def _kept(value: object, depth: int) -> object:
    if isinstance(value, BaseException):
        return frameless(value, depth - 1) if depth > 0 else PoolError(_text(value))
    return value


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
