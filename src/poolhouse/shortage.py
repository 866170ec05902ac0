"""Recognises errors that mean descriptors, threads or memory have run out, and words them."""

import errno

_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: The message of `threading.Thread.start`; the error has no class of its own.
_NO_THREAD = "can't start new thread"


def is_shortage(error: BaseException | None) -> bool:
    """Whether descriptors, threads or memory have run out, a shortage that may pass within a second.

    >>> is_shortage(OSError(errno.EMFILE, "Too many open files")), is_shortage(OSError(errno.EACCES, "no"))
    (True, False)
    """
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error) == _NO_THREAD)


def shortage_in(error: BaseException) -> BaseException:
    """The error that explains why a setting could not be used, if it is known; otherwise the error itself."""
    return error.__cause__ or error


def words_of(error: BaseException) -> str:
    """The reason for a failure, worded for the middle of a sentence; a MemoryError has no text of its own.

    >>> words_of(MemoryError()), words_of(OSError(errno.EMFILE, "Too many open files"))
    ('there is no memory left', 'Too many open files')
    """
    if isinstance(error, MemoryError):
        return "there is no memory left"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
