"""Pools in the life of real processes: forked, patched by gevent, in two event loops, ending without a goodbye."""

import asyncio
import threading
import time

import psycopg
import pytest

from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from support.postgres import Postgres
from support.programs import finish, run, start

#: What Python warns of at a fork of a process with threads is the subject of nobody here.
FORKING = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")


def test_a_forked_child_has_a_pool_of_its_own_and_the_parents_connections_go_on(postgres: Postgres) -> None:
    """Trap 56. psycopg#395, psycopg#651, psycopg#518, psycopg2#1205.

    The child uses the pool, gives back what it inherited, closes, collects and ends in the ordinary way; then the
    parent goes on with the transaction that it had begun before, and with its idle connections.
    """
    printed = run(
        """
        import gc, logging, os, sys
        from poolhouse.pool import ConnectionPool

        logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
        pool = ConnectionPool(sys.argv[1], min_size=2, open=True)
        pool.wait()
        mine = pool.getconn()
        mine.execute("create temp table t (a int)")
        before = {mine.info.backend_pid}
        with pool.connection() as other:
            before.add(other.info.backend_pid)

        child = os.fork()
        if child == 0:
            with pool.connection() as conn:
                print("child has its own:", conn.info.backend_pid not in before)
            pool.putconn(mine)
            pool.close()
            del mine, other, conn
            gc.collect()
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0

        mine.execute("insert into t values (1)")
        print("parent's transaction:", mine.execute("select count(*) from t").fetchone())
        mine.commit()
        pool.putconn(mine)
        with pool.connection() as conn:
            print("parent's idle one:", conn.info.backend_pid in before, conn.execute("select 1").fetchone())
        pool.close()
        """,
        postgres.conninfo,
        options=FORKING,
        has_libraries=True,
    )
    lines = printed.splitlines()
    assert lines[0] == "child has its own: True"
    assert [line for line in lines if line.startswith("WARNING")] == [
        line for line in lines if "taken before this process was forked" in line
    ]
    assert sum("taken before this process was forked" in line for line in lines) == 1
    assert "parent's transaction: (1,)" in lines
    assert "parent's idle one: True (1,)" in lines


def test_children_of_a_preloaded_pool_do_not_share_connections(postgres: Postgres) -> None:
    """psycopg#395: a pool opened before gunicorn forks its workers.

    knifecake/steady-queue#49: they crash. PlanExeOrg/PlanExe#674: one reads the rows of another's user.
    """
    printed = run(
        """
        import os, sys
        from poolhouse.pool import ConnectionPool

        pool = ConnectionPool(sys.argv[1], min_size=2, open=True)
        pool.wait()
        reading, writing = os.pipe()
        children = []
        for number in range(4):
            child = os.fork()
            if child == 0:
                pids = set()
                for _ in range(20):
                    with pool.connection() as conn:
                        assert conn.execute("select %s::int", [number]).fetchone() == (number,)
                        pids.add(conn.info.backend_pid)
                os.write(writing, (" ".join(map(str, pids)) + "\\n").encode())
                sys.exit(0)
            children.append(child)
        assert all(os.waitpid(child, 0)[1] == 0 for child in children)
        os.close(writing)
        with os.fdopen(reading) as told:
            print(told.read(), end="")
        pool.close()
        """,
        postgres.conninfo,
        options=FORKING,
        has_libraries=True,
    )
    backends = [set(line.split()) for line in printed.splitlines()]
    assert len(backends) == 4
    assert sum(map(len, backends)) == len(set().union(*backends))


def test_a_forked_child_runs_a_loop_of_its_own_with_the_pool_of_its_parent(postgres: Postgres) -> None:
    """Trap 56; psycopg#651: the pool opens itself anew in the child's event loop."""
    printed = run(
        """
        import asyncio, gc, logging, os, sys
        from poolhouse.pool import AsyncConnectionPool

        logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
        pool = AsyncConnectionPool(sys.argv[1], min_size=2, open=False)
        loop = asyncio.new_event_loop()
        do = loop.run_until_complete
        do(pool.open(wait=True))
        mine = do(pool.getconn())
        do(mine.execute("create temp table t (a int)"))

        async def use():
            async with pool.connection() as conn:
                print("child has its own:", conn.info.backend_pid != mine.info.backend_pid)
            await pool.putconn(mine)
            await pool.close()

        child = os.fork()
        if not child:
            asyncio.run(use())
            gc.collect()
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
        print(do(do(mine.execute("select count(*) from t")).fetchone()))
        do(mine.commit())
        do(pool.putconn(mine))
        do(pool.close())
        loop.close()
        """,
        postgres.conninfo,
        options=(*FORKING, "-W", "ignore::ResourceWarning"),
        has_libraries=True,
    )
    own, warning, parents = printed.splitlines()
    assert own == "child has its own: True"
    assert warning.startswith("WARNING")
    assert "taken before this process was forked" in warning
    assert parents == "(0,)"


FORKED_IN_A_BLOCK = """
    import contextlib, logging, os, sys
    from poolhouse.pool import ConnectionPool

    conninfo, end, closes = sys.argv[1:]
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
    pool = ConnectionPool(conninfo, min_size=1, close_returns=closes == "closes", open=True)
    with contextlib.suppress(ValueError), pool.connection() as conn:
        conn.execute("create temp table t (a int)")
        conn.execute("insert into t values (1)")
        child = os.fork()
        if not child and end == "by an exception":
            raise ValueError
        if child:
            assert os.waitpid(child, 0)[1] == 0
            # Had it been rolled back, there would be no table; had it been committed, there would be no savepoint.
            conn.execute("savepoint s")
            print(conn.execute("select count(*) from t").fetchone())
    if child:
        pool.close()
    """

FORKED_IN_A_BLOCK_OF_A_TASK = """
    import asyncio, contextlib, logging, os, sys
    from poolhouse.pool import AsyncConnectionPool

    conninfo, end, _ = sys.argv[1:]
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")

    async def main():
        pool = AsyncConnectionPool(conninfo, min_size=1, open=False)
        await pool.open(wait=True)
        with contextlib.suppress(ValueError):
            async with pool.connection() as conn:
                await conn.execute("create temp table t (a int)")
                await conn.execute("insert into t values (1)")
                child = os.fork()
                if not child and end == "by an exception":
                    raise ValueError
                if child:
                    assert os.waitpid(child, 0)[1] == 0
                    await conn.execute("savepoint s")
                    print(await (await conn.execute("select count(*) from t")).fetchone())
        if not child:
            sys.stdout.flush()
            os._exit(0)  # The event loop is the parent's, too.
        await pool.close()

    asyncio.run(main())
    """


@pytest.mark.parametrize("end", ["in order", "by an exception"])
@pytest.mark.parametrize(
    ("program", "closes"),
    [(FORKED_IN_A_BLOCK, ""), (FORKED_IN_A_BLOCK, "closes"), (FORKED_IN_A_BLOCK_OF_A_TASK, "")],
    ids=["threads", "close returns", "asyncio"],
)
def test_a_child_that_leaves_its_parents_block_leaves_the_parents_transaction_alone(
    program: str, closes: str, end: str, postgres: Postgres
) -> None:
    warning, found = run(program, postgres.conninfo, end, closes, options=FORKING, has_libraries=True).splitlines()
    assert warning.startswith("WARNING")
    assert "taken before this process was forked" in warning
    assert found == "(1,)"


#: A table of which a commit, and a rollback, leaves nothing.
VANISHING = "create temp table if not exists t (a int) on commit delete rows"


@pytest.mark.parametrize("leaves", ["pass", "raise KeyError"], ids=["at its end", "by an exception"])
@pytest.mark.parametrize("options", ["", "close_returns=True", "reset=print", "hold_warning=60.0"])
def test_a_child_that_leaves_the_block_in_which_it_was_forked_ends_no_transaction(
    leaves: str, options: str, postgres: Postgres
) -> None:
    printed = run(
        f"""
        import contextlib, logging, os, sys
        from poolhouse.pool import ConnectionPool

        logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
        pool = ConnectionPool(sys.argv[1], min_size=1, open=True, {options})
        with contextlib.suppress(KeyError), pool.connection() as conn:
            conn.execute({VANISHING!r})
            conn.execute("insert into t values (1)")
            child = os.fork()
            if child == 0:
                {leaves}
            else:
                assert os.waitpid(child, 0)[1] == 0
                print("parent:", conn.execute("select count(*) from t").fetchone())
        if child == 0:
            sys.stdout.flush()
            os._exit(0)
        pool.close()
        """,
        postgres.conninfo,
        options=FORKING,
        has_libraries=True,
    )
    lines = printed.splitlines()
    assert "parent: (1,)" in lines
    assert sum("taken before this process was forked" in line for line in lines) == 1


@pytest.mark.parametrize("leaves", ["pass", "raise KeyError"], ids=["at its end", "by an exception"])
def test_a_child_that_leaves_the_block_of_a_task_in_which_it_was_forked_ends_no_transaction(
    leaves: str, postgres: Postgres
) -> None:
    printed = run(
        f"""
        import asyncio, contextlib, logging, os, sys
        from poolhouse.pool import AsyncConnectionPool

        logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")

        async def main():
            pool = AsyncConnectionPool(sys.argv[1], min_size=1, open=False)
            await pool.open(wait=True)
            with contextlib.suppress(KeyError):
                async with pool.connection() as conn:
                    await conn.execute({VANISHING!r})
                    await conn.execute("insert into t values (1)")
                    child = os.fork()
                    if child == 0:
                        {leaves}
                    else:
                        assert os.waitpid(child, 0)[1] == 0
                        print("parent:", await (await conn.execute("select count(*) from t")).fetchone())
            if child == 0:
                sys.stdout.flush()
                os._exit(0)
            await pool.close()

        asyncio.run(main())
        """,
        postgres.conninfo,
        options=FORKING,
        has_libraries=True,
    )
    assert "parent: (1,)" in printed
    assert printed.count("taken before this process was forked") == 1


def test_a_child_in_which_tasks_are_cancelled_does_not_close_what_the_parent_configures(
    postgres: Postgres,
) -> None:
    """`sys.exit()` in the child does so: `asyncio.run` cancels all tasks."""
    printed = run(
        """
        import asyncio, logging, os, sys
        from poolhouse.pool import AsyncConnectionPool

        async def main():
            loop = asyncio.get_running_loop()
            found, goes_on = loop.create_future(), loop.create_future()

            async def configure(conn):
                found.set_result(conn)
                await goes_on

            async with AsyncConnectionPool(sys.argv[1], min_size=1, open=False, configure=configure) as pool:
                conn = await found
                child = os.fork()
                if child == 0:
                    logging.disable()
                    for task in asyncio.all_tasks(loop) - {main_task}:
                        task.cancel()
                    for _ in range(5):
                        await asyncio.sleep(0)
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
                goes_on.set_result(None)
                async with pool.connection(timeout=20) as same:
                    print("parent:", same is conn, await (await conn.execute("select 1")).fetchone())

        with asyncio.Runner() as runner:
            async def first():
                global main_task
                main_task = asyncio.current_task()
                await main()
            runner.run(first())
        """,
        postgres.conninfo,
        options=FORKING,
        has_libraries=True,
    )
    assert printed == "parent: True (1,)\n"


def test_a_forked_child_has_a_pool_for_asyncio_of_its_own_in_its_own_event_loop(postgres: Postgres) -> None:
    """Trap 56."""
    printed = run(
        """
        import asyncio, os, sys
        from poolhouse.pool import AsyncConnectionPool

        pool = AsyncConnectionPool(sys.argv[1], min_size=2, open=False)

        async def backend():
            async with pool.connection() as conn:
                return (await (await conn.execute("select pg_backend_pid()")).fetchone())[0]

        async def child(parents):
            print("child has its own:", await backend() not in parents)
            await pool.close()

        async def main():
            await pool.open(wait=True)
            mine = await pool.getconn()
            await mine.execute("create temp table t (a int)")
            parents = {mine.info.backend_pid, await backend()}
            number = await asyncio.to_thread(fork, parents)
            assert os.waitpid(number, 0)[1] == 0
            await mine.execute("insert into t values (1)")
            await mine.commit()
            await pool.putconn(mine)
            print("parent's idle one:", await backend() in parents)
            await pool.close()

        def fork(parents):
            number = os.fork()
            if number == 0:
                # In a thread, where no event loop runs.
                asyncio.run(child(parents))
                sys.stdout.flush()
                os._exit(0)
            return number

        asyncio.run(main())
        """,
        postgres.conninfo,
        options=FORKING,
        has_libraries=True,
    )
    assert sorted(printed.splitlines()) == ["child has its own: True", "parent's idle one: True"]


@pytest.mark.parametrize("pool_class", ["ConnectionPool", "NullConnectionPool"])
def test_forks_in_the_middle_of_load_cost_neither_parent_nor_child_anything(
    pool_class: str, postgres: Postgres
) -> None:
    """Trap 56: while other threads are anywhere in the pool, even in its critical section."""
    printed = run(
        f"""
        import os, sys, threading
        from poolhouse.pool import {pool_class}

        pool = {pool_class}(sys.argv[1], min_size=0, max_size=3, open=True)
        is_over = threading.Event()
        served = []

        def client(number):
            while not is_over.is_set():
                with pool.connection() as conn:
                    assert conn.execute("select %s::int", [number]).fetchone() == (number,)
                served.append(os.getpid())

        threads = [threading.Thread(target=client, args=[number]) for number in range(6)]
        for thread in threads:
            thread.start()
        children = []
        for number in range(100, 108):
            before = len(served)
            while len(served) < before + 20:
                assert all(thread.is_alive() for thread in threads)
                threads[0].join(0.001)
            child = os.fork()
            if child == 0:
                for _ in range(3):
                    with pool.connection(timeout=30) as conn:
                        assert conn.execute("select %s::int", [number]).fetchone() == (number,)
                pool.close()
                os._exit(0)
            children.append(child)
        print([os.waitpid(child, 0)[1] for child in children])
        is_over.set()
        for thread in threads:
            thread.join()
        print(set(served) == {{os.getpid()}}, pool.get_stats().get("returns_bad", 0))
        pool.close()
        """,
        postgres.conninfo,
        options=FORKING,
        has_libraries=True,
    )
    assert printed.splitlines() == [str([0] * 8), "True 0"]


@pytest.mark.parametrize("pool_class", ["ConnectionPool", "NullConnectionPool"])
def test_threads_that_gevent_patched_are_served(pool_class: str, postgres: Postgres) -> None:
    printed = run(
        f"""
        from gevent import monkey; monkey.patch_all()
        import gevent, sys
        from poolhouse.pool import {pool_class}

        served = []
        def client(number):
            with pool.connection() as conn:
                conn.execute("select pg_sleep(0.01)")
                served.append(number)

        with {pool_class}(sys.argv[1], min_size=0, max_size=2, open=True) as pool:
            gevent.joinall([gevent.spawn(client, number) for number in range(20)], raise_error=True)
            # Interrupted by gevent while it waits: nothing is lost.
            held = [pool.getconn(), pool.getconn()]
            try:
                with gevent.Timeout(0.05):
                    pool.getconn()
            except gevent.Timeout:
                print("interrupted")
            for conn in held:
                pool.putconn(conn)
            with pool.connection() as conn, pool.connection():
                print(conn.execute("select 1").fetchone())
        print(sorted(served) == list(range(20)))
        """,
        postgres.conninfo,
        # gevent 26 imports what Python 3.11 deprecates.
        options=("-W", "error", "-W", "ignore::DeprecationWarning"),
    )
    assert printed.splitlines() == ["interrupted", "(1,)", "True"]


UNCLOSED = """
    import sys
    from poolhouse.pool import ConnectionPool
    pool = ConnectionPool(sys.argv[1], min_size=2, open=True)
    pool.wait()
    with pool.connection() as conn:
        print(conn.execute("select 1").fetchone())
    """

UNCLOSED_IN_LOCALS = """
    import sys
    from poolhouse.pool import ConnectionPool
    def main():
        pool = ConnectionPool(sys.argv[1], min_size=2, open=True)
        conn = pool.getconn()
        print(conn.execute("select 1").fetchone())
        sys.exit(0)
    main()
    """

UNCLOSED_WITHOUT_A_SERVER = """
    import logging, sys
    logging.getLogger("poolhouse.pool").addHandler(logging.NullHandler())
    from poolhouse.pool import ConnectionPool
    pool = ConnectionPool("host=127.0.0.1 port=1", min_size=2, open=True)
    print((1,))
    """

UNCLOSED_ASYNC = """
    import asyncio, sys
    from poolhouse.pool import AsyncConnectionPool
    pool = AsyncConnectionPool(sys.argv[1], min_size=2, open=False)
    async def main():
        await pool.open(wait=True)
        async with pool.connection() as conn:
            print(await (await conn.execute("select 1")).fetchone())
    asyncio.run(main())
    """

#: Connects that nobody waits for any more are under way at the end: in workers, beside a client, in tasks.
UNCLOSED_WHILE_CONNECTING = """
    import asyncio, socket
    from poolhouse import AsyncNullConnectionPool, ConnectionPool, NullConnectionPool, PoolTimeout
    listener = socket.create_server(("127.0.0.1", 0))
    silent = f"host=127.0.0.1 port={listener.getsockname()[1]} user=postgres sslmode=disable gssencmode=disable"
    pools = [ConnectionPool(silent, min_size=2, open=True), NullConnectionPool(silent, open=True)]
    async def main():
        pool = AsyncNullConnectionPool(silent, open=False)
        await pool.open()
        try:
            await pool.getconn(timeout=0.1)
        except PoolTimeout:
            print((1,))
    for pool in pools:
        try:
            pool.getconn(timeout=0.1)
        except PoolTimeout:
            pass
    asyncio.run(main())
    """

UNCLOSED_AIOSQLITE = """
    import asyncio, sys
    import aiosqlite
    from poolhouse.pool import AsyncConnectionPool
    pool = AsyncConnectionPool(":memory:", driver=aiosqlite, min_size=2, open=False)
    async def main():
        await pool.open(wait=True)
        async with pool.connection() as conn:
            print((await conn.execute_fetchall("select 1"))[0])
    asyncio.run(main())
    """


UNCLOSED_WITH_CLIENTS = """
    import sys, threading, time
    from poolhouse.pool import ConnectionPool
    pool = ConnectionPool(sys.argv[1], min_size=1, open=True)
    def work():
        with pool.connection() as conn:
            conn.execute("select pg_sleep(60)")
    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    while pool.get_stats()["requests_waiting"] < 2:
        time.sleep(0.001)
    print((1,))
    """

UNCLOSED_ASYNCPG = """
    import asyncio, sys
    import asyncpg
    from poolhouse.pool import AsyncConnectionPool
    url = sys.argv[2].replace("+psycopg2", "")
    pool = AsyncConnectionPool(url, driver=asyncpg, min_size=2, open=False)
    async def main():
        await pool.open(wait=True)
        async with pool.connection() as conn:
            print((await conn.fetchval("select 1"),))
    asyncio.run(main())
    """

UNCLOSED_SQLALCHEMY = """
    import sys
    from sqlalchemy import create_engine, text
    from poolhouse.pool.sqlalchemy import FairQueuePool
    engine = create_engine(sys.argv[2], poolclass=FairQueuePool)
    held = engine.connect()
    with engine.connect() as conn:
        print(conn.execute(text("select 1")).fetchone())
    """


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(UNCLOSED, id="idle"),
        pytest.param(UNCLOSED_IN_LOCALS, id="checked out"),
        pytest.param(UNCLOSED_WITHOUT_A_SERVER, id="without a server"),
        pytest.param(UNCLOSED_WITH_CLIENTS, id="with clients that work and wait"),
        pytest.param(UNCLOSED_WHILE_CONNECTING, id="while connecting"),
        pytest.param(UNCLOSED_ASYNC, id="asyncio"),
        pytest.param(UNCLOSED_AIOSQLITE, id="aiosqlite"),
        pytest.param(UNCLOSED_ASYNCPG, id="asyncpg"),
        pytest.param(UNCLOSED_SQLALCHEMY, id="SQLAlchemy"),
    ],
)
def test_a_program_ends_without_close_at_once_and_in_silence(program: str, postgres: Postgres) -> None:
    """psycopg#930, psycopg#954, psycopg#1043, psycopg#1309: there, it takes seconds, and says strange things.
    cdeust/Cortex#398: or never ends.


    psycopg's connections warn, as everybody's unclosed things do, if the interpreter shows it: that is left out.
    """
    options = ("-W", "error", "-W", "ignore::ResourceWarning")
    running = start(program, postgres.conninfo, postgres.url.replace(":", "+psycopg2:", 1), options=options)
    assert running.stdout is not None
    assert running.stdout.readline() == "(1,)\n"
    printed_at = time.monotonic()
    assert finish(running) == ""
    assert time.monotonic() - printed_at < 3


def test_a_warning_of_a_long_hold_stops_nobody_though_garbage_is_collected_meanwhile() -> None:
    """python/cpython#106883: a finalizer that runs while CPython 3.11 lists the frames can stop all threads."""
    printed = run(
        """
        import _thread, gc, logging, sys, threading, time
        from poolhouse.pool import ConnectionPool
        from poolhouse.pool.threads import LockParker
        from poolhouse.testing import FakeDriver
        from support.waiting import wait_until

        warned = threading.Event()
        logging.getLogger("poolhouse.pool").addHandler(handler := logging.Handler())
        handler.emit = lambda record: (print(record.getMessage()), warned.set())
        begun, ended = [], []

        def collecting(phase, info):
            # What needs the list of threads, as a finalizer or another thread may at that moment.
            if "poolhouse" in sys._getframe(1).f_code.co_filename:
                begun.append(None)
                _thread.start_new_thread(ended.append, (None,))

        with ConnectionPool(min_size=1, driver=FakeDriver(time.sleep, LockParker), hold_warning=0.05) as pool:
            with pool.connection():
                gc.callbacks.append(collecting)
                gc.set_threshold(1)
                warned.wait(30)
            gc.callbacks.remove(collecting)
        # CPython 3.11 may crash at its end where a thread has been begun and has not run yet.
        wait_until(lambda: len(begun) == len(ended))
        """
    )
    assert "a connection has been held for" in printed
    assert "MainThread is now at" in printed


def test_a_warning_of_a_long_hold_looks_at_a_thread_that_runs_on_meanwhile() -> None:
    """CPython 3.11 makes the objects of its frames one by one; a finalizer in between lets it leave them."""
    printed = run(
        """
        import gc, itertools, sys, threading, time
        from poolhouse.pool.slot import Slot
        from poolhouse.pool.waiter import Waiter
        from poolhouse.pool.whereabouts import where_now

        is_over = False

        def descend(depth):
            return climb(depth - 1) if depth > 0 else 0

        def climb(depth):
            a = b = c = d = e = f = g = h = depth
            return a + descend(depth - 1)

        def work():
            depth = 0
            while not is_over:
                depth = (depth + 37) % 300
                descend(depth)

        collections = itertools.count()

        def collecting(phase, info):
            # Not always, for that would take half a minute.
            if "frames.py" in sys._getframe(1).f_code.co_filename and next(collections) % 13 == 0:
                time.sleep(0.0005)

        thread = threading.Thread(target=work)
        thread.start()
        waiter = Waiter(print, work.__code__, 0, thread.ident, 0.0)
        sys.setswitchinterval(1e-5)
        gc.callbacks.append(collecting)
        gc.set_threshold(1, 1000, 1000)
        told = [where_now((Slot(0), 0.0, work.__code__, 0, waiter, False)) for _ in range(100)]
        gc.callbacks.clear()
        is_over = True
        thread.join()
        print(sum("is now at" in each for each in told))
        """
    )
    assert printed == "100\n"


def test_an_idle_pool_has_one_thread(postgres: Postgres) -> None:
    with ConnectionPool(postgres.conninfo, min_size=4, open=True) as pool:
        pool.wait()
        own = [thread for thread in threading.enumerate() if thread.name.startswith(pool.name)]
        deadline = time.monotonic() + 30
        while len(own) > 1 and time.monotonic() < deadline:
            own[-1].join(timeout=0.1)
            own = [thread for thread in threading.enumerate() if thread.name.startswith(pool.name)]
        assert len(own) <= 1


def test_a_pool_in_another_event_loop_says_what_to_do(postgres: Postgres) -> None:
    """psycopg#219, psycopg#322, psycopg#737, logicblocks/event.store#72: there, it hangs or times out."""
    pool = AsyncConnectionPool(postgres.conninfo, min_size=1, open=False)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(pool.open(wait=True))

    async def elsewhere() -> None:
        async with pool.connection():
            raise AssertionError("it should not be served")

    with pytest.raises(RuntimeError, match="open a pool inside each loop that needs one"):
        asyncio.run(elsewhere())
    loop.run_until_complete(pool.close())
    loop.close()


def test_a_pool_in_a_loop_that_has_not_opened_it_says_that_it_is_not_open(postgres: Postgres) -> None:
    async def main() -> None:
        pool = AsyncConnectionPool(postgres.conninfo, open=False)
        with pytest.raises(psycopg.OperationalError, match="not open"):
            await pool.getconn()

    asyncio.run(main())
