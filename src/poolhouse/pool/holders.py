"""Who holds connections: leases grouped by the line of code that took them, resolved only when shown."""

from collections.abc import Iterable, Mapping, Sequence
from types import CodeType
from typing import NamedTuple

from poolhouse.meter.signs import VIA
from poolhouse.pool.slot import Lease
from poolhouse.sites.words import CallSite, site_of


class Holder(NamedTuple):
    """One line of code that has connections checked out."""

    #: For example ``app/views.py:88 in checkout_cart``.
    site: str
    #: How many connections it holds now.
    connections: int
    #: How long it has held the oldest of them, in seconds.
    oldest_s: float
    #: The sum of the hold times of its connections, in seconds.
    total_s: float


def holders_of(
    leases: Iterable[Lease], now: float, helpers: Mapping[tuple[int, int], CallSite]
) -> tuple[Holder, ...]:
    """The holders among `leases`, the one with the oldest lease first.

    Args:
        leases: The leases of connections that are out.
        now: Monotonic seconds.
        helpers: The lines of helpers that take connections for others, by the identity of the others' code and
            their instructions.
    """
    grouped: dict[tuple[CodeType, int], list[float]] = {}
    for _slot, since, code, instruction, _waiter, _is_block in leases:
        if code is not None:
            grouped.setdefault((code, instruction), []).append(now - since)
    return tuple(
        sorted(
            (Holder(in_words(site, helpers), len(ages), max(ages), sum(ages)) for site, ages in grouped.items()),
            key=lambda holder: -holder.oldest_s,
        )
    )


def in_words(site: CallSite, helpers: Mapping[tuple[int, int], CallSite]) -> str:
    """A line in words, with that of the helper through which it takes connections, if there is one."""
    helper = helpers.get((id(site[0]), site[1]))
    return site_of(*site) if helper is None else f"{site_of(*site)}{VIA}{site_of(*helper)}"


def oldest_in_words(holders: Sequence[Holder]) -> str:
    """The holder of the oldest lease, worded for messages.

    >>> oldest_in_words([Holder("app/views.py:88 in checkout_cart", 6, 41.2, 200.0)])
    'oldest held 41.2 s by app/views.py:88 in checkout_cart (6 connections)'
    """
    oldest = holders[0]
    plural = "s" if oldest.connections != 1 else ""
    return f"oldest held {oldest.oldest_s:.1f} s by {oldest.site} ({oldest.connections} connection{plural})"
