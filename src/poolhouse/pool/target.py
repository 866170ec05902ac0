"""What a pool connects with. A program may change it while the pool is open: passwords are changed."""

from typing import Any

from poolhouse.pool.parameters import PARAMETERS


class Target:
    """What the next connection is made with; the pool and its work share it."""

    __slots__ = ("conninfo", "kwargs")

    def __init__(self, conninfo: Any, kwargs: Any) -> None:
        self.conninfo = conninfo
        self.kwargs = kwargs


class TargetSetting:
    """An attribute of pools that is kept in their `Target`. It accepts what the constructor accepts."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, pool: Any, kind: type) -> Any:
        """The present value."""
        return self if pool is None else getattr(pool._target, self._name)

    def __set__(self, pool: Any, value: Any) -> None:
        """Use another value for the next connections.

        Raises:
            ValueError: As the constructor.
            TypeError: As the constructor.
        """
        setattr(pool._target, self._name, PARAMETERS[self._name].values.read(self._name, value))
