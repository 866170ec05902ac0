"""The logger ``poolhouse.report``, for whom even a broken log handler is no reason to raise."""

import logging
from contextlib import suppress

_logger = logging.getLogger("poolhouse.report")


def log(level: int, message: str, *arguments: object, error: BaseException | None = None) -> None:
    """Log a message, with the traceback of `error`; never raises."""
    with suppress(Exception):  # What a handler of the application raises, nobody is left to be told.
        _logger.log(level, message, *arguments, exc_info=error)
