"""Every parameter of the pools: its default, the values it accepts, and one sentence for each mistake.

The constructors, `resize` and `PoolOptions` validate their arguments here. A test compares the signatures of the
four pools and the table of ``docs/reference/pool.md`` with `PARAMETERS`.
"""

from collections.abc import Callable, Mapping
from numbers import Real
from operator import index
from typing import Any, NamedTuple, Protocol

from poolhouse.conceal import conceal


class Values(Protocol):
    """The values that a parameter accepts."""

    @property
    def text(self) -> str:
        """The accepted values, in the words of the reference."""
        ...

    def read(self, name: str, value: Any) -> Any:
        """The value, as the pool uses it.

        Raises:
            ValueError: If the parameter does not accept this number or word.
            TypeError: If the parameter does not accept this type.
        """
        ...


class Count(NamedTuple):
    """Whole numbers."""

    floor: int
    #: The meaning of 0, unless it means "none".
    zero: str = ""

    @property
    def text(self) -> str:
        """See `Values.text`."""
        return f"whole number, at least {self.floor}{self.zero and f'; 0: {self.zero}'}"

    def read(self, name: str, value: Any) -> int:
        """See `Values.read`."""
        try:
            number = index(value)
        except TypeError:
            raise _wrong(f"{name} must be a whole number, not {value!r}", value) from None
        if number < self.floor:
            raise ValueError(_too_small(name, self.floor, value))
        return number


class Seconds(NamedTuple):
    """Durations, from 0 to infinity."""

    zero: str = ""
    is_zero_allowed: bool = True
    is_optional: bool = False

    @property
    def text(self) -> str:
        """See `Values.text`."""
        least = "at least 0" if self.is_zero_allowed else "more than 0"
        return f"seconds, {least}{self.zero and f'; 0: {self.zero}'}{'; or `None`' if self.is_optional else ''}"

    def read(self, name: str, value: Any) -> float | None:
        """See `Values.read`."""
        if value is None and self.is_optional:
            return None
        if not isinstance(value, (int, float, Real)) or value != value:
            raise _wrong(f"{name} must be a number of seconds, not {value!r}", value)
        number = float(value)
        if number < 0:
            raise ValueError(_too_small(name, 0, value))
        if not number and not self.is_zero_allowed:
            raise ValueError(f"{name} must be more than 0, not {value!r}")
        return number


class OneOf(NamedTuple):
    """One of several words."""

    words: tuple[str, ...]

    @property
    def text(self) -> str:
        """See `Values.text`."""
        return " or ".join(f'`"{word}"`' for word in self.words)

    def read(self, name: str, value: Any) -> str:
        """See `Values.read`."""
        if value not in self.words:
            raise _wrong(f"{name} must be {' or '.join(map(repr, self.words))}, not {value!r}", value)
        return str(value)


class Accepted(NamedTuple):
    """Every value that a function accepts."""

    text: str
    accepts: Callable[[Any], bool] = lambda value: True

    def read(self, name: str, value: Any) -> Any:
        """See `Values.read`."""
        if not self.accepts(value):
            raise _wrong(f"{name} must be a {self.text.replace('`', '')}, not {value!r}", value)
        return value


def _too_small(name: str, floor: int, value: Any) -> str:
    # psycopg_pool's wording.
    return (
        f"{name} cannot be negative: {value!r}"
        if floor == 0
        else f"{name} must be at least {floor}, not {value!r}"
    )


def _wrong(sentence: str, value: Any) -> Exception:
    """A `ValueError` for a wrong number, or for a wrong word where words are accepted; otherwise a `TypeError`.

    The value may be what the pool connects with: its passwords are left out.
    """
    kind = ValueError if isinstance(value, (int, float, Real, str)) else TypeError
    return kind(conceal(sentence))


def _is_call(value: Any) -> bool:
    return value is None or callable(value)


_CALL = Accepted("callable, or `None`", _is_call)
_FLAG = Accepted("`True` or `False`")


class Parameter(NamedTuple):
    """One parameter of the constructors."""

    default: Any
    values: Values
    #: The default in null pools, if it differs.
    null_default: Any = None


#: All parameters, in the order of the reference. The drivers validate `conninfo`, `connection_class` and `driver`.
PARAMETERS: dict[str, Parameter] = {
    "conninfo": Parameter("", Accepted("what the driver takes, or a callable")),
    "connection_class": Parameter(None, Accepted("class")),
    "kwargs": Parameter(
        None,
        Accepted("mapping, callable, or `None`", lambda value: isinstance(value, Mapping) or _is_call(value)),
    ),
    "driver": Parameter(None, Accepted("module, `Driver`, or `None`")),
    "min_size": Parameter(4, Count(0), null_default=0),
    "max_size": Parameter(None, Count(0)),
    "open": Parameter(None, Accepted("`True`, `False`, or `None`")),
    "configure": Parameter(None, _CALL),
    "check": Parameter(None, _CALL),
    "check_idle": Parameter(None, Seconds(is_optional=True)),
    "reset": Parameter(None, _CALL),
    "reset_inline": Parameter(False, _FLAG),
    "name": Parameter(None, Accepted("text, or `None`")),
    "close_returns": Parameter(False, _FLAG),
    "timeout": Parameter(30.0, Seconds()),
    "max_waiting": Parameter(0, Count(0, zero="no limit")),
    "max_lifetime": Parameter(3600.0, Seconds(zero="no limit")),
    "max_idle": Parameter(600.0, Seconds(zero="never shrink")),
    "shrink": Parameter("one", OneOf(("one", "all"))),
    "reconnect_timeout": Parameter(300.0, Seconds()),
    "reconnect_failed": Parameter(None, _CALL),
    "num_workers": Parameter(3, Count(1)),
    "idle_order": Parameter("fifo", OneOf(("fifo", "lifo"))),
    "hold_warning": Parameter(None, Seconds(is_zero_allowed=False, is_optional=True)),
    "hooks": Parameter(
        None, Accepted("`PoolHooks`, or `None`", lambda value: value is None or hasattr(value, "timed_out"))
    ),
}


def given(scope: Mapping[str, Any], *more: str) -> dict[str, Any]:
    """The parameters, and those in `more`, from a constructor's ``locals()``."""
    return {name: scope[name] for name in (*PARAMETERS, *more)}


def checked(parameters: Mapping[str, Any], *, is_null: bool) -> dict[str, Any]:
    """A constructor's parameters as the pool uses them; `max_size` is always a number.

    Args:
        parameters: All of them, by name.
        is_null: Whether the pool is a null pool.

    Raises:
        ValueError: If a number or a word is not accepted.
        TypeError: If the type of a value is not accepted.
    """
    min_size, max_size = sized(parameters["min_size"], parameters["max_size"], is_null=is_null)
    parameters = {**parameters, "min_size": min_size, "max_size": max_size}
    values = {name: parameter.values.read(name, parameters[name]) for name, parameter in PARAMETERS.items()}
    if values["check_idle"] is not None and values["check"] is None:
        raise ValueError("check_idle needs a check callback, for example check=ConnectionPool.check_connection")
    return values


def sized(min_size: Any, max_size: Any, *, is_null: bool) -> tuple[int, int]:
    """`min_size` and `max_size` as numbers; a `max_size` of ``None`` becomes `min_size`.

    >>> sized(4, None, is_null=False), sized(0, None, is_null=True)
    ((4, 4), (0, 0))

    Raises:
        ValueError: If the sizes contradict each other or the kind of pool.
        TypeError: If they are not numbers.
    """
    least = PARAMETERS["min_size"].values.read("min_size", min_size)
    most = least if max_size is None else PARAMETERS["max_size"].values.read("max_size", max_size)
    # psycopg_pool's wording.
    if is_null and least:
        raise ValueError("null pools must have min_size = 0")
    if most < least:
        raise ValueError(f"max_size must be greater or equal than min_size, not {most} with min_size {least}")
    if not is_null and most == 0:
        raise ValueError("if min_size is 0 max_size must be greater than 0")
    return least, most
