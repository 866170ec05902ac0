"""Rounds in real time: threads and tasks do everything at once to a pool; what must be true afterwards."""

import asyncio
import contextlib
import ctypes
import faulthandler
import gc
import random
import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from poolhouse.errors import PoolError
from poolhouse.pool import AsyncConnectionPool, AsyncNullConnectionPool, ConnectionPool, NullConnectionPool
from poolhouse.pool.threads import SystemThreads
from stress.driver import AsyncDriver, Conn, Driver, StressError

#: How long a round goes on, in seconds, before it is looked at.
ROUND = 2.0
CLIENTS = 8
#: No pool is ever larger.
LARGEST = 6


class Strike(BaseException):
    """What strikes a thread between any two instructions, as KeyboardInterrupt may."""


def options(randomness: random.Random, *, is_null: bool) -> dict[str, Any]:
    """The settings of a round's pool."""
    return {
        "min_size": 0 if is_null else randomness.choice([0, 1, 3]),
        "max_size": randomness.choice([3, LARGEST]),
        "max_waiting": randomness.choice([0, 0, 3]),
        "max_lifetime": randomness.choice([3600.0, 0.2]),
        "max_idle": randomness.choice([600.0, 0.1]),
        "num_workers": randomness.choice([1, 3]),
        "idle_order": randomness.choice(["fifo", "lifo"]),
        "shrink": randomness.choice(["one", "all"]),
        "reset_inline": randomness.random() < 0.3,
        "hold_warning": randomness.choice([None, 0.001]),
        "open": False,
    }


@contextlib.contextmanager
def busy_switching() -> Generator[None]:
    """Threads lose the GIL as often as the interpreter allows."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def owned(conn: Conn, me: object) -> None:
    """Say who has the connection; nobody may have closed it."""
    assert conn.status != 4 or conn.is_dead, "a closed connection was served"
    conn.user = me


def still_owned(conn: Conn, me: object) -> None:
    """Nobody else has had it meanwhile."""
    assert conn.user is me, "one connection for two clients"


def unsettled(pool: Any, driver: Driver | AsyncDriver) -> str:
    """What is not as it must be when nobody has anything and nobody waits; empty if all is."""
    core = pool._core
    opened, known = {id(conn) for conn in driver.still_open()}, set(core.slots)
    if core.leases:
        return f"leases {list(core.leases.values())}, working {core.working}, worked on {core.worked_on}"
    if core.waiters or core.worked_on or core.size > LARGEST:
        return f"{pool!r}, worked on {core.worked_on}"
    return f"open {len(opened - known)} that the pool does not know" if opened != known else ""


def _until(predicate: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + 10.0
    while not predicate():
        assert time.monotonic() < deadline, f"not within 10 s: {what()}"
        time.sleep(0.01)


# -- Threads ----------------------------------------------------------------------------------------------------


class Starts(SystemThreads):
    """The operating system's threads, none of which is started while another is being struck.

    CPython gives a thread that is being started the number of the one that starts it: what strikes a number may
    hit a thread that has not begun, and whoever waits for it to begin waits for ever.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def start(self, target: Callable[[], None], name: str) -> None:
        """See `Threads.start`."""
        with self.lock:
            super().start(target, name)


class Threads:
    """Threads on one pool, some of which are struck."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        is_null = self.random.random() < 0.25
        self.driver = Driver(seed)
        self.starts = Starts()
        self.pool: Any = (NullConnectionPool if is_null else ConnectionPool)(
            driver=self.driver,
            threads=self.starts,
            check=self.random.choice([None, self.driver.probe]),
            reset=self.random.choice([None, self.driver.rollback]),
            **options(self.random, is_null=is_null),
        )
        self.is_over = False
        self.wrong: list[BaseException] = []
        self.may_be_struck: set[threading.Thread] = set()
        self.served = 0

    def run(self) -> None:
        """The whole round."""
        self.pool.open()
        upkeep = [threading.Thread(target=self._guarded, args=(self._upkeep, number)) for number in range(2)]
        clients = [self._client(number) for number in range(CLIENTS)]
        for thread in (*upkeep, *clients):
            thread.start()
        until = time.monotonic() + ROUND
        while time.monotonic() < until:
            time.sleep(0.002)
            number = self.random.randrange(CLIENTS)
            # Half of the clients are left alone: what `getconn` has returned is theirs to lose.
            # Each is struck once: what strikes in the first instructions of an earlier one's handler is lost.
            if number % 2 and clients[number] in self.may_be_struck:
                self.may_be_struck.discard(clients[number])
                with self.starts.lock:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(clients[number].ident or 0), ctypes.py_object(Strike)
                    )
            for number, client in enumerate(clients):
                if not client.is_alive():
                    clients[number] = self._client(number)
                    clients[number].start()
        if self.random.random() < 0.3:
            self.pool.close()
        self.is_over = True
        for thread in (*upkeep, *clients):
            thread.join(30)
            if thread.is_alive():
                faulthandler.dump_traceback()
                raise AssertionError(f"{thread.name} ({thread.ident:#x}) hangs: {self.pool!r}")
        self._verify()

    def _client(self, number: int) -> threading.Thread:
        client = self._struck if number % 2 else self._client_by_hand
        return threading.Thread(target=self._guarded, args=(client, number), name=f"client-{number}")

    def _guarded(self, body: Callable[[int], None], number: int) -> None:
        try:
            # Not before: `Thread.start` waits for what a strike would leave out.
            self.may_be_struck.add(threading.current_thread())
            body(number)
        except Strike:
            return
        except BaseException as error:
            self.wrong.append(error)
        finally:
            self.may_be_struck.discard(threading.current_thread())

    def _struck(self, number: int) -> None:
        me = object()
        randomness = random.Random(number)
        while not self.is_over:
            with (
                contextlib.suppress(PoolError, StressError),
                self.pool.connection(timeout=randomness.choice([0, 0.01, 1.0])) as conn,
            ):
                self._use(conn, me, randomness)

    def _client_by_hand(self, number: int) -> None:
        me = object()
        randomness = random.Random(number)
        while not self.is_over:
            with contextlib.suppress(PoolError, StressError):
                if randomness.random() < 0.05:
                    self._forget()
                    continue
                conn = self.pool.getconn(timeout=randomness.choice([0, 0.01, 1.0]))
                try:
                    self._use(conn, me, randomness)
                finally:
                    self.pool.putconn(conn)

    def _use(self, conn: Conn, me: object, randomness: random.Random) -> None:
        owned(conn, me)
        if randomness.random() < 0.3:
            conn.begin()
        if randomness.random() < 0.5:
            time.sleep(randomness.choice([0.0, 0.001]))
        if randomness.random() < 0.02:
            conn.is_dead = True
        still_owned(conn, me)
        self.served += 1
        if randomness.random() < 0.05:
            raise StressError("in the block")

    def _forget(self) -> None:
        """Enter a block and never leave it: only the collector finds it."""
        checkout = self.pool.connection(timeout=0.01)
        checkout.__enter__()
        cycle: list[Any] = [checkout]
        cycle.append(cycle)

    def _upkeep(self, number: int) -> None:
        randomness = random.Random(number)
        while not self.is_over:
            time.sleep(0.01)
            with contextlib.suppress(StressError):
                match randomness.randrange(6):
                    case 0:
                        gc.collect()
                    case 1:
                        self.pool.drain()
                    case 2:
                        self.pool.check()
                    case 3:
                        is_null = isinstance(self.pool, NullConnectionPool)
                        self.pool.resize(
                            0 if is_null else randomness.choice([0, 2]), randomness.choice([2, LARGEST])
                        )
                    case 4:
                        assert self.pool.get_stats()["pool_size"] <= LARGEST
                        self.pool.pop_stats()
                    case _:
                        assert repr(self.pool)
                        self.pool.holders()

    def _verify(self) -> None:
        for error in self.wrong:
            raise error
        assert not self.driver.overlaps, "two calls at once on one connection"
        assert self.served, "nobody was served"
        self.driver.is_good = True
        gc.collect()
        if not self.pool.closed:
            self.pool.resize(0, LARGEST)
            self.pool.drain()  # It looks for blocks that nobody will leave.
            _until(lambda: not unsettled(self.pool, self.driver), lambda: unsettled(self.pool, self.driver))
            taken = {self.pool.getconn(timeout=10.0) for _ in range(LARGEST)}
            assert len(taken) == LARGEST
            for conn in taken:
                self.pool.putconn(conn)
        self.pool.close()
        _until(lambda: not self.driver.open, lambda: f"open {self.driver.still_open()}, {self.pool!r}")


def threads(seed: int) -> None:
    """Threads that are struck anywhere."""
    with busy_switching():
        Threads(seed).run()


# -- Tasks ------------------------------------------------------------------------------------------------------


class Tasks:
    """Tasks on one pool, some of which are cancelled."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.is_null = self.random.random() < 0.25
        self.driver = AsyncDriver(seed)
        self.pool: Any = (AsyncNullConnectionPool if self.is_null else AsyncConnectionPool)(
            driver=self.driver,
            check=self.random.choice([None, self.driver.probe]),
            reset=self.random.choice([None, self.driver.rollback]),
            **options(self.random, is_null=self.is_null),
        )
        self.is_over = False
        self.served = 0

    async def run(self) -> None:
        """The whole round."""
        await self.pool.open()
        upkeep = asyncio.ensure_future(self._upkeep())
        clients: set[asyncio.Task[None]] = set()
        until = time.monotonic() + ROUND
        while time.monotonic() < until:
            while len(clients) < 5 * CLIENTS:
                clients.add(asyncio.ensure_future(self._client()))
            for _ in range(self.random.randrange(4)):
                victim = self.random.choice(list(clients))
                is_told = victim.cancel()
                assert is_told or victim.done()
            await asyncio.sleep(self.random.choice([0, 0, 0.001]))
            for task in [task for task in clients if task.done()]:
                clients.discard(task)
                if not task.cancelled():
                    task.result()
        if self.random.random() < 0.3:
            await self.pool.close()
        self.is_over = True
        outcomes = await asyncio.wait_for(asyncio.gather(upkeep, *clients, return_exceptions=True), 60)
        wrong = [each for each in outcomes if isinstance(each, Exception)]
        assert not wrong, wrong
        await self._verify()

    async def _client(self) -> None:
        me = object()
        timeout = self.random.choice([0, 0.01, 1.0])
        with contextlib.suppress(PoolError, StressError, TimeoutError):
            if self.random.random() < 0.3:
                conn = await asyncio.wait_for(self.pool.getconn(timeout), self.random.choice([0.001, 0.05]))
                await self.pool.putconn(conn)
                return
            async with self.pool.connection(timeout=timeout) as conn:
                owned(conn, me)
                if self.random.random() < 0.3:
                    conn.begin()
                await asyncio.sleep(self.random.choice([0, 0.001]))
                if self.random.random() < 0.02:
                    conn.is_dead = True
                still_owned(conn, me)
                self.served += 1
                if self.random.random() < 0.05:
                    raise StressError("in the block")

    async def _upkeep(self) -> None:
        while not self.is_over:
            await asyncio.sleep(0.01)
            with contextlib.suppress(StressError):
                match self.random.randrange(5):
                    case 0:
                        gc.collect()
                    case 1:
                        await self.pool.drain()
                    case 2:
                        await self.pool.check()
                    case 3:
                        least = 0 if self.is_null else self.random.choice([0, 2])
                        await self.pool.resize(least, self.random.choice([2, LARGEST]))
                    case _:
                        assert self.pool.pop_stats()["pool_size"] <= LARGEST

    async def _verify(self) -> None:
        assert not self.driver.overlaps, "two calls at once on one connection"
        assert self.served, "nobody was served"
        self.driver.is_good = True
        if not self.pool.closed:
            await self.pool.resize(0, LARGEST)
            await self.pool.drain()  # It looks for blocks that nobody will leave.
            await _until_async(
                lambda: not unsettled(self.pool, self.driver), lambda: unsettled(self.pool, self.driver)
            )
            taken = {await self.pool.getconn(timeout=10.0) for _ in range(LARGEST)}
            assert len(taken) == LARGEST
            for conn in taken:
                await self.pool.putconn(conn)
        await self.pool.close()
        await _until_async(lambda: not self.driver.open, lambda: f"open {self.driver.still_open()}, {self.pool!r}")


async def _until_async(predicate: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + 10.0
    while not predicate():
        assert time.monotonic() < deadline, f"not within 10 s: {what()}"
        await asyncio.sleep(0.01)


def tasks(seed: int) -> None:
    """Tasks that are cancelled anywhere."""
    asyncio.run(Tasks(seed).run())


def both(seed: int) -> None:
    """Threads, and two event loops with tasks, at the same time."""
    wrong: list[BaseException] = []

    def loop(seed: int) -> None:
        try:
            tasks(seed)
        except BaseException as error:
            wrong.append(error)

    loops = [threading.Thread(target=loop, args=(seed + number,)) for number in (1, 2)]
    for each in loops:
        each.start()
    try:
        threads(seed)
    finally:
        for each in loops:
            each.join()
    if wrong:
        raise wrong[0]
