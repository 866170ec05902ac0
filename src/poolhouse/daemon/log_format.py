"""A log record as one line: for people, or as JSON."""

import json
import logging
from datetime import datetime

from poolhouse.clean import clean

#: The longest message and the longest traceback, in characters.
LONGEST_MESSAGE, LONGEST_TRACEBACK = 1000, 20_000


class TextFormatter(logging.Formatter):
    """``2026-11-29T06:40:45+01:00 WARNING connmond: sentence``; a traceback follows on the same line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, cleaned of control sequences for a terminal."""
        when = _when(record).isoformat(timespec="seconds")
        lines = [clean(_message(record), LONGEST_MESSAGE), *(clean(one.strip()) for one in _traceback(record))]
        return f"{when} {record.levelname} connmond: {' | '.join(lines)}"


class JsonFormatter(logging.Formatter):
    """One object per line: ``time`` (ISO 8601), ``level``, ``logger``, ``message``, perhaps ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; characters other than ASCII are escaped."""
        fields = {
            "time": _when(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if lines := _traceback(record):
            fields["exception"] = "\n".join(lines)[:LONGEST_TRACEBACK]
        return json.dumps(fields)


def _when(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created).astimezone()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # Some library's message does not fit its arguments.
        return f"{record.msg} ({type(error).__name__} in its arguments)"


def _traceback(record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    return logging.Formatter().formatException(record.exc_info).splitlines()
