"""The parameters of the pools: told once, and held against constructors, `resize` and the reference."""

import inspect
import re
from math import inf, nan
from typing import Any

import pytest

import poolhouse
from poolhouse.pool.hooks import PoolHooks
from poolhouse.pool.options import PoolOptions
from poolhouse.pool.parameters import PARAMETERS
from support.paths import TESTS
from support.pool_shells import async_connection_class, sync_connection_class

PAGE = TESTS.parent / "docs" / "reference" / "pool.md"
HEADER = "| parameter | default | values | meaning |\n|---|---|---|---|\n"

POOLS = ("ConnectionPool", "AsyncConnectionPool", "NullConnectionPool", "AsyncNullConnectionPool")
#: What the constructors of pools for tests in virtual time take beside the parameters.
VIRTUAL = {"clock", "threads"}
#: Defaults that the reference tells in words, since `None` stands for them.
IN_WORDS = {"connection_class": "psycopg's", "max_size": "`min_size`", "name": "`pool-N`"}


def _pool(name: str, **parameters: Any) -> Any:
    connection_class = async_connection_class() if "Async" in name else sync_connection_class(lambda seconds: None)
    parameters.setdefault("connection_class", connection_class)
    return getattr(poolhouse, name)(open=False, **parameters)


@pytest.mark.parametrize("name", POOLS)
def test_every_constructor_has_every_parameter_with_its_default(name: str) -> None:
    signature = inspect.signature(getattr(poolhouse, name).__init__).parameters
    assert signature.keys() - {"self"} - VIRTUAL == PARAMETERS.keys()
    for parameter, told in PARAMETERS.items():
        is_other = "Null" in name and told.null_default is not None
        assert signature[parameter].default == (told.null_default if is_other else told.default), parameter


def test_what_the_core_is_told_has_the_same_defaults() -> None:
    options = PoolOptions()
    for parameter, told in PARAMETERS.items():
        if hasattr(options, parameter) and parameter != "max_size":
            assert getattr(options, parameter) == told.default, parameter


def test_the_reference_tells_every_parameter_its_default_and_its_values() -> None:
    table = PAGE.read_text().partition(HEADER)[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in re.split(r" \| ", row.strip("| "))] for row in table.splitlines()]
    assert [row[0] for row in rows] == [f"`{name}`" for name in PARAMETERS]
    for (name, told), row in zip(PARAMETERS.items(), rows, strict=True):
        default = f"{told.default:g}" if type(told.default) in (int, float) else f"`{told.default!r}`"
        default = default.replace("'", '"')
        if told.null_default is not None:
            default += f" (null: {told.null_default})"
        assert row[1] == IN_WORDS.get(name, default), name
        assert row[2] == told.values.text, name
        assert row[3], name


#: A value, and the sentence; for each kind of mistake, and all parameters of that kind.
WRONG: list[tuple[str, Any, type[Exception], str]] = [
    *(
        (name, value, ValueError, f"{name} must be a whole number, not {value!r}")
        for name in ("min_size", "max_size", "max_waiting", "num_workers")
        for value in (1.5, inf, nan, "2")
    ),
    *(
        (name, [1], TypeError, rf"{name} must be a whole number, not \[1\]")
        for name in ("min_size", "max_size", "max_waiting", "num_workers")
    ),
    ("min_size", None, TypeError, "min_size must be a whole number, not None"),
    ("min_size", -1, ValueError, "min_size cannot be negative: -1"),
    ("max_size", -1, ValueError, "max_size cannot be negative: -1"),
    ("max_waiting", -1, ValueError, "max_waiting cannot be negative: -1"),
    ("num_workers", 0, ValueError, "num_workers must be at least 1, not 0"),
    *(
        (name, value, ValueError, sentence)
        for name in ("timeout", "max_lifetime", "max_idle", "reconnect_timeout", "check_idle", "hold_warning")
        for value, sentence in (
            (-1, f"{name} cannot be negative: -1"),
            (-inf, f"{name} cannot be negative: -inf"),
            (nan, f"{name} must be a number of seconds, not nan"),
            ("30", f"{name} must be a number of seconds, not '30'"),
        )
    ),
    *(
        (name, None, TypeError, f"{name} must be a number of seconds, not None")
        for name in ("timeout", "max_lifetime", "max_idle", "reconnect_timeout")
    ),
    ("hold_warning", 0, ValueError, "hold_warning must be more than 0, not 0"),
    ("idle_order", "filo", ValueError, "idle_order must be 'fifo' or 'lifo', not 'filo'"),
    ("idle_order", None, TypeError, "idle_order must be 'fifo' or 'lifo', not None"),
    ("shrink", "some", ValueError, "shrink must be 'one' or 'all', not 'some'"),
    *(
        (name, value, error, f"{name} must be a callable, or None, not")
        for name in ("configure", "check", "reset", "reconnect_failed")
        for value, error in ((5, ValueError), ([], TypeError))
    ),
    ("kwargs", [("a", 1)], TypeError, "kwargs must be a mapping, callable, or None, not"),
    ("hooks", {"closed": print}, TypeError, "hooks must be a PoolHooks, or None, not"),
]


@pytest.mark.parametrize(("parameter", "value", "error", "sentence"), WRONG)
@pytest.mark.parametrize("name", POOLS)
def test_a_wrong_value_is_refused_by_every_pool_in_a_sentence(
    name: str, parameter: str, value: Any, error: type[Exception], sentence: str
) -> None:
    parameters: dict[str, Any] = {parameter: value}
    if parameter == "check_idle":
        parameters["check"] = print
    with pytest.raises(error, match=f"^{sentence}"):
        _pool(name, **parameters)


@pytest.mark.parametrize("name", POOLS)
def test_what_can_be_is_accepted(name: str) -> None:
    durations = ("timeout", "max_lifetime", "max_idle", "reconnect_timeout", "check_idle")
    for value in (0, 0.25, inf, True):
        pool = _pool(name, check=print, **dict.fromkeys(durations, value))
        assert (pool.timeout, pool.max_lifetime, pool.max_idle) == (value, value, value)
    _pool(name, hooks=PoolHooks(), kwargs=dict, hold_warning=0.001, max_size=2**40, max_waiting=2**40)


#: What a pool connects with, passed in the wrong place.
SECRETS = ("postgresql://me:s3cret@db/shop", {"host": "db", "password": "s3cret's"})
ACCEPT_ANYTHING = {"conninfo", "name", "open", "close_returns", "reset_inline"}


@pytest.mark.parametrize("value", [*SECRETS, [SECRETS[0]], [SECRETS[1]]], ids=["URL", "dict", "URLs", "dicts"])
@pytest.mark.parametrize("name", [name for name in PARAMETERS if name not in ACCEPT_ANYTHING])
@pytest.mark.parametrize("pool", POOLS)
def test_a_refusal_repeats_no_password(pool: str, name: str, value: Any) -> None:
    if name == "kwargs" and isinstance(value, dict):
        return
    with pytest.raises((TypeError, ValueError), match="…") as caught:
        _pool(pool, **{name: value})
    assert "s3cret" not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_check_idle_needs_a_check() -> None:
    for name in POOLS:
        with pytest.raises(ValueError, match="check_idle needs a check callback"):
            _pool(name, check_idle=1.0)


@pytest.mark.parametrize("sizes", [(1.5, None), (2, 1), (-1, None), (0, 0), (nan, 4), (2, inf)])
def test_resize_refuses_what_the_constructor_refuses_and_changes_nothing(sizes: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError) as of_constructor:
        _pool("ConnectionPool", min_size=sizes[0], max_size=sizes[1])
    pool = _pool("ConnectionPool", min_size=2, max_size=3)
    with pytest.raises(ValueError) as of_resize:
        pool.resize(*sizes)
    assert str(of_resize.value) == str(of_constructor.value)
    assert (pool.min_size, pool.max_size) == (2, 3)
