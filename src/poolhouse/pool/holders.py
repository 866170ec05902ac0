"""Who holds connections: leases grouped by the line of code that took them, resolved only when shown."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

from poolhouse.pool.slot import Lease


class Holder(NamedTuple):
    """One call site that has connections checked out."""

    #: For example ``app/views.py:88 in checkout_cart``.
    site: str
    #: How many connections it holds now.
    connections: int
    #: For how long it has held the oldest of them, in seconds.
    oldest_s: float
    #: The sum over its connections, in seconds.
    total_s: float


@lru_cache(maxsize=256)
def site_of(code: CodeType, instruction: int) -> str:
    """The call site in words: the last two parts of the file's path, line and function.

    Clients that time out together name the same few lines, so the last ones are kept: a line takes 20 µs to find.

    >>> site_of(compile("pass", "/srv/app/views.py", "exec"), 0)
    'app/views.py:1 in <module>'
    """
    lines = [entry[0] for entry in code.co_positions()]
    line = lines[instruction // 2] if 0 <= instruction // 2 < len(lines) else None
    path = "/".join(code.co_filename.replace("\\", "/").split("/")[-2:])
    return f"{path}:{line or code.co_firstlineno} in {code.co_qualname}"


def holders_of(leases: Iterable[Lease], now: float) -> tuple[Holder, ...]:
    """The holders among `leases`, the one with the oldest lease first."""
    grouped: dict[tuple[CodeType, int], list[float]] = {}
    for _slot, since, code, instruction, _waiter, _is_block in leases:
        if code is not None:
            grouped.setdefault((code, instruction), []).append(now - since)
    return tuple(
        sorted(
            (Holder(site_of(*site), len(ages), max(ages), sum(ages)) for site, ages in grouped.items()),
            key=lambda holder: -holder.oldest_s,
        )
    )


def oldest_in_words(holders: Sequence[Holder]) -> str:
    """Who has had a connection for longest, for messages.

    >>> oldest_in_words([Holder("app/views.py:88 in checkout_cart", 6, 41.2, 200.0)])
    'oldest held 41.2 s by app/views.py:88 in checkout_cart (6 connections)'
    """
    oldest = holders[0]
    plural = "s" if oldest.connections != 1 else ""
    return f"oldest held {oldest.oldest_s:.1f} s by {oldest.site} ({oldest.connections} connection{plural})"
