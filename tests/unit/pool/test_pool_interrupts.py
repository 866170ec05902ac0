"""An exception at every opcode of taking and giving back, one after the other: no connection may be lost."""

import dis
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool.slot import State
from poolhouse.pool.sync import ConnectionPool
from poolhouse.testing import FakeConnection, FakeDriver, VirtualClock, VirtualThreads

#: Where the connection is the caller's, and stays so. CPython protects no `return` by its own function's handlers:
#: what strikes there strikes the caller (no signal is delivered there, only a tracer can strike). What strikes
#: before `putconn` has begun leaves the caller with a connection that he can still give back.
_CALLERS_OWN = ("Clients.getconn return", "Clients.putconn begin")


class Interrupt(BaseException):
    """What strikes: KeyboardInterrupt, or gevent's Timeout."""


def _part(frame: FrameType) -> str:
    """Where in its function a frame is: before its ``try``, at a ``return``, or in which line."""
    code, at = frame.f_code, frame.f_lasti
    names = [dis.opname[code.co_code[index]] for index in range(at, min(at + 4, len(code.co_code)), 2)]
    if "RETURN_VALUE" in names:
        return "return"
    before_try = next((each.offset for each in dis.get_instructions(code) if each.opname == "NOP"), -1)
    return "begin" if at <= before_try else str(frame.f_lineno)


class _Striker:
    """Raises `Interrupt` at the n-th opcode that poolhouse's pool executes in this thread."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.has_struck = False

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.endswith(
            ("pool/sync_clients.py", "pool/crew.py", "pool/sync.py", "pool/ledger.py", "pool/serving.py")
        ):
            return None
        if frame.f_code.co_name == "__del__":
            return None  # What strikes a finalizer ends there, and reaches nobody.
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self.strike

    def strike(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode" and not self.has_struck:
            if self.left == 0:
                self.has_struck = True
                sys.settrace(None)
                raise Interrupt(f"{frame.f_code.co_qualname} {_part(frame)}")
            self.left -= 1
        return self.strike


def _every_opcode(action: Callable[[ConnectionPool[FakeConnection]], object]) -> int:
    """Run `action` on a pool again and again, each time struck one opcode later; how often it was struck."""
    for at in range(100_000):
        struck, where = _struck(action, at)
        if not struck:
            return at
        assert where is None, f"struck at {where[0]}: {where[1]}"
    raise AssertionError("it never ends")


def _struck(action: Callable[[ConnectionPool[FakeConnection]], object], at: int) -> tuple[bool, Any]:
    threads = VirtualThreads(VirtualClock())
    striker = _Striker(at)
    problem: list[Any] = []

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool = ConnectionPool(
            min_size=2, driver=driver, clock=threads.clock, threads=threads, open=True, timeout=5.0
        )
        pool.wait()
        place = ""
        held: list[FakeConnection] = []
        sys.settrace(striker)
        try:
            held = action(pool) or []
        except Interrupt as error:
            place = str(error)
        finally:
            sys.settrace(None)
        threads.sleep(1.0)
        # The next slow calls reclaim what a finalizer has left word of.
        pool.drain()
        threads.sleep(1.0)
        core = pool._core
        leased = [conn for conn in driver.open_connections if core.state_of(core.slots[id(conn)]) is State.LEASED]
        if place in _CALLERS_OWN and len(leased) == 1:
            held = leased
        if place and held != leased:
            problem.append((place, f"{pool}: held {held}, leased {leased}"))
        for conn in leased:
            pool.putconn(conn)
        try:
            taken = {pool.getconn(timeout=1.0) for _ in range(2)}
        except PoolTimeout as error:
            taken = set()
            place = f"{place}: {error}"
        if len(taken) != 2:
            problem.append((place, f"{pool} serves {taken}"))
        pool.close()

    threads.run(main)
    return striker.has_struck, (problem[0] if problem else None)


def _use(pool: ConnectionPool[FakeConnection]) -> None:
    with pool.connection():
        pass


def _use_in_a_transaction(pool: ConnectionPool[FakeConnection]) -> None:
    with pool.connection() as conn:
        conn.begin()


def _get_and_put(pool: ConnectionPool[FakeConnection]) -> None:
    pool.putconn(pool.getconn())


def _use_after_a_while(pool: ConnectionPool[FakeConnection]) -> None:
    pool._threads.sleep(2.0)
    _use(pool)


def _put_in_a_transaction(pool: ConnectionPool[FakeConnection]) -> None:
    conn = pool.getconn()
    conn.begin()
    pool.putconn(conn)


@pytest.mark.parametrize(
    "action", [_use, _use_in_a_transaction, _get_and_put, _use_after_a_while, _put_in_a_transaction]
)
def test_a_checkout_and_a_return_that_are_interrupted_anywhere_lose_nothing(
    action: Callable[[ConnectionPool[FakeConnection]], object],
) -> None:
    assert _every_opcode(action) > 100
