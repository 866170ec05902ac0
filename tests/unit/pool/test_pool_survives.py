"""Nothing that the application raises, in a log handler or a callback, ends a worker, the keeper or the pool."""

import itertools
import logging
import sys
from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest

from poolhouse.errors import PoolClosed, PoolError
from poolhouse.pool import PoolHooks
from poolhouse.safely import Log
from poolhouse.testing.loop import VirtualLoop
from support.pool_shells import AsyncShell, Shell, ThreadShell

SHELLS = pytest.mark.parametrize("shell", [ThreadShell, AsyncShell])
#: What is no `Exception`. In asyncio SystemExit ends the event loop, if it is raised in a client's own task.
ORDERS = {ThreadShell: SystemExit, AsyncShell: CancelledError}


class Fault:
    """What goes wrong for as long as it `is_on`."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error
        self.is_on = True
        self.raised = 0

    def __call__(self, *_: object) -> Any:
        if self.is_on:
            self.raised += 1
            raise self.error("on purpose")
        return None


async def course(shell: Shell, kind: str, fault: Fault | None = None, **parameters: Any) -> None:
    """An outage, a transaction left open, an error in a block, dead connections, a drain: then all is well.

    Args:
        shell: Threads or asyncio.
        kind: As of `Shell.pool`.
        fault: What is put right after a while.
        parameters: The pool's.
    """
    # A null pool tells its client what its connect failed with.
    allowed = (PoolError, MemoryError, OSError) + ((fault.error,) if fault else ())

    async def client(body: Callable[[Any], object] | None = None) -> None:
        with suppress(allowed):
            await shell.use(pool, body, timeout=3.0)

    async def contend() -> None:
        """All connections are out, and one client more waits in vain."""
        held = []
        for _ in range(3):
            with suppress(allowed):
                held.append(await shell.call(pool.getconn, timeout=1.0))
        for conn in held:
            with suppress(allowed):
                await shell.call(pool.putconn, conn)

    def fail(conn: Any) -> None:
        conn.begin()
        raise OSError("the block failed")

    sizes: dict[str, Any] = {"max_size": 2} if kind else {"min_size": 2}
    shell.connection_class.is_down = True
    pool = shell.pool(kind, hold_warning=1.0, reconnect_timeout=5.0, **sizes, **parameters)
    with suppress(allowed):
        await shell.call(pool.open)
    for _ in range(3):
        await client()
    shell.connection_class.is_down = False
    for _ in range(2):
        for body in (None, lambda conn: conn.begin(), fail, lambda conn: conn._closed()):
            await client(body)
        for conn in shell.made:
            conn.is_dead = True
        await client()
        await contend()
        with suppress(allowed):
            await shell.call(pool.drain)
        await shell.sleep(3.0)
        await shell.sleep(30.0)
        if fault is not None:
            fault.is_on = False
    await shell.sleep(60.0)  # Whatever pause there is between two attempts to connect.
    core = pool._core
    taken = [await shell.call(pool.getconn, timeout=5.0) for _ in range(2)]
    assert len(set(map(id, taken))) == 2
    for conn in taken:
        await shell.call(pool.putconn, conn)
    await shell.settle()
    busy = [core.used, *core.working, *core.worked_on, *core.connecting, *core.waiters]
    assert busy == [0]
    still_open = [conn for conn in shell.made if not conn.closed]
    assert {id(conn) for conn in still_open} == set(core.slots)


def _run(shell: type[Shell], case: Callable[[Shell], Any]) -> None:
    world = shell()
    world.run(case)


@contextmanager
def _handler(handler: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger("poolhouse.pool")
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


class _Emitting(logging.Handler):
    def __init__(self, fault: Callable[..., Any]) -> None:
        super().__init__()
        self.emit = fault  # type: ignore[method-assign]


def _filtering(fault: Callable[..., Any]) -> logging.Handler:
    handler = logging.NullHandler()
    handler.addFilter(fault)
    handler.handle = lambda record: handler.filter(record)  # type: ignore[method-assign]  # it passes filters by
    return handler


@pytest.mark.parametrize("kind", ["", "null"])
@pytest.mark.parametrize("error", [ZeroDivisionError, MemoryError])
@pytest.mark.parametrize("handler", [_Emitting, _filtering], ids=["handler", "filter"])
@SHELLS
def test_a_log_handler_or_filter_that_raises_costs_the_pool_nothing(
    shell: type[Shell], handler: Callable[[Any], logging.Handler], error: type[BaseException], kind: str
) -> None:
    fault = Fault(error)

    async def case(world: Shell) -> None:
        await course(world, kind)
        assert fault.raised > 1

    with _handler(handler(fault)):
        _run(shell, case)


@pytest.mark.parametrize("handler", [_Emitting, _filtering], ids=["handler", "filter"])
def test_nor_does_one_that_wants_to_end_the_thread_that_logs(handler: Callable[[Any], logging.Handler]) -> None:
    fault = Fault(SystemExit)
    with _handler(handler(fault)):
        _run(ThreadShell, lambda world: course(world, "", fault))
    assert fault.raised > 3


_CALLBACKS = ["configure", "check", "reset", "reconnect_failed", "conninfo", "kwargs"]
_HOOKS = ["connected", "acquired", "released", "timed_out", "closed"]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["", "null"])
@pytest.mark.parametrize("error", [ZeroDivisionError, BaseException])
@pytest.mark.parametrize("name", [*_CALLBACKS, *_HOOKS])
@SHELLS
def test_a_callback_that_raises_ends_no_worker(
    shell: type[Shell], name: str, error: type[BaseException], kind: str
) -> None:
    fault = Fault(ORDERS[shell] if error is BaseException else error)
    if name in _HOOKS:
        parameters: dict[str, Any] = {"hooks": PoolHooks(**{name: fault})}
    else:
        parameters = {name: fault}
    if name == "conninfo":
        parameters = {"conninfo": lambda: fault() or ""}

    async def case(world: Shell) -> None:
        await course(world, kind, fault, **parameters)
        # A null pool has neither a worker that connects nor a connection that is reset.
        assert fault.raised or (kind and name in ("reset", "reconnect_failed"))

    _run(shell, case)


def _place(arguments: tuple[object, ...]) -> Hashable:
    """The lines of ours that lead to a call of `Log`, and the level or the callback that it was given first.

    By the ids of codes: to compare codes themselves takes longer than the call.
    """
    lines = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if "/poolhouse/" in frame.f_code.co_filename:
            lines.append((id(frame.f_code), frame.f_lineno))
        frame = frame.f_back
    return tuple(lines), arguments[0] if arguments and isinstance(arguments[0], Hashable) else None


@pytest.mark.long
@pytest.mark.usefixtures("unread_log")
@pytest.mark.parametrize("kind", ["", "null"])
@pytest.mark.parametrize("method", ["_write", "call"])
@SHELLS
def test_nor_does_a_lack_of_memory_at_any_call_of_the_place_that_logs_and_calls(
    shell: type[Shell], method: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(Log, method)
    calls = struck_at = candidates = 0
    seen: Counter[Hashable] = Counter()
    starving = Fault(MemoryError)

    def starved(self: Log, *arguments: Any, **keywords: Any) -> None:
        nonlocal calls, candidates
        calls += 1
        place = _place(arguments)
        seen[place] += 1
        # Each failed connect of an outage comes by the same place, and is told of at doubling times.
        if seen[place] <= 8 or seen[place].bit_count() == 1:
            candidates += 1
            if candidates == struck_at + 1:
                starving()
        original(self, *arguments, **keywords)

    def hook(*_: object) -> None:
        if calls % 2:
            raise ZeroDivisionError

    hooks = PoolHooks(connected=hook, acquired=hook, released=hook, timed_out=hook, closed=hook)
    monkeypatch.setattr(Log, method, starved)
    while candidates >= struck_at:
        calls = candidates = 0
        seen.clear()
        starving.is_on = True
        _run(shell, lambda world: course(world, kind, starving, hooks=hooks, reset=lambda conn: None))
        struck_at += 1
    assert starving.raised > 1


def test_a_configure_that_is_cancelled_from_within_is_not_a_pool_that_was_closed() -> None:
    def configure(_: object) -> None:
        raise CancelledError

    async def case(world: Shell) -> None:
        pool = world.pool("null", max_size=1, configure=configure)
        await world.call(pool.open)
        with pytest.raises(
            PoolError, match="a callback, or the driver, awaited what had been cancelled"
        ) as caught:
            await world.call(pool.getconn, timeout=3.0)
        assert not isinstance(caught.value, PoolClosed)
        assert not pool.closed

    _run(AsyncShell, case)


def test_a_lack_of_memory_as_a_task_is_made_costs_the_pool_for_asyncio_nothing() -> None:
    """What is to be done next is taken from the core's books before there is a task for it."""
    starving = Fault(MemoryError)

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=2)
        for act in (pool.drain, pool.check):
            await world.use(pool, timeout=30.0)
            await world.call(act)
            await world.sleep(5.0)
        taken = [await world.call(pool.getconn, timeout=30.0) for _ in range(2)]
        for conn in taken:
            await world.call(pool.putconn, conn)
        await world.sleep(5.0)
        core = pool._core
        assert [core.used, *core.working, *core.worked_on, *core.connecting, *core.waiters] == [0]
        assert {id(conn) for conn in world.made if not conn.closed} == set(core.slots)

    def is_struck(at: int) -> bool:
        made = 0

        def create_task(self: VirtualLoop, coroutine: Any, **keywords: Any) -> Any:
            nonlocal made
            is_meant = coroutine.__qualname__.endswith("._performed")
            made += is_meant
            if is_meant and made == at:
                starving()
            return plain(self, coroutine, **keywords)

        plain = VirtualLoop.create_task
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(VirtualLoop, "create_task", create_task)
            _run(AsyncShell, case)
        return made >= at

    at = next(at for at in itertools.count(1) if not is_struck(at))
    assert at > 5
