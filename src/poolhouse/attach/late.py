"""Attaches to a program that is already running: its existing pools, and those that it makes from now on."""

import gc
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from poolhouse.attach.finder import call, installed, start
from poolhouse.attach.targets import TARGETS


def attach(way: str) -> bool:
    """Attach to this process, including its existing pools. Returns whether that was allowed.

    Args:
        way: How poolhouse got here, in words.
    """
    if start(way) is None:
        return False
    if imported := _imported():
        for pool, handler in instances(gc.get_objects(), imported):
            call(handler, pool)
    return True


def attach_for(reader: str) -> None:
    """Attach to this process for other code in it that reads all pools, ours included.

    They are reported nowhere unless a destination is set or this process was attached to before. If the
    environment sets a wrong one, that is logged, and our own pools are not read.

    Args:
        reader: The package that reads; its logger has the same name.
    """
    from poolhouse.errors import SettingError
    from poolhouse.instrumentation import pools
    from poolhouse.pool import registry
    from poolhouse.report import reporter, unsent
    from poolhouse.safely import ERROR, Log

    if installed() is None:  # If something attached before, it wants reports.
        unsent.send_nothing_by_default()
    attach(reader)
    try:
        if not registry.is_observed():
            registry.observe(partial(pools.report, to=reporter.automatic_stream))
    except SettingError as error:
        Log(reader).log(ERROR, "poolhouse does not report its own pools: %s", error)


def instances(objects: Iterable[object], classes: Mapping[type, str]) -> list[tuple[object, str]]:
    """The objects of some classes, each with the value of its class in `classes`. Proxies are not found.

    >>> instances([True, "text", 7], {int: "a number"})
    [(True, 'a number'), (7, 'a number')]
    """
    known: dict[type, str | None] = {}
    found: list[tuple[object, str]] = []
    for one in objects:
        cls = type(one)  # Not `__class__`, which may run code of the application.
        if cls not in known:
            known[cls] = next((text for base, text in classes.items() if base in cls.__mro__), None)
        text = known[cls]
        if text is not None:
            found.append((one, text))
    return found


def _imported() -> dict[type, str]:
    """The pool classes that the application has imported, each with its handler."""
    found: dict[type, str] = {}
    for name, (class_name, handler) in TARGETS.items():
        cls: Any = getattr(sys.modules.get(name), class_name, None)
        if isinstance(cls, type):
            found[cls] = handler
    return found
