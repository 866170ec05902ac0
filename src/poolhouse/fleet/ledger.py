"""The ledger of one process: what a node sends to other nodes about it, and what it learns from them.

A pool is known by its key. Ended pools below a floor are summed (`poolhouse.fleet.past`), so a key below another
node's floor that the other does not list has ended there. Then it moves to the sum on this side too, and the
larger of the two sums wins. Only a recently reported pool can be one that the other node has not heard of. If a
summed pool lives after all, its next report counts from its share of the sum (`Past.presumed`).
"""

from typing import TypeAlias

from poolhouse.fleet.account import (
    NO_AMOUNT,
    NOTHING_JOINED,
    Account,
    Amount,
    Joined,
    account_of,
    add,
    amount_of,
    largest,
    less,
    sums_of,
)
from poolhouse.fleet.distribution import NO_DISTRIBUTIONS
from poolhouse.fleet.pool import Pool
from poolhouse.fleet.presence import ENDED, LIVING
from poolhouse.fleet.process import NOT_COMPLETE, Process
from poolhouse.meter.reading import MARKS, REST
from poolhouse.wire.ledger import Entry
from poolhouse.wire.tuples import made

#: By key, another node's accounts of pools, with the amounts that they have counted.
Told: TypeAlias = dict[int, tuple[Account, Amount]]


def entry_of(process: Process, now: float) -> Entry:
    """The process in the form for other nodes."""
    pools = [pool.entry(key) for key, pool in process.pools.items()]
    past = process.past
    if past is not None:
        pools += [account.entry(key) for key, account in past.accounts.items() if key not in process.pools]
    return made(
        Entry,
        (
            *process.key,
            process.state is ENDED,
            process.is_proven,
            max(0.0, now - process.heard_at),
            now - process.born if process.is_born else None,
            process.interval,
            process.uptime,
            process.number if process.number >= 0 else None,
            None if process.base_until == NOT_COMPLETE else int(process.base_until),
            process.lost,
            process.knows,
            process.sent,
            tuple(pools),
            past.floor if past is not None else 0,
            sums_of(past.older) if past is not None and past.floor else None,
            process.legacy.entry() if process.legacy is not None else None,
        ),
    )


def amount_counted(process: Process) -> Amount:
    """What a process has counted, according to its pools."""
    amount = process.past.older if process.past is not None else NO_AMOUNT
    for account in _accounts(process).values():
        amount = add(amount, account.amount())
    return add(amount, (process.legacy.risen, NO_DISTRIBUTIONS)) if process.legacy is not None else amount


def count_all(process: Process) -> Amount:
    """Count what came before a process's base, too; return what that adds."""
    amount = NO_AMOUNT
    for pool in process.pools.values():
        amount = add(amount, pool.count_all())
    for account in process.past.accounts.values() if process.past is not None else ():
        amount = add(amount, account.count_all())
    process.base_until = -1
    return amount


def is_known(process: Process, entry: Entry, most_ended: int) -> bool:
    """Whether another node's entry says what this node has itself, so that only ages can be learned (`join_ages`).

    After a link came up, nearly every entry is like that. False does not mean that there is news: what is rare
    is left to `join`. For `most_ended`, see there.
    """
    past = process.past
    mine = _accounts(process) if past is not None else process.pools
    return (
        (-1 if entry.number is None else entry.number) == process.number
        and entry.is_ended == (process.state is ENDED)
        and entry.lost == process.lost
        and (NOT_COMPLETE if entry.complete_since is None else entry.complete_since) == process.base_until
        and not (entry.knows & ~process.knows or entry.sent & ~process.sent)
        and not entry.floor
        and (past is None or (not past.floor and len(past.accounts) <= most_ended))
        and entry.earlier == (None if process.legacy is None else process.legacy.entry())
        and len(entry.pools) == len(mine)
        and all(told.key in mine and mine[told.key].is_told(told) for told in entry.pools)
        and not any(pool.is_over and pool.gauges for pool in process.pools.values())
    )


def join_ages(process: Process, entry: Entry, now: float) -> None:
    """Take from an entry that is known when its process was heard, and when it began."""
    process.heard_at = max(process.heard_at, now - entry.silent_for)
    if entry.age is not None:
        born = now - entry.age
        process.born = min(process.born, born) if process.is_born else born
    process.lost_elsewhere = max(process.lost_elsewhere, entry.lost)
    if process.state is not LIVING:
        process.is_proven |= entry.is_proven


def join(process: Process, entry: Entry, now: float, most_ended: int) -> Joined:
    """Take another node's entry; the process's rows are not changed.

    Args:
        process: The process.
        entry: The other node's entry.
        now: The aggregator's time.
        most_ended: How many ended pools are kept separately.

    Raises:
        PacketError: If it is too large to be added; nothing is taken then.
    """
    told = {pool.key: account_of(pool) for pool in entry.pools}
    older = amount_of(entry.older) if entry.older is not None else NO_AMOUNT
    earlier = _join_earlier(process, entry, now)  # The last step that can raise.
    if process.legacy is not None and entry.number is not None:
        process.end_legacy()
    floor = process.past.floor if process.past is not None else 0
    number = -1 if entry.number is None else entry.number
    apart = _not_summed(process, number, told)
    joined = earlier.plus(_join_older(process, entry.floor, told, older, apart))
    mine = _accounts(process)
    for key, (other, amount) in told.items():
        if key in mine:
            joined = joined.plus(mine[key].join(other, process.keeps_base))
        elif key >= floor or key == REST or key in apart:
            joined = joined.plus(_adopt(process, key, other, amount))
    for pool in process.pools.values():
        if pool.is_over:
            pool.gauges = 0
    if any(key not in told and account.number <= number for key, account in mine.items()):
        joined = joined._replace(knows_more=True)
    joined = joined.plus(_join_head(process, entry, number, now))
    if process.past is not None:
        process.past.fold(most_ended, process.number)
    return joined


def _accounts(process: Process) -> dict[int, Account]:
    if process.past is None:
        return dict(process.pools)
    return {**process.past.accounts, **process.pools}


def _adopt(process: Process, key: int, account: Account, amount: Amount) -> Joined:
    """Take a pool that this node has not heard of."""
    if process.keeps_base:
        account.base, account.base_durations = account.counts, account.durations
        account.fallen = None
        amount = NO_AMOUNT
    if account.is_over:
        process.obtain_past().accounts[key] = account
    else:
        process.pools[key] = Pool.of(account)
    return Joined(amount, has_learned=True)


def _not_summed(process: Process, number: int, told: Told) -> set[int]:
    """The pools that one side lacks but has not summed, since they were reported lately (`Past.fold`)."""
    mine = _accounts(process)
    found = {key for key, account in mine.items() if key not in told and account.number >= number - MARKS}
    other = process.number - MARKS
    return found | {key for key, (account, _) in told.items() if key not in mine and account.number >= other}


def _join_older(process: Process, floor: int, told: Told, older: Amount, apart: set[int]) -> Joined:
    """Join the sums of old pools, after each side has moved into its sum what the other side has there."""
    my_floor = process.past.floor if process.past is not None else 0
    if not my_floor and not floor:
        return NOTHING_JOINED
    past = process.obtain_past()
    mine = _accounts(process)
    for key, account in mine.items():
        if key < floor and key != REST and key not in told and key not in apart:
            past.older = add(past.older, account.amount())
            if not account.is_over:
                past.presume(key, account)
            past.accounts.pop(key, None)
            process.pools.pop(key, None)
    past.floor = max(my_floor, floor)
    if process.keeps_base:
        return NOTHING_JOINED
    for key, (account, amount) in told.items():
        if key < my_floor and key != REST and key not in mine and key not in apart:
            older = add(older, amount)
            if not account.is_over:
                past.presume(key, account)
    rise = less(older, past.older)
    knows_more = less(past.older, older) != NO_AMOUNT
    past.older = largest(past.older, older)
    return Joined(rise, rise != NO_AMOUNT or floor > my_floor, knows_more)


def _join_earlier(process: Process, entry: Entry, now: float) -> Joined:
    if entry.earlier is None or process.number >= 0:
        return NOTHING_JOINED
    return process.obtain_legacy().join(entry.earlier, now)


def _join_head(process: Process, entry: Entry, number: int, now: float) -> Joined:
    """Join everything except the counts."""
    has_learned = number > process.number or entry.lost > process.lost
    if number > process.number:
        process.skip_to(number, entry.uptime)
    base_until = NOT_COMPLETE if entry.complete_since is None else entry.complete_since
    has_learned |= base_until < process.base_until
    knows_more = process.lost > entry.lost or process.base_until < base_until
    process.base_until = min(process.base_until, base_until)
    join_ages(process, entry, now)
    process.learn(entry.knows, entry.sent)
    return Joined(NO_AMOUNT, has_learned, knows_more)
