"""Every exception that poolhouse raises, in one tree.

::

    PoolhouseError
    ├── PoolError
    │   ├── PoolClosed       the pool is not open yet, or closed
    │   ├── PoolTimeout      no connection in time; names the holders
    │   └── TooManyRequests  the queue of waiting clients is full
    ├── PacketError      a datagram is malformed: the sender's fault   (also a ValueError)
    │   └── SealError        its signature or its encryption is not acceptable
    └── SettingError     a setting is wrong: the message names it      (also a ValueError)

Each of them survives `pickle` and `copy` with its fields, so a task of a `ProcessPoolExecutor` may raise it.
"""

from contextlib import suppress
from copy import deepcopy
from typing import Any, NamedTuple, Self, TypeVar

from poolhouse.conceal import conceal

E = TypeVar("E", bound="PoolhouseError")


class PoolhouseError(Exception):
    """Base of every exception of poolhouse."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Class, arguments and fields for `pickle`; each value is pickled by itself.

        A driver's error, or an attribute set by the application, may fail to pickle here or to unpickle there.
        Such a value arrives as its text; every other value arrives unchanged.
        """
        error, base = _PARTS.get(type(self), (type(self), None))
        fields = {name: _pack(value) for name, value in vars(self).items()}
        return _unpacked, (error, _pack(base), [_pack(argument) for argument in self.args], fields)

    def __copy__(self) -> Self:
        """The same error again, without its traceback; the fields are the same objects."""
        return _remade(type(self), self.args, vars(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Like `__copy__`, but the fields are copied too, where they can be."""
        made = memo[id(self)] = self.__copy__()
        for name, value in vars(self).items():
            with suppress(Exception):
                setattr(made, name, deepcopy(value, memo))
        return made


class PacketError(PoolhouseError, ValueError):
    """A datagram is malformed.

    Attributes:
        offset: Where the malformed part begins, in bytes from the start of the datagram; ``None`` if it is the
            whole, or if nothing is malformed, but unexpected.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at byte {offset})")
        self.offset = offset


class SealError(PacketError):
    """A datagram's signature or encryption is wrong, or weaker than the receiver requires.

    Attributes:
        reason: Why, as one of `poolhouse.wire.seal.Reason`.
    """

    def __init__(
        self, message: str, offset: int | None, reason: Any
    ) -> None:  # Any: errors import nothing of the wire.
        super().__init__(message, offset)
        self.reason = reason


class SettingError(PoolhouseError, ValueError):
    """A setting has a value it cannot have, or does not exist; the message has no password of a URL in it.

    Attributes:
        setting: Its name as the user typed it, for example ``collectd_port``.
    """

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {conceal(message)}")
        self.setting = setting


class PoolError(PoolhouseError):
    """Base of the pools' exceptions. With psycopg they are also `psycopg.OperationalError`."""


class PoolClosed(PoolError):
    """Attempt to get a connection from a pool that is not open."""


class PoolTimeout(PoolError):
    """The pool could not provide a connection in time.

    Attributes:
        waited: How long the client waited, in seconds; ``None`` if no client was waiting (the pool did not fill).
        size: Connections of the pool, including those being made.
        max_size: The most connections that it may have; 0 for no limit.
        in_use: Connections checked out by clients.
        waiting: Other clients that are waiting.
        holders: The lines of code that hold connections (`poolhouse.pool.holders.Holder`), the oldest lease first.
        connect_error: The error of the last attempt to connect, if connecting fails at present.
        verdict: What is wrong with the pool (`poolhouse.verdicts.verdict.Verdict`); ``None`` if the process does
            not report, or if nothing is found.
    """

    def __init__(
        self,
        message: str = "",
        *,
        waited: float | None = None,
        size: int = 0,
        max_size: int = 0,
        in_use: int = 0,
        waiting: int = 0,
        holders: tuple[Any, ...] = (),  # Any: errors import nothing of the pool.
        connect_error: BaseException | None = None,
        verdict: Any = None,
    ) -> None:
        super().__init__(message)
        self.waited = waited
        self.size = size
        self.max_size = max_size
        self.in_use = in_use
        self.waiting = waiting
        self.holders = holders
        self.connect_error = connect_error
        self.verdict = verdict


class TooManyRequests(PoolError):
    """`max_waiting` clients are already waiting for a connection."""


#: The classes made by `also`, by their parts, and the parts by class.
_MIXED: dict[tuple[type[Any], type[Exception]], type[Any]] = {}
_PARTS: dict[type, tuple[type[Any], type[Exception]]] = {}


def also(error: type[E], base: type[Exception]) -> type[E]:
    """A class of ours that ``except base`` also catches; the same arguments always give the same class.

    Args:
        error: A class of ours.
        base: A class of a driver, for example ``psycopg.OperationalError``.
    """
    parts = error, base
    made = _MIXED.get(parts)
    if made is None:
        namespace = {"__doc__": error.__doc__, "__module__": error.__module__}
        new: type[Any] = type(error.__name__, parts, namespace)
        _PARTS[new] = parts
        made = _MIXED.setdefault(parts, new)  # Another thread may have been first.
    return made


def _remade(kind: type[E], arguments: tuple[Any, ...], fields: dict[str, Any]) -> E:
    """An error with these arguments and fields, made without ``__init__``: a subclass may take other arguments."""
    made = kind.__new__(kind, *arguments)
    made.args = arguments
    vars(made).update(fields)
    return made


def _unpacked(error: type[E], base: "_Packed", arguments: "list[_Packed]", fields: "dict[str, _Packed]") -> E:
    """Rebuild an error that `PoolhouseError.__reduce__` took apart; without `base` if that cannot be imported."""
    driver = _unpack(base)
    kind = also(error, driver) if isinstance(driver, type) else error
    values = {name: _unpack(packed) for name, packed in fields.items()}
    return _remade(kind, tuple(map(_unpack, arguments)), values)


class _Packed(NamedTuple):
    """A value on its way to another process."""

    #: Its pickle; ``None`` if it cannot be pickled.
    pickled: bytes | None
    #: The substitute if it cannot be unpickled: a class, and its argument.
    kind: type[Any]
    text: str


def _pack(value: Any) -> _Packed:
    import pickle  # Imported here: most programs never send an error to another process.

    pickled, text = None, type(value).__qualname__
    with suppress(Exception):
        pickled = pickle.dumps(value)
    if isinstance(value, BaseException):
        with suppress(Exception):
            text = f"{text}: {value}"
        return _Packed(pickled, PoolhouseError, text)
    with suppress(Exception):
        text = repr(value)
    return _Packed(pickled, str, text)


def _unpack(packed: _Packed) -> Any:
    import pickle

    if packed.pickled is not None:
        with suppress(Exception):
            return pickle.loads(packed.pickled)
    return packed.kind(packed.text)
