"""The uWSGI options without which pools in its workers are not reported properly.

uWSGI embeds Python. Without an option for it, no Python thread runs, the reporter's included, and uWSGI forks its
workers without calling Python's fork hooks. Options: https://uwsgi-docs.readthedocs.io/en/latest/Options.html.
"""

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from poolhouse.report.log import log
from poolhouse.safely import WARNING, Log

_logger = Log("poolhouse.attach")

_told: list[bool] = []


def warn_once() -> None:
    """Log the advice, once, if this process runs in uWSGI and needs it; never raises an `Exception`."""
    if _told:
        return
    _told.append(True)
    with suppress(Exception):
        options = getattr(sys.modules.get("uwsgi"), "opt", None)
        found = advice(options) if isinstance(options, Mapping) else None
        if found is not None:
            log(WARNING, "%s", found, logger=_logger)


def advice(options: Mapping[Any, Any]) -> str | None:
    """The options to add to uWSGI's; ``None`` if nothing is missing.

    Args:
        options: Its options as in ``uwsgi.opt``: names and values may be bytes.

    >>> advice({"master": True, "processes": b"4"})
    'uWSGI needs --enable-threads --lazy-apps: without them poolhouse reports late, or wrong after the fork'
    >>> advice({"lazy-apps": True})
    'uWSGI needs --enable-threads: without it poolhouse reports a worker only when that ends'
    >>> advice({b"enable-threads": True, b"py-call-uwsgi-fork-hooks": True}) is None
    True
    """
    names = {name.decode() if isinstance(name, bytes) else str(name) for name in options}
    has_threads = bool(names & {"enable-threads", "threads"})
    # Without forked workers, no fork hooks are needed.
    is_safe = bool(names & {"lazy-apps", "lazy", "py-call-uwsgi-fork-hooks"}) or not names & {
        "master",
        "processes",
    }
    if has_threads and is_safe:
        return None
    if is_safe:
        return "uWSGI needs --enable-threads: without it poolhouse reports a worker only when that ends"
    if has_threads:
        return "uWSGI needs --lazy-apps or --py-call-uwsgi-fork-hooks: without it Python does not notice the fork"
    return "uWSGI needs --enable-threads --lazy-apps: without them poolhouse reports late, or wrong after the fork"
