"""An exception at every opcode of taking and giving back, one after the other: no connection may be lost.

Passed over is where it would be the same as at the next one (`support.opcodes.alike`).
"""

import dis
import gc
import inspect
import sys
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import CodeType, FrameType
from typing import Any

import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool.hooks import PoolHooks
from poolhouse.pool.slot import State
from poolhouse.pool.sync import ConnectionPool, NullConnectionPool
from poolhouse.testing import Does, FakeConnection, FakeDriver, FakeError, VirtualClock, VirtualThreads
from support.opcodes import alike

pytestmark = pytest.mark.usefixtures("unread_log")

#: Where the connection is the caller's, and stays so. CPython protects no `return` by its own function's handlers:
#: what strikes there strikes the caller (no signal is delivered there, only a tracer can strike). What strikes
#: before `putconn` has begun leaves the caller with a connection that he can still give back.
_CALLERS_OWN = ("Clients.getconn return", "Clients.putconn begin")


#: Hooks that are called and do nothing.
_HOOKS = PoolHooks(acquired=lambda *event: None, released=lambda *event: None)


class Interrupt(BaseException):
    """What strikes: KeyboardInterrupt, or gevent's Timeout."""


class Alarm(Exception):
    """What strikes: a time limit that a signal handler tells (Celery's SoftTimeLimitExceeded, RQ's JobTimeout)."""


#: Where it may strike: what runs in a client's thread.
_MODULES = (
    "sync", "sync_clients", "sync_waiting", "sync_work", "workers", "core_lock", "background_call", "check_beside",
    "fast_path", "recovery", "state", "requests",
)  # fmt: skip


@cache
def _part(code: CodeType, at: int) -> str:
    """Where in its function an instruction is: before its ``try``, at a ``return``, or by its offset."""
    names = [dis.opname[code.co_code[index]] for index in range(at, min(at + 4, len(code.co_code)), 2)]
    if "RETURN_VALUE" in names:
        return "return"
    before_try = next((each.offset for each in dis.get_instructions(code) if each.opname == "NOP"), -1)
    return "begin" if at <= before_try else f"at offset {at}"


class _Striker:
    """Raises `Interrupt` at the n-th opcode that the pool executes in this thread."""

    def __init__(self, at: int, error: type[BaseException] = Interrupt) -> None:
        self.left = at
        self.has_struck = False
        self._error = error

    def start(self) -> None:
        # A finalizer that is struck tells nobody; the garbage of earlier strikes is collected between them.
        gc.disable()
        # CPython 3.12 looks when tracing begins whether any frame wants opcodes.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._enter)

    def stop(self) -> None:
        sys.settrace(None)
        gc.enable()

    def _enter(self, frame: FrameType, event: str, argument: object) -> Any:
        if id(frame.f_code) not in _passed_over():
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode" and frame.f_lasti not in _passed_over()[id(frame.f_code)]:
            self._count(frame.f_code, frame.f_lasti)
        return self._step

    def _count(self, code: CodeType, at: int) -> None:
        if self.has_struck:
            return
        if self.left == 0:
            if _is_in_finalizer():
                return  # What it raises reaches nobody.
            self.has_struck = True
            self.stop()
            raise self._error(f"{code.co_qualname} {_part(code, at)}")
        self.left -= 1


class _MonitoringStriker(_Striker):
    """The same by sys.monitoring: on CPython 3.13 settrace does not tell every opcode."""

    _TOOL = 4

    def start(self) -> None:
        gc.disable()
        self._thread = threading.get_ident()
        monitoring = sys.monitoring
        monitoring.use_tool_id(self._TOOL, "striker")
        monitoring.register_callback(self._TOOL, monitoring.events.INSTRUCTION, self._instruction)
        for code in _codes():
            monitoring.set_local_events(self._TOOL, code, monitoring.events.INSTRUCTION)

    def stop(self) -> None:
        if sys.monitoring.get_tool(self._TOOL) is not None:
            for code in _codes():
                sys.monitoring.set_local_events(self._TOOL, code, 0)
            sys.monitoring.register_callback(self._TOOL, sys.monitoring.events.INSTRUCTION, None)
            sys.monitoring.free_tool_id(self._TOOL)
        gc.enable()

    def _instruction(self, code: CodeType, at: int) -> None:
        if threading.get_ident() == self._thread and at not in _passed_over()[id(code)]:
            self._count(code, at)


def _is_in_finalizer() -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


@cache
def _codes() -> frozenset[CodeType]:
    """The code of every function in `_MODULES`."""
    modules = [import_module(f"poolhouse.pool.{name}") for name in _MODULES]
    classes = [each for module in modules for each in vars(module).values() if inspect.isclass(each)]
    functions = [
        function
        for each in classes
        if each.__module__ in {module.__name__ for module in modules}
        for function in [*vars(each).values()]
        if inspect.isfunction(function) and function.__name__ != "__del__"
    ]
    return frozenset(function.__code__ for function in functions)


@cache
def _passed_over() -> dict[int, frozenset[int]]:
    """By the id of each code, where nothing need strike. To compare codes costs more than to count."""
    return {id(code): alike(code) for code in _codes()}


def _every_opcode(
    action: Callable[[ConnectionPool[FakeConnection]], object],
    error: type[BaseException] = Interrupt,
    *,
    is_kept: bool = False,
) -> int:
    """Run `action` on a pool again and again, each time struck one opcode later; how often it was struck."""
    for at in range(100_000):
        struck, where = _struck(action, at, error, is_kept=is_kept)
        if not struck:
            return at
        assert where is None, f"struck at {where[0]}: {where[1]}"
    raise AssertionError("it never ends")


def _struck(
    action: Callable[[ConnectionPool[FakeConnection]], object],
    at: int,
    error: type[BaseException],
    *,
    is_kept: bool = False,
) -> tuple[bool, Any]:
    """What became of a pool whose client was struck. If it `is_kept`, the exception and its frames stay."""
    threads = VirtualThreads(VirtualClock())
    striker = (_MonitoringStriker if sys.version_info >= (3, 13) else _Striker)(at, error)
    problem: list[Any] = []
    kept: list[BaseException] = []

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        is_null = action in (_use_null, _use_null_that_cannot_connect)
        pool = (NullConnectionPool if is_null else ConnectionPool)(
            **({"max_size": 2} if is_null else {"min_size": 2}),
            driver=driver,
            clock=threads.clock,
            threads=threads,
            open=True,
            timeout=5.0,
            num_workers=1,
            **({"reset": lambda conn: None, "reset_inline": True} if action is _put_to_be_reset else {}),
            **({"check": driver.probe} if action is _use_briefly else {}),
            **({"check": driver.probe} if action in (_use_with_check, _use_after_a_failed_check) else {}),
            **({"reset": lambda conn: None} if action is _use_with_reset else {}),
            **({"hooks": _HOOKS} if action in (_use_with_hooks, _get_and_put_with_hooks) else {}),
        )
        pool.wait()
        place = ""
        held: list[FakeConnection] = []
        if action is _use_null_that_cannot_connect:
            driver.always("connect", Does.ERR)
        striker.start()
        try:
            held = action(pool) or []
        except (Interrupt, Alarm) as struck:
            place = str(struck)
            if is_kept:
                kept.append(struck)
        except FakeError:
            pass
        finally:
            striker.stop()
        driver.always("connect", Does.OK)
        threads.sleep(1.0)
        # The next slow calls reclaim what a finalizer has left word of.
        pool.drain()
        threads.sleep(1.0)
        core = pool._core
        # What a null pool's client had just made, or was to close, nobody knows: it ends when it is collected.
        known = [conn for conn in driver.open_connections if not is_null or id(conn) in core.slots]
        leased = [conn for conn in known if core.state_of(core.slots[id(conn)]) is State.LEASED]
        if place in _CALLERS_OWN and len(leased) == 1:
            held = leased
        # A kept exception keeps a block that it ended between its last and the first instruction of `__exit__`.
        if place and held != leased and not is_kept:
            problem.append((place, f"{pool}: held {held}, leased {leased}"))
        for slot, _, code, *_ in [*core.leases.values()]:
            if code is not None:
                pool.putconn(slot.conn)
        threads.sleep(1.0)
        if wrong := _wrong_books(pool):
            problem.append((place, f"{pool}: {wrong}"))
        try:
            taken = {pool.getconn(timeout=1.0) for _ in range(2)}
        except PoolTimeout as error:
            taken = set()
            place = f"{place}: {error}"
        if len(taken) != 2:
            problem.append((place, f"{pool} serves {taken}"))
        # What the kept frames still do when they go, they do to the connections of others.
        kept.clear()
        gc.collect()
        threads.sleep(1.0)
        if len(taken) == 2 and (
            harmed := [conn for conn in taken if conn.is_closed or conn.calls[-1:] == ["close"]]
        ):
            problem.append((place, f"{pool}: {harmed} were harmed when the exception was dropped"))
        if {id(conn) for conn in taken} != set(core.leases):
            problem.append((place, f"{pool}: {taken} are out, the leases are {core.leases}"))
        pool.close()

    threads.run(main)
    return striker.has_struck, (problem[0] if problem else None)


def _wrong_books(pool: ConnectionPool[FakeConnection]) -> str:
    """What the pool believes although nobody has, or does, anything; empty if nothing is wrong."""
    core = pool._core
    strangers = {key: lease for key, lease in core.leases.items() if key not in core.slots}
    if strangers or core.used:
        return f"leases of the closed {strangers}, used {core.used}"
    if core.working or core.worked_on or core.connecting or core.waiters:
        return f"working {core.working}, connecting {core.connecting}, waiting {len(core.waiters)}"
    stale = sum(slot.generation != core.generation for slot in core.slots.values())
    return f"stale {core._stale}, but {stale} are" if core._stale != stale else ""


def _use(pool: ConnectionPool[FakeConnection]) -> None:
    with pool.connection():
        pass


def _use_in_a_transaction(pool: ConnectionPool[FakeConnection]) -> None:
    with pool.connection() as conn:
        conn.begin()


def _get_and_put(pool: ConnectionPool[FakeConnection]) -> None:
    pool.putconn(pool.getconn())


def _use_briefly(pool: ConnectionPool[FakeConnection]) -> None:
    """With a check, which is made beside a client that has so little time."""
    with pool.connection(timeout=1.0):
        pass


def _use_with_hooks(pool: ConnectionPool[FakeConnection]) -> None:
    _use(pool)


def _get_and_put_with_hooks(pool: ConnectionPool[FakeConnection]) -> None:
    _get_and_put(pool)


def _use_with_check(pool: ConnectionPool[FakeConnection]) -> None:
    """On the fast path: there is time enough for it."""
    with pool.connection(timeout=60.0):
        pass


def _use_after_a_failed_check(pool: ConnectionPool[FakeConnection]) -> None:
    for slot in pool._core.slots.values():
        pool._driver.abort(slot.conn)
    pool.putconn(pool.getconn(timeout=60.0))


def _use_with_reset(pool: ConnectionPool[FakeConnection]) -> None:
    """Left to a worker: first one must wake up, then one is expected."""
    for _ in range(2):
        _use(pool)


def _use_after_a_while(pool: ConnectionPool[FakeConnection]) -> None:
    pool._threads.sleep(2.0)
    _use(pool)


def _put_in_a_transaction(pool: ConnectionPool[FakeConnection]) -> None:
    conn = pool.getconn()
    conn.begin()
    pool.putconn(conn)


def _put_to_be_reset(pool: ConnectionPool[FakeConnection]) -> None:
    _put_in_a_transaction(pool)


def _use_null(pool: ConnectionPool[FakeConnection]) -> None:
    _use(pool)


def _use_null_that_cannot_connect(pool: ConnectionPool[FakeConnection]) -> None:
    _use(pool)


def _put_broken(pool: ConnectionPool[FakeConnection]) -> None:
    conn = pool.getconn()
    pool._driver.abort(conn)
    pool.putconn(conn)


def _use_after_the_server_was_gone(pool: ConnectionPool[FakeConnection]) -> None:
    for slot in pool._core.slots.values():
        pool._driver.abort(slot.conn)
    _use_after_a_while(pool)


def _drain(pool: ConnectionPool[FakeConnection]) -> None:
    pool.drain()


def _check(pool: ConnectionPool[FakeConnection]) -> None:
    pool._driver.abort(next(iter(pool._core.slots.values())).conn)
    pool.check()


@pytest.mark.parametrize(
    "action",
    [
        _check,
        _drain,
        _put_broken,
        _use_after_the_server_was_gone,
        _use_null,
        _use_null_that_cannot_connect,
        _put_to_be_reset,
        _use,
        _use_briefly,
        _use_in_a_transaction,
        _get_and_put,
        _use_with_hooks,
        _get_and_put_with_hooks,
        _use_with_check,
        _use_with_reset,
        _use_after_a_failed_check,
        _use_after_a_while,
        _put_in_a_transaction,
    ],
)
def test_a_checkout_and_a_return_that_are_interrupted_anywhere_lose_nothing(
    action: Callable[[ConnectionPool[FakeConnection]], object],
) -> None:
    assert _every_opcode(action) > 100


@pytest.mark.parametrize(
    "action", [_put_to_be_reset, _use, _use_briefly, _use_in_a_transaction, _use_null, _use_after_a_while]
)
def test_nor_is_anything_done_to_others_when_the_exception_is_dropped_later(
    action: Callable[[ConnectionPool[FakeConnection]], object],
) -> None:
    """Whoever keeps an exception keeps its frames; what ends with them ends when others have the connections."""
    assert _every_opcode(action, is_kept=True) > 100


@pytest.mark.parametrize("action", [_put_to_be_reset, _use, _use_in_a_transaction, _get_and_put])
def test_nor_do_those_that_a_time_limit_ends_anywhere(
    action: Callable[[ConnectionPool[FakeConnection]], object],
) -> None:
    assert _every_opcode(action, Alarm) > 100


class _Finalizing(_Striker):
    """Runs a finalizer, at the n-th opcode, instead of raising."""

    def __init__(self, at: int, finalizer: Callable[[], object]) -> None:
        super().__init__(at)
        self._finalizer = finalizer

    def _count(self, code: CodeType, at: int) -> None:
        _finalize(self)


class _MonitoringFinalizing(_MonitoringStriker):
    """The same; see `_MonitoringStriker`."""

    def __init__(self, at: int, finalizer: Callable[[], object]) -> None:
        super().__init__(at)
        self._finalizer = finalizer

    def _count(self, code: CodeType, at: int) -> None:
        _finalize(self)


def _finalize(striker: Any) -> None:
    striker.left -= 1
    if striker.left < 0 and not striker.has_struck:
        striker.has_struck = True
        striker.stop()
        striker._finalizer()


@pytest.mark.parametrize("begins", [False, True])
def test_a_finalizer_that_returns_a_connection_may_run_anywhere(begins: bool) -> None:
    """Python may run finalizers between any two instructions, and so in the middle of another return."""
    for at in range(100_000):
        is_over, problem = _finalized(at, begins=begins)
        if is_over:
            break
        assert problem is None, problem
    assert at > 150


def _finalized(at: int, *, begins: bool) -> tuple[bool, str | None]:
    """Return one connection `at` opcodes after the return of another, in a transaction or not, has begun."""
    threads = VirtualThreads(VirtualClock())
    served: list[FakeConnection] = []
    problem: list[str] = []
    strikers: list[_Striker] = []

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool = ConnectionPool(min_size=2, driver=driver, clock=threads.clock, threads=threads, open=True)
        pool.wait()
        mine, garbage = pool.getconn(), pool.getconn()
        if begins:
            mine.begin()

        def client() -> None:
            with pool.connection(timeout=60.0) as conn:
                served.append(conn)

        for _ in range(2):
            threads.start(client, "client", is_daemon=False)
        threads.sleep(1.0)
        kind = _MonitoringFinalizing if sys.version_info >= (3, 13) else _Finalizing
        striker = kind(at, lambda: pool.putconn(garbage))
        strikers.append(striker)
        striker.start()
        pool.putconn(mine)
        striker.stop()
        if not striker.has_struck:
            pool.putconn(garbage)
        threads.sleep(1.0)
        if len(served) != 2 or len({pool.getconn(timeout=1.0) for _ in range(2)}) != 2:
            problem.append(f"at opcode {at}: served {served}, {pool}")
        pool.close()

    threads.run(main)
    return not strikers[0].has_struck, (problem[0] if problem else None)


class _When(_Striker):
    """Raises `Interrupt` at the first opcode at which something is true."""

    def __init__(self, is_due: Callable[[], bool]) -> None:
        super().__init__(0)
        self._is_due = is_due

    def _count(self, code: CodeType, at: int) -> None:
        if self._is_due():
            super()._count(code, at)


class _MonitoringWhen(_MonitoringStriker):
    """The same; see `_MonitoringStriker`."""

    def __init__(self, is_due: Callable[[], bool]) -> None:
        super().__init__(0)
        self._is_due = is_due

    def _count(self, code: CodeType, at: int) -> None:
        if self._is_due():
            super()._count(code, at)


class _StruckAgain:
    """A pool's turns, of which the one that finishes an interrupted call is interrupted too."""

    def __init__(self, turn: Any, striker: _Striker) -> None:
        self._core_lock = turn
        self._striker = striker
        self._is_first = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._core_lock(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core_lock, name)

    def finish(self, *args: Any) -> None:
        is_first, self._is_first = self._is_first, False
        if is_first:
            self._striker.start()
        self._core_lock.finish(*args)


@pytest.mark.parametrize("what", ["a checkout", "a return"])
def test_a_second_exception_while_the_first_is_put_right_loses_nothing_either(what: str) -> None:
    """From where the pool knows that there is something to put right; a few instructions come before that."""
    for at in range(100_000):
        is_over, problem = _struck_twice(what, at)
        if is_over:
            break
        assert problem is None, problem
    assert at > 300


def _struck_twice(what: str, at: int) -> tuple[bool, str | None]:
    """Strike once when a lease has begun, or ended; and again `at` opcodes after the handler has been entered."""
    is_monitored = sys.version_info >= (3, 13)
    threads = VirtualThreads(VirtualClock())
    problem: list[str] = []
    second = (_MonitoringStriker if is_monitored else _Striker)(at)

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool = ConnectionPool(min_size=2, driver=driver, clock=threads.clock, threads=threads, open=True)
        pool.wait()
        core = pool._core
        conn = pool.getconn() if what == "a return" else None
        first = (_MonitoringWhen if is_monitored else _When)(lambda: bool(core.leases) is (conn is None))
        pool._core_lock = _StruckAgain(pool._core_lock, second)  # type: ignore[assignment]
        place = ""
        first.start()
        try:
            pool.getconn() if conn is None else pool.putconn(conn)
        except Interrupt as error:
            place = str(error)
        finally:
            first.stop()
            second.stop()
        threads.sleep(1.0)
        # The next slow calls do what is left to do.
        pool.drain()
        threads.sleep(1.0)
        try:
            taken = {pool.getconn(timeout=1.0) for _ in range(2)}
        except PoolTimeout:
            taken = set()
        if len(taken) != 2 and not place.startswith("CoreLock.finish"):
            problem.append(f"struck at {place}: {pool} serves {taken}")
        pool.close()

    threads.run(main)
    return not second.has_struck, (problem[0] if problem else None)


def test_a_return_that_is_interrupted_anywhere_still_serves_who_waits_for_it() -> None:
    assert _every_place(_struck_handing_over) > 100


def test_a_client_that_is_interrupted_anywhere_while_it_waits_in_line_loses_nothing() -> None:
    assert _every_place(_struck_waiting_in_line) > 100


def _every_place(strike: Callable[[int], tuple[bool, str | None]]) -> int:
    for at in range(100_000):
        struck, problem = strike(at)
        if not struck:
            return at
        assert problem is None, problem
    raise AssertionError("it never ends")


def _struck_handing_over(at: int) -> tuple[bool, str | None]:
    """Strike while the only connection goes back for which a client waits: it must not sleep until its timeout."""
    threads = VirtualThreads(VirtualClock())
    striker = (_MonitoringStriker if sys.version_info >= (3, 13) else _Striker)(at)
    served: list[FakeConnection] = []
    problem: list[str] = []

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool = ConnectionPool(min_size=1, driver=driver, clock=threads.clock, threads=threads, open=True)
        conn = pool.getconn()

        def client() -> None:
            with pool.connection(timeout=60.0) as mine:
                served.append(mine)

        threads.start(client, "client", is_daemon=False)
        threads.sleep(1.0)
        place = ""
        striker.start()
        try:
            pool.putconn(conn)
        except Interrupt as error:
            place = str(error)
        finally:
            striker.stop()
        if place == "Clients.putconn begin":
            pool.putconn(conn)  # It had not begun: the connection is still the caller's.
        threads.sleep(1.0)
        if served != [conn]:
            problem.append(f"struck at {place}: served {served}, {pool}")
        pool.close()

    threads.run(main)
    return striker.has_struck, (problem[0] if problem else None)


def _struck_waiting_in_line(at: int) -> tuple[bool, str | None]:
    """Strike while a client waits for the only connection, or has just been given it: the next one gets it."""
    threads = VirtualThreads(VirtualClock())
    striker = (_MonitoringStriker if sys.version_info >= (3, 13) else _Striker)(at)
    problem: list[str] = []

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool = ConnectionPool(min_size=1, driver=driver, clock=threads.clock, threads=threads, open=True)
        conn = pool.getconn()

        def client() -> None:
            threads.sleep(1.0)
            pool.putconn(conn)

        threads.start(client, "client", is_daemon=False)
        place, mine = "", None
        striker.start()
        try:
            mine = pool.getconn()
        except Interrupt as error:
            place = str(error)
        finally:
            striker.stop()
        threads.sleep(2.0)
        if mine is not None or (place in _CALLERS_OWN and id(conn) in pool._core.leases):
            pool.putconn(conn)
        if pool._core.waiters or pool.getconn(timeout=1.0) is not conn:
            problem.append(f"struck at {place}: {pool}")
        pool.putconn(conn)
        pool.close()

    threads.run(main)
    return striker.has_struck, (problem[0] if problem else None)
