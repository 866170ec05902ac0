"""What pools log of their connections, and in which words."""

from typing import Any

from poolhouse.pool.jobs import Reason
from poolhouse.pool.status import ACTIVE
from poolhouse.safely import Log

logger = Log("poolhouse.pool")


def describe(error: BaseException) -> str:
    """An exception in one line that is never empty.

    >>> describe(TimeoutError()), describe(OSError("no route"))
    ('TimeoutError', 'OSError: no route')
    """
    try:
        text = " ".join(str(error).split())
    except Exception:  # Its class is the application's, or a driver's, and cannot say it.
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def log_dead(conn: Any, error: BaseException, *, has_check: bool) -> None:
    """Name a connection that was found dead while it was idle.

    Args:
        conn: The connection.
        error: What the check or the probe raised.
        has_check: The application has asked for checks (`check=`): then it is no news, and psycopg_pool logs it at
            level INFO. Else, and where `check()` finds it, at level WARNING.
    """
    if has_check:
        logger.info("connection failed check: %s: %s", conn, describe(error))
    else:
        logger.warning("discarding broken connection: %s: %s", conn, describe(error))


def log_returned(conn: Any, status: int) -> None:
    """Warn of a connection that came back in the middle of a command; `log_closed` follows."""
    if status == ACTIVE:
        logger.warning("closing returned connection in the middle of a command: %s", conn)


def log_closed(conn: Any, reason: Reason) -> None:
    """Name a connection that has just been closed, if the reason is worth a line."""
    if reason in (Reason.BROKEN, Reason.RESET_FAILED):
        logger.warning("discarding closed connection: %s", conn)
    elif reason is Reason.EXPIRED:
        logger.info("discarding expired connection: %s", conn)
