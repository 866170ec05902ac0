"""Logs connections that are held for longer than an engine's ``hold_warning`` allows."""

from collections.abc import Iterable
from typing import Any

from poolhouse.errors import SettingError
from poolhouse.report.log import log
from poolhouse.safely import WARNING, Log
from poolhouse.sites.site import Site

_logger = Log("poolhouse.pool")

#: The most that are remembered at a time: a pool without a limit may have any number.
_MOST = 1_000


class LongHolds:
    """Logs each connection that is held too long, once, and again when it has come back. For one thread.

    Args:
        limit: How long a connection may be held, in seconds; ``None`` to log nothing.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        #: The logged holds: the identity of the connection's record, the start of the hold, and the line.
        self._told: dict[tuple[int, float], str] = {}

    def look(self, pool: str, holds: Iterable[tuple[int, float, Site]], now: float) -> None:
        """Compare the present holds with those already logged.

        Args:
            pool: The pool's name in the log.
            holds: For each hold, the identity of the connection's record, its start, and the line that took it.
            now: Monotonic seconds.
        """
        if self._limit is None:
            return
        out: set[tuple[int, float]] = set()
        for record, since, site in holds:
            key = record, since
            out.add(key)
            if now - since > self._limit and key not in self._told and len(self._told) < _MOST:
                self._told[key] = site.words
                log(
                    WARNING,
                    "poolhouse sees a connection of %s that %s has held for %.1f s",
                    pool,
                    site.words,
                    now - since,
                    logger=_logger,
                )
        for key in self._told.keys() - out:
            log(
                WARNING,
                "poolhouse sees that %s has returned its connection of %s after all, after %.1f s at most",
                self._told.pop(key),
                pool,
                now - key[1],
                logger=_logger,
            )

    def forget(self) -> None:
        """Start afresh, in a forked child."""
        self._told.clear()


def hold_warning_of(value: Any, name: str) -> float | None:
    """The setting, in seconds; ``None`` if it is not set, or empty.

    Args:
        value: A text or a number.
        name: The setting's name, as the user wrote it.

    Raises:
        SettingError: If it is not a positive number.
    """
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if isinstance(value, bool) or not 0 < seconds < float("inf"):
        raise SettingError(name, f"expected seconds, more than 0, not {value!r}")
    return seconds
