"""The connections of one pool, examined instead of counted.

SQLAlchemy's events do not add up: some connections end without an event, some with two, and some events are for
connections that were never opened. So no event adds or subtracts anything. Instead, weak references to the pool's
records are kept, and each report examines them: closed without ``dbapi_connection``, used with ``in_use``, else
idle.
"""

import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

#: A connection record of SQLAlchemy, ``_ConnectionRecord`` or ``ConnectionPoolEntry``.
Record = Any


class Look(NamedTuple):
    """The numbers of connections that an examination of the records found."""

    idle: int
    used: int
    detached: int


class LiveSet:
    """A set of weak references. Any thread may call any method at any time.

    The references remove themselves, as in ``weakref.WeakSet``. But a WeakSet is iterated in many steps; this one
    is copied in a single step, which neither another thread nor the garbage collector can interrupt.
    """

    def __init__(self) -> None:
        #: A dictionary, because `setdefault` shows which of several threads was the first to add an item.
        self._references: dict[weakref.ref[Any], object] = {}

    def add(self, item: Any) -> bool:
        """Add an item for as long as it lives. True if it was not in the set."""
        mark = object()
        return self._references.setdefault(weakref.ref(item, self._forget), mark) is mark

    def discard(self, item: Any) -> None:
        """Remove an item."""
        self._references.pop(weakref.ref(item), None)

    def _forget(self, reference: "weakref.ref[Any]") -> None:
        self._references.pop(reference, None)

    def clear(self) -> None:
        """Remove all items."""
        self._references.clear()

    def __contains__(self, item: Any) -> bool:
        return weakref.ref(item) in self._references

    def __bool__(self) -> bool:
        return bool(self._references)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the items that are alive."""
        return iter([item for reference in list(self._references) if (item := reference()) is not None])


class Records(LiveSet):
    """The connection records of a pool, and its detached connections."""

    def __init__(self) -> None:
        super().__init__()
        self._detached: set[Detached] = set()

    def clear(self) -> None:
        """Remove all records and detached connections."""
        super().clear()
        self._detached.clear()

    def detach(self, connection: Any, fairy_ref: "weakref.ref[Any] | None") -> None:
        """Record that a connection has left its record for good.

        Args:
            connection: The DBAPI connection.
            fairy_ref: A reference to the application's proxy; ``None`` if it is not known.
        """
        self._detached.add(Detached(connection, fairy_ref))

    def close_detached(self, connection: Any) -> None:
        """Record that a detached connection is being closed."""
        for detached in self._detached.copy():
            if detached.is_of(connection):
                self._detached.discard(detached)

    def look(self) -> Look:
        """The present numbers.

        Records are read first: a connection that is detached meanwhile is then seen twice. Read last, it could be
        missed, and would count as closed.
        """
        idle = used = 0
        for record in self:
            if record.dbapi_connection is not None:
                if record.in_use:
                    used += 1
                else:
                    idle += 1
        for detached in self._detached.copy():
            if not detached.is_open():
                self._detached.discard(detached)
        return Look(idle, used, len(self._detached))


class Detached:
    """One detached connection.

    Its end has an event only if it is closed in order. So it counts as open as long as the application's proxy
    lives and still holds it; once the proxy is gone, as long as anything keeps the driver's connection itself
    alive. (``sqlite3`` and the asyncio adapters allow no weak references: only the proxy counts there.)
    """

    __slots__ = ("_connection_ref", "_fairy_ref")

    def __init__(self, connection: Any, fairy_ref: "weakref.ref[Any] | None") -> None:
        self._fairy_ref = fairy_ref
        self._connection_ref = _weak(connection) or _weak(getattr(connection, "driver_connection", None))

    def is_open(self) -> bool:
        """Whether the connection is still open."""
        fairy = None if self._fairy_ref is None else self._fairy_ref()
        if fairy is not None:
            return fairy.dbapi_connection is not None
        return self._connection_ref is not None and self._connection_ref() is not None

    def is_of(self, connection: Any) -> bool:
        """Whether this is the given DBAPI connection."""
        fairy = None if self._fairy_ref is None else self._fairy_ref()
        if fairy is not None and fairy.dbapi_connection is connection:
            return True
        mine = None if self._connection_ref is None else self._connection_ref()
        # By identity, as a driver may define "==".
        return mine is not None and (mine is connection or mine is getattr(connection, "driver_connection", None))


def _weak(value: Any) -> "weakref.ref[Any] | None":
    try:
        return None if value is None else weakref.ref(value)
    except TypeError:
        return None
