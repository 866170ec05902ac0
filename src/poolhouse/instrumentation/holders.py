"""The holder of a connection: a thread, an asyncio task, or a gevent greenlet."""

from collections.abc import Callable
from importlib import import_module
from sys import modules
from threading import get_ident
from typing import Any, TypeAlias
from weakref import ref

#: The identifier of a thread; or a weak reference to an asyncio task or a gevent greenlet. It equals only that of
#: the same thread, task or greenlet.
Holder: TypeAlias = int | ref[Any]


def holder_finder(*, is_async: bool) -> Callable[[], Holder]:
    """A function that returns its caller's `Holder`. It raises nothing.

    Args:
        is_async: Whether SQLAlchemy runs in asyncio tasks.
    """
    if is_async:
        return _finder_of_tasks()
    monkey: Any = modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        # gevent's identifiers are not those of threads.
        getcurrent: Callable[[], Any] = import_module("greenlet").getcurrent
        return lambda: ref(getcurrent())
    return get_ident


def _finder_of_tasks() -> Callable[[], Holder]:
    from asyncio import current_task  # Only here: it is large, and an application without tasks does without.

    def task_or_thread() -> Holder:
        try:
            task = current_task()
            return get_ident() if task is None else ref(task)
        except (RuntimeError, TypeError):
            # No loop runs, as with SQLAlchemy's `async_fallback`; or the task is of a foreign kind.
            return get_ident()

    return task_or_thread
