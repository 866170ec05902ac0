"""Looks at other threads' stacks, a thousand a second, beside everything that has ever made such looks crash."""

from textwrap import dedent

import pytest

from support.programs import run

SETUP = """
    import faulthandler, gc, os, sqlite3, sys, threading, time
    faulthandler.enable()
    import poolhouse
    from poolhouse.pool import ConnectionPool
    from poolhouse.report import looks, reporter

    looks.PAUSE_S, looks._SHARE = 0.001, 0
    poolhouse.report_to("collectd://127.0.0.1:25999/?program_name=stress&interval=0.1")

    def pool_of(size, **more):
        more |= dict(driver=sqlite3, kwargs={"check_same_thread": False}, min_size=0, max_size=size, open=True)
        return ConnectionPool(":memory:", **more)

    def looked():
        return reporter._reporters[None]._dispatcher._looks.signs().looks

    def until(number, seconds=60):
        began, deadline = looked(), time.monotonic() + seconds
        while looked() - began < number and time.monotonic() < deadline:
            time.sleep(0.01)
        assert looked() - began >= number, looked() - began
"""
LOG = "import logging; logging.getLogger('poolhouse').setLevel(logging.CRITICAL)\n"
#: What waits in a collection, so that another thread runs on in the middle of whatever collected.
COLLECTING = """
    import itertools
    collections = itertools.count()

    def collecting(phase, info):
        if next(collections) % 13 == 0:
            time.sleep(0.0002)
"""


def stress(code: str, first: str = "") -> str:
    return run("".join(map(dedent, (LOG, first, SETUP, COLLECTING, code))))


def test_beside_two_thousand_threads_of_which_most_wait() -> None:
    printed = stress(
        """
        threading.stack_size(256 * 1024)
        pool, over = pool_of(4, timeout=120), threading.Event()

        def waits():
            over.wait()

        def uses():
            while not over.is_set():
                with pool.connection():
                    pass

        threads = [threading.Thread(target=waits) for _ in range(2000)] + [
            threading.Thread(target=uses) for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        until(40)
        over.set()
        for thread in threads:
            thread.join()
        pool.close()
        print("done")
        """
    )
    assert printed == "done\n"


def test_beside_calls_that_go_deep_threads_that_end_and_collections_at_every_object() -> None:
    printed = stress(
        """
        pool, over = pool_of(4, timeout=120), threading.Event()

        def descend(depth):
            return climb(depth - 1) if depth > 0 else 0

        def climb(depth):
            a = b = c = d = e = f = g = h = depth
            return a + descend(depth - 1)

        def works():
            depth = 0
            while not over.is_set():
                with pool.connection():
                    depth = (depth + 37) % 700
                    descend(depth)

        def begins_threads():
            while not over.is_set():
                thread = threading.Thread(target=descend, args=(50,))
                thread.start()
                thread.join()

        threads = [threading.Thread(target=each) for each in [works] * 6 + [begins_threads] * 2]
        sys.setswitchinterval(1e-5)
        gc.callbacks.append(collecting)
        gc.set_threshold(5, 100, 100)
        for thread in threads:
            thread.start()
        until(1000)
        gc.callbacks.clear()
        over.set()
        for thread in threads:
            thread.join()
        pool.close()
        print("done")
        """
    )
    assert printed == "done\n"


def test_beside_forks() -> None:
    printed = stress(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of the application's own threads.
        from poolhouse.testing.driver import FakeDriver

        # Not SQLite, whose own locks may be held at a fork by a thread that the child does not have.
        driver = FakeDriver(time.sleep, lambda: None)
        pool, over = ConnectionPool("", driver=driver, min_size=0, max_size=4, open=True), threading.Event()

        def uses():
            while not over.is_set():
                with pool.connection():
                    pass

        held = pool.getconn()
        threads = [threading.Thread(target=uses) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(20)
        ends = []
        for number in range(40):
            child = os.fork()
            if not child:
                with pool.connection():
                    if number % 4 == 0:
                        until(3)
                os._exit(0)
            ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        until(20)
        over.set()
        for thread in threads:
            thread.join()
        pool.putconn(held)
        pool.close()
        print(ends == [0] * 40)
        """
    )
    assert printed == "True\n"


@pytest.mark.parametrize("end", ["pass", "sys.exit()", "poolhouse.flush(goodbye=True); os._exit(0)"])
def test_at_the_end_of_the_interpreter(end: str) -> None:
    """Threads are in the middle of their work, and so are the looks."""
    for _ in range(3):
        printed = stress(
            f"""
            pool = pool_of(4, timeout=120)

            def uses():
                while True:
                    with pool.connection():
                        sum(range(100))

            for _ in range(8):
                threading.Thread(target=uses, daemon=True).start()
            held = pool.getconn()
            until(20)
            print("done", flush=True)
            {end}
            """
        )
        assert printed == "done\n"


def test_beside_greenlets_that_start_subprocesses_and_fork() -> None:
    printed = stress(
        """
        import gevent, subprocess
        pool = pool_of(3, timeout=60)

        def works(number):
            for _ in range(30):
                with pool.connection():
                    gevent.sleep(0.001)

        def starts(number):
            for _ in range(6):
                with pool.connection():
                    assert subprocess.run([sys.executable, "-S", "-c", "pass"]).returncode == 0
                    assert subprocess.run(["true"], preexec_fn=int).returncode == 0

        jobs = [gevent.spawn(works, number) for number in range(40)] + [gevent.spawn(starts, 0) for _ in range(3)]
        gevent.joinall(jobs, raise_error=True)
        child = gevent.os.fork()
        if not child:
            with pool.connection():
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert looked() > 30, looked()
        pool.close()
        print("done")
        """,
        first="from gevent import monkey; monkey.patch_all()\n",
    )
    assert printed == "done\n"


def test_beside_thousands_of_tasks_that_are_cancelled() -> None:
    printed = stress(
        """
        import asyncio, random
        from poolhouse.pool import AsyncConnectionPool
        from poolhouse.testing.driver import AsyncFakeDriver

        async def works(pool, depth):
            if depth:
                return await works(pool, depth - 1)
            async with pool.connection():
                await asyncio.sleep(0.01)

        async def main():
            rand = random.Random(1)
            gc.callbacks.append(collecting)
            gc.set_threshold(50, 50, 50)
            fake = AsyncFakeDriver()
            async with AsyncConnectionPool("", driver=fake, min_size=0, max_size=20, timeout=60) as pool:
                began = time.monotonic()
                while looked() < 600:
                    assert time.monotonic() - began < 60
                    tasks = [asyncio.create_task(works(pool, rand.randrange(30))) for _ in range(1500)]
                    await asyncio.sleep(0.05)
                    for task in tasks:
                        if rand.random() < 0.7:
                            task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
            gc.callbacks.clear()

        asyncio.run(main())
        print("done")
        """
    )
    assert printed == "done\n"
