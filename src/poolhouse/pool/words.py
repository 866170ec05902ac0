"""The messages that pools log about their connections."""

from collections.abc import Iterable
from typing import Any

from poolhouse.conceal import conceal, text_of
from poolhouse.pool.jobs import Reason
from poolhouse.pool.status import ACTIVE
from poolhouse.safely import Log

logger = Log("poolhouse.pool")


def describe(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """An exception in one line that is never empty, without passwords and what it quotes of a statement.

    Args:
        error: The exception.
        secrets: Passwords that are known (`poolhouse.pool.passwords`); ``…`` stands for what is left out.

    >>> describe(TimeoutError()), describe(OSError("no route"))
    ('TimeoutError', 'OSError: no route')
    """
    try:
        text = " ".join(text_of(error, secrets).split())
    except Exception:  # Its class is the application's or a driver's, and its `__str__` fails.
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Shown:
    """A connection or a function in a message: its text, which may repeat a conninfo, without passwords."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        """The text is made when it is asked for: most messages are never written."""
        self._value = value

    def __str__(self) -> str:
        return conceal(str(self._value))


def log_dead(conn: Any, error: BaseException, *, has_check: bool) -> None:
    """Log a connection that was found dead while it was idle.

    Args:
        conn: The connection.
        error: What the check or the probe raised.
        has_check: Whether the application asked for checks (`check=`): a dead connection is then expected, and
            logged at INFO, as psycopg_pool does. Otherwise, and if `check()` finds it, it is logged at WARNING.
    """
    if has_check:
        logger.info("connection failed check: %s: %s", Shown(conn), describe(error))
    else:
        logger.warning("discarding broken connection: %s: %s", Shown(conn), describe(error))


def log_returned(conn: Any, status: int) -> None:
    """Warn of a connection that was returned in the middle of a command; `log_closed` follows."""
    if status == ACTIVE:
        logger.warning("closing returned connection in the middle of a command: %s", Shown(conn))


def log_closed(name: str, conn: Any, reason: Reason) -> None:
    """Log a connection that the pool `name` has just closed, if the reason is worth a line."""
    if reason in (Reason.BROKEN, Reason.RESET_FAILED):
        logger.warning("discarding closed connection: %s", Shown(conn))
    elif reason is Reason.EXPIRED:
        logger.info("discarding expired connection: %s", Shown(conn))
    elif reason is Reason.DRAINED:
        logger.info("discarding drained connection: %s", Shown(conn))
    elif reason is Reason.SHRUNK:
        logger.info("shrinking pool %r: closing %s", name, Shown(conn))
