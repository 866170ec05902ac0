"""``poolhouse explain``: a cause of trouble in words, and the causes that an error message may have."""

from difflib import get_close_matches
from textwrap import fill

from poolhouse.verdicts.causes import BY_NAME, CAUSES, Cause, Threshold

#: Messages that people paste, or parts of them, and their possible causes. In lower case.
MESSAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "queuepool limit",
        (
            "leak",
            "held_idle",
            "slow_statement",
            "row_lock",
            "nested_checkout",
            "pool_too_small",
            "event_loop_blocked",
        ),
    ),
    (
        "couldn't get a connection after",
        ("leak", "held_idle", "slow_statement", "row_lock", "nested_checkout", "pool_too_small", "database_down"),
    ),
    ("non-checked-in connection", ("leak",)),
    ("was never closed", ("leak",)),
    ("too many clients", ("server_full", "engine_per_request", "duplicate_engines")),
    ("too many connections", ("server_full", "engine_per_request", "duplicate_engines")),
    ("connection slots are reserved", ("server_full", "engine_per_request")),
    ("connection refused", ("database_down",)),
    ("could not translate host name", ("database_down",)),
    ("name or service not known", ("database_down",)),
    ("failed to resolve host", ("database_down",)),
    ("the database system is starting up", ("database_down",)),
    ("the database system is shutting down", ("database_down",)),
    ("connection timeout expired", ("database_down",)),
    ("can't connect to mysql server", ("database_down",)),
    ("server closed the connection unexpectedly", ("stale_connections", "shared_after_fork")),
    ("mysql server has gone away", ("stale_connections",)),
    ("lost connection to mysql server", ("stale_connections",)),
    ("terminating connection due to idle", ("stale_connections", "held_idle")),
    ("ssl syscall error", ("stale_connections", "shared_after_fork")),
    ("decryption failed or bad record mac", ("shared_after_fork",)),
    ("lost synchronization with server", ("shared_after_fork",)),
    ("packet sequence number wrong", ("shared_after_fork",)),
    ("lock wait timeout exceeded", ("row_lock",)),
    ("canceling statement due to lock timeout", ("row_lock",)),
    ("deadlock detected", ("row_lock",)),
    ("canceling statement due to statement timeout", ("slow_statement", "row_lock")),
    ("idle in transaction", ("held_idle", "row_lock")),
)

_WIDTH = 88


def explained(asked: str) -> str:
    """The table's entry for a cause, or for the causes of an error message; all causes for an empty text.

    Empty if no such cause or message is known.
    """
    causes = causes_of(asked) if asked.strip() else CAUSES
    return text_of(causes[0]) if asked.strip() and len(causes) == 1 else _list(causes)


def causes_of(asked: str) -> tuple[Cause, ...]:
    """The cause of this name; else the possible causes of an error message, by rank; empty if none is known.

    >>> [cause.name for cause in causes_of("FATAL:  sorry, too many clients already")]
    ['server_full', 'engine_per_request', 'duplicate_engines']
    """
    cause = BY_NAME.get(_as_name(asked))
    if cause is not None:
        return (cause,)
    message = asked.lower()
    names = {name for part, names in MESSAGES if part in message for name in names}
    return tuple(cause for cause in CAUSES if cause.name in names)


def meant(asked: str) -> str:
    """The name of the cause that a misspelled one resembles; empty if it resembles none.

    >>> meant("leek"), meant("pool to small"), meant("weather")
    ('leak', 'pool_too_small', '')
    """
    return next(iter(get_close_matches(_as_name(asked), BY_NAME, 1)), "")


def _as_name(asked: str) -> str:
    return asked.strip().lower().replace("-", "_").replace(" ", "_")


def text_of(cause: Cause) -> str:
    """The table's whole entry for a cause."""
    lines = [f"{cause.name}  ({cause.severity})", "", _wrapped(cause.evidence, ""), "", "What shows it:"]
    lines += [_wrapped(threshold_text(threshold), "  - ", "    ") for threshold in cause.thresholds]
    messages = [
        part for part, names in MESSAGES if names[0] == cause.name or (len(names) == 1 and cause.name in names)
    ]
    if messages:
        lines += ["", "Messages that lead here: " + "; ".join(messages)]
        lines[-1] = _wrapped(lines[-1], "")
    lines += [
        "",
        _wrapped(f"What to do: {cause.do}", ""),
        "",
        _wrapped(f"What would disprove it: {cause.disprove}", ""),
    ]
    return "\n".join(lines) + "\n"


def threshold_text(threshold: Threshold) -> str:
    """One threshold with its reason.

    >>> threshold_text(Threshold("ended", 0.8, "share", "of the looks", "a look may come late"))
    'ended: 80 % of the looks; a look may come late'
    """
    is_share = threshold.unit == "share"
    value = f"{100 * threshold.value:g} %" if is_share else f"{threshold.value:g} {threshold.unit}"
    return f"{threshold.name}: {' '.join(filter(None, (value, threshold.of)))}; {threshold.reason}"


def _list(causes: tuple[Cause, ...]) -> str:
    """The causes in one or two lines each, the main one first."""
    if not causes:
        return ""
    width = max(len(cause.name) for cause in causes) + 2
    told = [_wrapped(cause.evidence, f"{cause.name:{width}}", " " * width) for cause in causes]
    return "\n".join(told) + "\n\npoolhouse explain CAUSE says more.\n"


def _wrapped(text: str, first: str, later: str = "") -> str:
    return fill(text, _WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False)
