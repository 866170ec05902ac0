"""Typed values to JSON's types and back, according to their type annotations.

A named tuple becomes the list of its fields in order; a field that a newer sender appends is
ignored, one that an older sender does not know keeps its default. A `Histogram` becomes
``[scale, zero, sum_ns, max_ns, first, counts…]`` without the empty buckets at either end. A number that is not
finite counts as unknown: ``None``.

What is read back is checked against the annotation, so that whatever a peer sends, a reader gets either values of
the promised types or a `PacketError`.
"""

from collections.abc import Callable
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from poolhouse.errors import PacketError
from poolhouse.meter.histogram import Histogram, bucket_count

#: Whole numbers beyond this are not counts. (A large fleet's nanoseconds exceed 2**63 within a day.)
LARGEST = 1 << 100
_SCALES = range(-1, 4)

Converter = Callable[[Any], Any]


@cache
def encoder(kind: Any) -> Converter:
    """A function from values of the annotated type `kind` to JSON's lists, numbers, texts and ``None``."""
    if kind is float:
        return _encode_float
    if kind is Histogram:
        return _encode_histogram
    if kind in (int, str, bool):
        return _same
    if optional := _optional(kind):
        inner = encoder(optional)
        return lambda value: None if value is None else inner(value)
    if element := _element(kind):
        return _encode_each(encoder(element))
    if get_origin(kind) is tuple:
        return _encode_row([encoder(one) for one in get_args(kind)])
    inners = [(name, encoder(hint)) for name, hint, _ in _fields(kind)]
    return lambda value: [inner(getattr(value, name)) for name, inner in inners]


@cache
def decoder(kind: Any) -> Converter:
    """The inverse of `encoder`; the function raises `PacketError` for anything else."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    if optional := _optional(kind):
        inner = decoder(optional)
        return lambda value: None if value is None else inner(value)
    if element := _element(kind):
        return _decode_each(decoder(element))
    if get_origin(kind) is tuple:
        parts = [decoder(one) for one in get_args(kind)]
        return _decode_row(parts, len(parts), lambda *items: items)
    known = _fields(kind)
    return _decode_row([decoder(hint) for _, hint, _ in known], sum(needed for _, _, needed in known), kind)


def _optional(kind: Any) -> Any:
    """X of ``X | None``."""
    if get_origin(kind) not in (UnionType, Union):
        return None
    (inner,) = (one for one in get_args(kind) if one is not NoneType)
    return inner


def _element(kind: Any) -> Any:
    """X of ``tuple[X, ...]``."""
    arguments = get_args(kind)
    return arguments[0] if get_origin(kind) is tuple and arguments[-1] is Ellipsis else None


@cache
def _fields(kind: Any) -> list[tuple[str, Any, bool]]:
    """Each field's name, its annotation, and whether it is required for lack of a default."""
    hints = field_types(kind)
    return [(name, hints[name], name not in kind._field_defaults) for name in kind._fields]


def field_types(kind: Any) -> dict[str, Any]:
    """The annotation of each field; in a subclass of ``Base[X]``, X replaces the type variable of ``Base``."""
    hints = get_type_hints(kind)
    arguments = [argument for base in getattr(kind, "__orig_bases__", ()) for argument in get_args(base)]
    if not arguments:
        return hints
    return {name: hint[*arguments] if _is_generic(hint) else hint for name, hint in hints.items()}


def _is_generic(hint: Any) -> bool:
    return bool(getattr(hint, "__parameters__", ()))


def _same(value: Any) -> Any:
    return value


def _encode_float(value: float) -> float | None:
    return value if isfinite(value) else None


def _encode_histogram(histogram: Histogram) -> list[int]:
    counts = histogram.counts
    used = [index for index, count in enumerate(counts) if count]
    first, end = (used[0], used[-1] + 1) if used else (0, 0)
    head = [histogram.scale, histogram.zero, histogram.sum_ns, histogram.max_ns, first]
    return head + counts[first:end]


def _encode_each(inner: Converter) -> Converter:
    return lambda values: [inner(value) for value in values]


def _encode_row(inners: list[Converter]) -> Converter:
    return lambda values: [inner(value) for inner, value in zip(inners, values, strict=True)]


def _decode_each(inner: Converter) -> Converter:
    return lambda values: tuple(inner(value) for value in _list(values))


def _decode_row(inners: list[Converter], needed: int, make: Callable[..., Any]) -> Converter:
    def decode(values: Any) -> Any:
        items = _list(values)
        if len(items) < needed:
            raise PacketError(f"{len(items)} fields where {needed} belong")
        return make(*(inner(item) for inner, item in zip(inners, items, strict=False)))

    return decode


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise PacketError(f"{type(value).__name__} where a list belongs")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int or not -LARGEST <= value < LARGEST:
        raise PacketError(f"{value!r:.40} where a whole number belongs")
    return value


def _float(value: Any) -> float:
    if type(value) is not float:
        return float(_integer(value))
    if not isfinite(value):
        raise PacketError(f"{value!r} where a number belongs")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise PacketError(f"{value!r:.40} where a text belongs")
    return value.encode("utf-8", "replace").decode()  # A lone surrogate could not be printed.


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise PacketError(f"{value!r:.40} where true or false belongs")
    return value


def _histogram(value: Any) -> Histogram:
    numbers = [_integer(item) for item in _list(value)]
    if len(numbers) < 5 or numbers[0] not in _SCALES or min(numbers[1:]) < 0:
        raise PacketError("not a histogram")
    scale, zero, sum_ns, max_ns, first = numbers[:5]
    counts, size = numbers[5:], bucket_count(scale)
    if first + len(counts) > size:
        raise PacketError(f"a histogram with bucket {first + len(counts)} of {size}")
    histogram = Histogram(scale)
    histogram.zero, histogram.sum_ns, histogram.max_ns = zero, sum_ns, max_ns
    histogram.counts[first : first + len(counts)] = counts
    return histogram


_SCALARS: dict[Any, Converter] = {
    int: _integer,
    float: _float,
    str: _text,
    bool: _truth,
    Histogram: _histogram,
}
