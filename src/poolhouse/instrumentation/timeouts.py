"""Adds what SQLAlchemy's own timeout leaves out: who holds the connections, and why."""

from collections.abc import Iterable

from poolhouse.pool.holders import Holder, oldest_in_words
from poolhouse.sites.readings import open_by_site
from poolhouse.sites.site import Site
from poolhouse.verdicts.verdict import Verdict
from poolhouse.verdicts.words import reason_of


def explain(
    error: BaseException, holds: Iterable[tuple[Site, float]], now: float, waiting: int, verdict: Verdict | None
) -> None:
    """Add what is known to the error, as a note and as its attributes `holders` and `verdict`.

    Everything else about the error stays unchanged. An error that already has these attributes, such as
    `FairQueueTimeout`, says all that itself.

    Args:
        error: SQLAlchemy's timeout.
        holds: The site of each connection that is out, and since when it has been, in monotonic seconds.
        now: Monotonic seconds.
        waiting: Callers that are still waiting.
        verdict: What is wrong with the pool; ``None`` if nothing is found.
    """
    if hasattr(error, "holders"):
        return
    holders = holders_of(holds, now)
    used = sum(holder.connections for holder in holders)
    text = [f"poolhouse: {used} in use, {waiting} waiting"]
    if verdict is not None:
        text.append(reason_of(verdict))
    if holders:
        text.append(oldest_in_words(holders))
    error.holders, error.verdict = holders, verdict  # type: ignore[attr-defined]
    error.add_note("; ".join(text))


def holders_of(holds: Iterable[tuple[Site, float]], now: float) -> tuple[Holder, ...]:
    """The lines that hold connections, the one with the oldest first."""
    opened = open_by_site(holds, now)
    holders = [Holder(site.words, found.number, found.oldest_s, found.total_s) for site, found in opened.items()]
    return tuple(sorted(holders, key=lambda holder: -holder.oldest_s))
