"""Records that are no sequences: they may hold secrets, and they leave the library."""

from collections.abc import Collection
from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(frozen_default=True)
class Record:
    """A subclass lists its fields with their types and defaults, as a named tuple does, and has the same `repr`.

    A named tuple is a sequence. Whatever shows the variables of a program, as Sentry does with an error, goes
    through sequences and shows their items; of any other object it shows the `repr`. A logger formats a tuple as
    several values, and a web framework takes one for a body and a status.

    A dataclass does the same, but takes a millisecond of each start.

    >>> class Login(Record, hidden=("password",)):
    ...     user: str
    ...     password: str = ""
    >>> Login("monitor", "secret"), Login("monitor") == Login(user="monitor").replace(password="")
    (Login(user='monitor'), True)
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}
    _hidden: ClassVar[Collection[str]] = ()

    def __init_subclass__(cls, *, hidden: Collection[str] = ()) -> None:
        """Take the fields of a subclass; the `hidden` ones are not in its `repr`."""
        super().__init_subclass__()
        cls._fields = tuple(cls.__annotations__)
        cls._defaults = {name: value for name, value in vars(cls).items() if name in cls._fields}
        cls._hidden = hidden

    def __init__(self, *values: object, **named: object) -> None:
        """Take the values of the fields, in order or by name."""
        fields = self._fields
        given = {**self._defaults, **dict(zip(fields, values, strict=False)), **named}
        if len(values) > len(fields) or given.keys() != set(fields):
            raise TypeError(f"{type(self).__name__} needs {', '.join(fields)}")
        vars(self).update((name, given[name]) for name in fields)

    def replace(self, **changes: object) -> Self:
        """The same record with other values of some fields."""
        return type(self)(**{**vars(self), **changes})

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse a change."""
        raise AttributeError(f"{type(self).__name__} does not change: {name}")

    def __eq__(self, other: object) -> bool:
        """Whether the other is of this type, with the same values."""
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        """The hash of its values."""
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        """Its fields, without those that are hidden."""
        shown = (f"{name}={value!r}" for name, value in vars(self).items() if name not in self._hidden)
        return f"{type(self).__name__}({', '.join(shown)})"
