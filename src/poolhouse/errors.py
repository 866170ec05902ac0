"""Every exception that poolhouse raises, in one tree.

::

    PoolhouseError
    ├── PoolError
    │   ├── PoolClosed       the pool is not open yet, or closed
    │   ├── PoolTimeout      no connection in time; says who has them
    │   └── TooManyRequests  as many clients wait as may
    ├── PacketError      a datagram is malformed: the sender's fault   (also a ValueError)
    └── SettingError     a setting is wrong: the message names it      (also a ValueError)
"""

from typing import Any


class PoolhouseError(Exception):
    """Base of every exception of poolhouse."""


class PacketError(PoolhouseError, ValueError):
    """A datagram is malformed.

    Attributes:
        offset: Where the malformed part begins, in bytes from the start of the datagram.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (at byte {offset})")
        self.offset = offset


class SettingError(PoolhouseError, ValueError):
    """A setting has a value it cannot have, or does not exist.

    Attributes:
        setting: Its name as the user typed it, for example ``collectd_port``.
    """

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting


class PoolError(PoolhouseError):
    """Base of what the pools raise. Where the driver is psycopg, also a `psycopg.OperationalError`."""


class PoolClosed(PoolError):
    """Attempt to get a connection from a pool that is not open."""


class PoolTimeout(PoolError):
    """The pool could not provide a connection in time.

    Attributes:
        waited: How long the client waited, in seconds; ``None`` where it was not a client that waited.
        size: Connections of the pool, those being made included.
        max_size: How many it may have; 0 for no limit.
        in_use: How many of them clients have.
        waiting: How many further clients wait.
        holders: Who has them (`poolhouse.pool.holders.Holder`), the oldest lease first.
        connect_error: What the last attempt to connect raised, if connecting fails at present.
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
    ) -> None:
        super().__init__(message)
        self.waited = waited
        self.size = size
        self.max_size = max_size
        self.in_use = in_use
        self.waiting = waiting
        self.holders = holders
        self.connect_error = connect_error


class TooManyRequests(PoolError):
    """As many clients wait for a connection as `max_waiting` allows."""
