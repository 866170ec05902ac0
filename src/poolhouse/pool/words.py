"""The messages that pools log about their connections."""

import re
from typing import Any

from poolhouse.pool.jobs import Reason
from poolhouse.pool.passwords import secrets_in
from poolhouse.pool.status import ACTIVE
from poolhouse.safely import Log

logger = Log("poolhouse.pool")


#: Where libpq's messages, or SQLAlchemy's, begin to quote a statement or a row.
_STATEMENT = re.compile(r"\n(LINE \d+:|DETAIL:|\[SQL:).*", re.DOTALL)


def describe(error: BaseException) -> str:
    """An exception in one line that is never empty, without the statement that it may quote.

    >>> describe(TimeoutError()), describe(OSError("no route"))
    ('TimeoutError', 'OSError: no route')
    """
    try:
        text = " ".join(_STATEMENT.sub("", str(error)).split())
    except Exception:  # Its class is the application's or a driver's, and its `__str__` fails.
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def connect_error(error: BaseException, conninfo: object, kwargs: object) -> str:
    """Why a connect failed, in one line; ``…`` stands for what a driver repeats of the password."""
    text = describe(error)
    for secret in secrets_in(conninfo, kwargs):
        text = text.replace(secret, "…")
    return text


def log_dead(conn: Any, error: BaseException, *, has_check: bool) -> None:
    """Log a connection that was found dead while it was idle.

    Args:
        conn: The connection.
        error: What the check or the probe raised.
        has_check: Whether the application asked for checks (`check=`): a dead connection is then expected, and
            logged at INFO, as psycopg_pool does. Otherwise, and if `check()` finds it, it is logged at WARNING.
    """
    if has_check:
        logger.info("connection failed check: %s: %s", conn, describe(error))
    else:
        logger.warning("discarding broken connection: %s: %s", conn, describe(error))


def log_returned(conn: Any, status: int) -> None:
    """Warn of a connection that was returned in the middle of a command; `log_closed` follows."""
    if status == ACTIVE:
        logger.warning("closing returned connection in the middle of a command: %s", conn)


def log_closed(conn: Any, reason: Reason) -> None:
    """Log a connection that has just been closed, if the reason is worth a line."""
    if reason in (Reason.BROKEN, Reason.RESET_FAILED):
        logger.warning("discarding closed connection: %s", conn)
    elif reason is Reason.EXPIRED:
        logger.info("discarding expired connection: %s", conn)
