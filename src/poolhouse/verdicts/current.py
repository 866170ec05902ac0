"""The verdicts that stand for the pools of this process, for the errors that its callers get.

The examination of the process stores them here, by pool; a pool does not know whether there is an examination.
Setting and getting an entry of a dictionary are steps that no other thread can interrupt.
"""

import weakref
from collections.abc import MutableMapping, Sequence
from typing import Any

from poolhouse.verdicts.verdict import Verdict

_verdicts: "MutableMapping[Any, tuple[Verdict, ...]]" = weakref.WeakKeyDictionary()


def tell(pool: Any, verdicts: Sequence[Verdict]) -> None:
    """Store the standing verdicts on a pool, the main one first. Keeps no pool alive."""
    if verdicts:
        _verdicts[pool] = tuple(verdicts)
    else:
        _verdicts.pop(pool, None)


def main_of(pool: Any) -> Verdict | None:
    """The main verdict on a pool; ``None`` if there is none, or if this process is not examined. Never raises."""
    try:
        verdicts = _verdicts.get(pool)
    except Exception:  # A pool of another kind, which allows no weak reference.
        return None
    return verdicts[0] if verdicts else None
