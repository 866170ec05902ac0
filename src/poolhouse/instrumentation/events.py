"""Listening to events of SQLAlchemy while other threads use the engine.

``sqlalchemy.event.listen`` appends a listener to a deque. If another thread iterates over that deque because it is
connecting, its ``connect()`` raises ``RuntimeError: deque mutated during iteration``. So this replaces the deque
with a new one, and the other thread finishes with the old one.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from sqlalchemy import event


def listen(target: Any, name: str, listener: Callable[..., None], *, first: bool = False) -> None:
    """Have `listener` called at an event of an engine or a pool from now on.

    Args:
        target: An ``Engine`` or a ``Pool``, in use or not.
        name: The event's name.
        listener: Takes the event's arguments in their present form. ``sqlalchemy.event`` does not know it and
            cannot remove it.
        first: Call it before the existing listeners instead of after them.
    """
    dispatch = target.dispatch
    collection = getattr(dispatch, name).for_modify(dispatch)
    old = getattr(collection, "listeners", None)
    if type(old) is not deque:  # This version of SQLAlchemy keeps them differently.
        event.listen(target, name, listener, insert=first)
        return
    if getattr(target, "_is_asyncio", False):
        getattr(collection, "_set_asyncio", _nothing)()
    new = old.copy()
    if first:
        new.appendleft(listener)
    else:
        new.append(listener)
    collection.listeners = new
    # Keep listeners that the application has added meanwhile.
    new.extend([late for late in old.copy() if late not in new])
    if hasattr(target, "_has_events"):
        target._has_events = True


def _nothing() -> None:
    """Replaces a method that this version of SQLAlchemy does not have."""
