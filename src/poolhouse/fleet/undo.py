"""The values that a change to a fleet may alter and that cannot be derived, kept to undo it if memory runs out.

A datagram changes what one process, one of its pools and its four rows have counted. Those values are saved first;
everything else is derived from the processes (`poolhouse.fleet.standing`). Undoing assigns the saved values, so it
may be repeated if memory runs out in the middle of that, too.
"""

from collections.abc import Callable, Iterable
from functools import cache
from operator import attrgetter
from typing import Any

from poolhouse.fleet.pool import Pool
from poolhouse.fleet.process import Process

#: An object, the names of some attributes, and their values; or a dictionary, keys, and their values.
Kept = tuple[object, tuple[Any, ...], tuple[Any, ...]]

_PROCESS = ("_places", "base_until", "is_ahead", "legacy", "number", "past", "sequence", "signs", "totals")
SEQUENCE = ("_came", "_excused", "_first", "_newest", "expected", "lost")
_POOL = (
    "_durations_samples", "_head", "_samples", "_span", "base", "base_durations", "counts", "durations", "fallen",
    "gauges", "is_ahead", "is_over", "number", "sent",
)  # fmt: skip
_ROW = ("_rate_samples", "_times_samples", "joined", "times", "totals")
_LEGACY = ("_is_counted", "_samples", "counts", "gauges", "risen", "sent")
_ORDER = ("_sent", "_taken_at")
_PAST = ("floor", "older")

_of_process, _of_sequence, _of_pool = attrgetter(*_PROCESS), attrgetter(*SEQUENCE), attrgetter(*_POOL)
_of_row, _of_legacy, _of_order = attrgetter(*_ROW), attrgetter(*_LEGACY), attrgetter(*_ORDER)

#: A process, the key of a pool and that pool, and the saved values of these, of the sequence and of the rows.
Checkpoint = tuple[Process, int | None, Pool | None, tuple[Any, ...]]


def checkpoint(process: Process, key: int | None) -> Checkpoint:
    """What a datagram of the process about this pool may change; takes about 1 µs.

    Args:
        process: The process.
        key: The pool's key; ``None`` if the datagram is about no pool.
    """
    pool = None if key is None else process.pools.get(key)
    sequence, rows = process.sequence, process.rows
    one, two, three, four = rows
    values = (
        _of_process(process),
        sequence and _of_sequence(sequence),
        pool and _of_pool(pool),
        (_of_row(one), _of_row(two), _of_row(three), _of_row(four)),
        rows,
        () if process.legacy is None and process.past is None else _seldom(process),
    )
    return process, key, pool, values


def restore(checkpoint: Checkpoint) -> None:
    """Restore everything."""
    process, key, pool, (of_process, of_sequence, of_pool, of_rows, rows, seldom) = checkpoint
    _assign(process, _PROCESS, of_process)
    if of_sequence is not None:
        _assign(process.sequence, SEQUENCE, of_sequence)
    if key is not None and pool is None:
        process.pools.pop(key, None)
    elif key is not None and pool is not None:
        process.pools[key] = pool
        _assign(pool, _POOL, of_pool)
    for row, values in zip(rows, of_rows, strict=True):
        _assign(row, _ROW, values)
    restore_kept(seldom)


def kept(one: object, *names: str) -> Kept:
    """The present values of these attributes."""
    return one, names, tuple(getattr(one, name) for name in names)


def kept_whole(process: Process) -> list[Kept]:
    """Everything that a process and its rows have counted: another node may report all its pools at once."""
    found = [_all_of(process)]
    found += map(_all_of, process.pools.values())
    if process.sequence is not None:
        found.append(_all_of(process.sequence))
    if (past := process.past) is not None:
        found.append(_all_of(past))
        found += map(_all_of, (*past.accounts.values(), *past.presumed.values()))
    if (legacy := process.legacy) is not None:
        found += map(_all_of, (legacy, legacy._counts_order, legacy._gauges_order))
    return found + [(row, _ROW, _of_row(row)) for row in process.rows]


def _all_of(one: object) -> Kept:
    """All attributes of an object with slots; of a dictionary its items of now."""
    kind: Any = type(one)  # mypy takes no class for hashable
    names, values_of = _slots(kind)
    try:
        values = values_of(one)
    except AttributeError:
        names = tuple(name for name in names if hasattr(one, name))
        values = tuple(getattr(one, name) for name in names)
    return one, names, tuple([value.copy() if type(value) is dict else value for value in values])


@cache
def _slots(kind: type) -> tuple[tuple[str, ...], Callable[[object], tuple[Any, ...]]]:
    """The slots of a class and its bases, and what reads them all at once; it has several."""
    names = tuple(name for base in kind.__mro__ for name in getattr(base, "__slots__", ()))
    return names, attrgetter(*names)


def kept_item(one: dict[Any, Any], key: object) -> Kept:
    """The present value of this item of a dictionary."""
    return one, (key,), (one[key],)


def restore_kept(entries: Iterable[Kept]) -> None:
    """Restore attributes."""
    for one, names, values in entries:
        _assign(one, names, values)


def _seldom(process: Process) -> list[Kept]:
    """The sums of an older client, and the pools that have ended."""
    found: list[Kept] = []
    if (legacy := process.legacy) is not None:
        counts, gauges = legacy._counts_order, legacy._gauges_order
        found = [(legacy, _LEGACY, _of_legacy(legacy)), (counts, _ORDER, _of_order(counts))]
        found.append((gauges, _ORDER, _of_order(gauges)))
    if (past := process.past) is not None:
        found += kept(past, *_PAST), (past, ("accounts",), (past.accounts.copy(),))
    return found


def _assign(one: object, names: tuple[Any, ...], values: tuple[Any, ...]) -> None:
    if isinstance(one, dict):
        one.update(zip(names, values, strict=True))
        return
    for name, value in zip(names, values, strict=True):
        setattr(one, name, value)
