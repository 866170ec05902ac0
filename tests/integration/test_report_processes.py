"""Real processes that report over real UDP: how they begin, fork and end, and what is known of them then."""

import os
import signal
import sys

import pytest

from support.programs import finish, run, start
from support.receiver import Receiver
from support.waiting import wait_until

#: No second report comes while a test lasts: what arrives is the first report, or what the end brings.
NEVER = 3600


def test_the_first_report_follows_the_first_use_at_once() -> None:
    with Receiver() as receiver:
        program = start(
            """
            import sys
            from support.counted_pool import CountedPool
            CountedPool(sys.argv[1]).use(3)
            sys.stdin.read()
            """,
            receiver.url(interval=NEVER),
        )
        wait_until(lambda: len(receiver.receive()) == 2)
        report = receiver.reports[0]
        assert (report.number, report.goodbye) == (1, False)
        assert report.pool is not None
        assert report.pool.counters.checkouts == 3
        finish(program)


def test_reports_go_on_every_interval_with_rising_numbers() -> None:
    with Receiver() as receiver:
        program = start(
            """
            import sys
            from support.counted_pool import CountedPool
            CountedPool(sys.argv[1]).use()
            sys.stdin.read()
            """,
            receiver.url(interval=0.1),
        )
        wait_until(lambda: len(receiver.receive()) >= 8)
        finish(program)
        assert [report.sequence for report in receiver.receive()] == list(range(1, len(receiver.reports) + 1))
        numbers = [report.number for report in receiver.reports]
        assert numbers == [number for n in range(1, numbers[-1] + 1) for number in (n, n)]
        assert receiver.goodbyes() == set(receiver.tokens())
        assert max(receiver.sizes) <= 1346


def test_a_process_that_lives_shorter_than_its_interval_tells_everything() -> None:
    """Trap 16."""
    with Receiver() as receiver:
        run(
            """
            import sys
            from support.counted_pool import CountedPool
            CountedPool(sys.argv[1]).use(7)
            """,
            receiver.url(interval=NEVER),
        )
        (token,) = receiver.tokens()
        assert receiver.checkouts(token) == 7
        assert receiver.of(token)[-1].goodbye


def test_the_last_interval_is_told_and_nothing_follows_the_goodbye() -> None:
    """Trap 16."""
    with Receiver() as receiver:
        run(
            """
            import atexit, sys
            from support.counted_pool import CountedPool
            from support.waiting import wait_until
            from poolhouse.report.reporter import flush
            def work_on():  # Registered before the first pool is made, so it runs after the goodbye.
                pool.use(100)
                CountedPool(sys.argv[1], "another").use()
                assert flush() is False
            atexit.register(work_on)
            pool = CountedPool(sys.argv[1])
            pool.use(1)
            flush()
            pool.use(6)
            """,
            receiver.url(interval=0.1),
        )
        (token,) = receiver.tokens()
        assert receiver.checkouts(token) == 7
        last = receiver.of(token)[-1]
        assert last.goodbye
        assert [report.goodbye for report in receiver.of(token)].count(True) == last.datagrams


def test_a_child_is_a_process_from_its_own_first_use_on() -> None:
    """Traps 11 and 12: it inherits no number, and using what it inherited is enough to be heard of."""
    with Receiver() as receiver:
        output = run(
            """
            import os, sys
            from support.counted_pool import CountedPool
            from poolhouse.report.reporter import flush
            pool = CountedPool(sys.argv[1])
            pool.use(5)
            flush()
            for work in (0, 3):
                if (pid := os.fork()) == 0:
                    if work:
                        pool.use(work)
                    print(os.getpid(), work, flush=True)
                    sys.exit()
                assert os.waitpid(pid, 0)[1] == 0
            pool.use(1)
            print(os.getpid(), 6)
            """,
            receiver.url(interval=NEVER),
            options=FORK_OPTIONS,
        )
        told = {token.partition(":")[0]: receiver.checkouts(token) for token in receiver.tokens()}
        assert told == {pid: int(work) for pid, work in map(str.split, output.splitlines()) if work != "0"}
        assert receiver.goodbyes() == set(receiver.tokens())


def test_a_fork_before_the_first_use_is_a_process_of_its_own() -> None:
    with Receiver() as receiver:
        run(
            """
            import os, sys
            from support.counted_pool import CountedPool
            pool = CountedPool(sys.argv[1])
            pid = os.fork()
            pool.use(1 if pid else 2)
            if pid:
                assert os.waitpid(pid, 0)[1] == 0
            """,
            receiver.url(interval=NEVER),
        )
        assert sorted(receiver.checkouts(token) for token in receiver.tokens()) == [1, 2]
        assert len({report.number for report in receiver.reports}) == 2 or {
            r.number for r in receiver.reports
        } == {1}


#: Python 3.13 counts threads after the fork hooks, when the parent's reporter runs again.
FORK_OPTIONS = ("-W", "error") if sys.version_info < (3, 13) else ("-W", "ignore::DeprecationWarning")


def test_the_parent_has_no_thread_of_ours_while_it_forks_and_one_again_after_it() -> None:
    """So that it holds nothing that the child needs, and Python 3.12 has none of ours to warn of."""
    with Receiver() as receiver:
        output = run(
            """
            import os, sys, warnings
            threads = []
            # A hook that was registered first runs last before the fork, when ours has done its work.
            os.register_at_fork(before=lambda: threads.append(len(os.listdir("/proc/self/task"))))
            from support.counted_pool import CountedPool
            from support.waiting import wait_until
            CountedPool(sys.argv[1]).use()
            wait_until(lambda: len(os.listdir("/proc/self/task")) == 2)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                if (pid := os.fork()) == 0:
                    os._exit(0)
            os.waitpid(pid, 0)
            wait_until(lambda: len(os.listdir("/proc/self/task")) == 2)
            print(threads, len(caught))
            """,
            receiver.url(interval=NEVER),
        )
        warns = sys.version_info >= (3, 13)
        assert output == f"[1] {int(warns)}\n"


def test_many_forks_from_many_threads_leave_a_parent_that_reports() -> None:
    with Receiver() as receiver:
        program = start(
            """
            import os, sys, threading
            from support.counted_pool import CountedPool
            pool = CountedPool(sys.argv[1])
            pool.use()
            def fork_often():
                for _ in range(20):
                    if (pid := os.fork()) == 0:
                        pool.use()
                        os._exit(0)
                    os.waitpid(pid, 0)
            threads = [threading.Thread(target=fork_often) for _ in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            pool.use(5)
            print(os.getpid(), flush=True)
            sys.stdin.read()
            """,
            receiver.url(interval=0.1),
            options=("-W", "ignore::DeprecationWarning"),
        )
        assert program.stdout is not None
        pid = program.stdout.readline().strip()
        (token,) = [token for token in receiver.tokens() if token.startswith(f"{pid}:")]
        wait_until(lambda: receiver.checkouts(token) == 6)
        finish(program)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_say_goodbye(method: str, tmp_path: os.PathLike[str]) -> None:
    script = os.path.join(tmp_path, "nova.py")
    with open(script, "w") as file:
        file.write(
            """
import multiprocessing, sys
from support.counted_pool import CountedPool

def work(url, times):
    CountedPool(url).use(times)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    CountedPool(sys.argv[1]).use(1)
    children = [context.Process(target=work, args=(sys.argv[1], n)) for n in (10, 100)]
    for child in children: child.start()
    for child in children: child.join()
    assert [child.exitcode for child in children] == [0, 0]
"""
        )
    with Receiver() as receiver:
        code = "import runpy, sys; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
        if method != "fork":  # A new interpreter has to find the functions of the main module.
            code = "import os, sys; os.execv(sys.executable, [sys.executable, '-W', 'error', *sys.argv[1:]])"
        run(code, script, receiver.url(interval=NEVER), method, options=FORK_OPTIONS)
        assert sorted(receiver.checkouts(token) for token in receiver.tokens()) == [1, 10, 100]
        assert receiver.goodbyes() == set(receiver.tokens())
        assert {report.program for report in receiver.reports} == {"nova.py"}


def test_workers_of_pools_and_executors_say_goodbye() -> None:
    with Receiver() as receiver:
        run(
            """
            import multiprocessing, sys
            from concurrent.futures import ProcessPoolExecutor
            from support.counted_pool import CountedPool
            db = CountedPool(sys.argv[1])
            def work(times):
                db.use(times)
            context = multiprocessing.get_context("fork")
            with ProcessPoolExecutor(2, mp_context=context) as executor:
                list(executor.map(work, [1] * 20))
            with context.Pool(2) as pool:
                pool.map(work, [100] * 20)
                pool.close()
                pool.join()
            """,
            receiver.url(interval=NEVER),
            options=FORK_OPTIONS,
        )
        assert sum(receiver.checkouts(token) for token in receiver.tokens()) == 2020
        assert receiver.goodbyes() == set(receiver.tokens())


def test_a_process_that_ends_by_os_exit_can_flush() -> None:
    with Receiver() as receiver:
        run(
            """
            import os, sys, poolhouse
            from support.counted_pool import CountedPool
            pool = CountedPool(sys.argv[1])
            pool.use(1)
            assert poolhouse.flush()
            pool.use(3)
            assert poolhouse.flush(goodbye=True)
            os._exit(0)
            """,
            receiver.url(interval=NEVER),
        )
        (token,) = receiver.tokens()
        assert receiver.checkouts(token) == 4
        assert receiver.goodbyes() == {token}


def test_a_process_that_is_killed_is_known_by_its_last_report() -> None:
    with Receiver() as receiver:
        program = start(
            """
            import sys
            from support.counted_pool import CountedPool
            CountedPool(sys.argv[1]).use(9)
            sys.stdin.read()
            """,
            receiver.url(interval=0.1),
        )
        wait_until(receiver.receive)
        program.kill()
        program.communicate()
        assert program.returncode == -signal.SIGKILL
        (token,) = receiver.tokens()
        assert receiver.checkouts(token) == 9
        assert not receiver.goodbyes()


def test_pools_first_used_by_many_threads_at_once_have_one_reporter() -> None:
    """Traps 13 and 14: one thread starts, and it survives pools that are added while it reports."""
    with Receiver() as receiver:
        output = run(
            """
            import os, sys, threading
            from support.counted_pool import CountedPool
            barrier = threading.Barrier(33)
            def work(n):
                barrier.wait()
                CountedPool(f"{sys.argv[1]}&program_name=p{n % 4}").use()
                barrier.wait()
            threads = [threading.Thread(target=work, args=(n,)) for n in range(32)]
            for thread in threads: thread.start()
            barrier.wait()
            barrier.wait()
            for thread in threads: thread.join()
            from support.waiting import wait_until
            wait_until(lambda: len(os.listdir("/proc/self/task")) == 2)
            """,
            receiver.url(interval=0.1),
        )
        assert output == ""
        (token,) = receiver.tokens()
        assert {
            program: len(receiver.pools(token, program)) for program in ("p0", "p1", "p2", "p3")
        } == dict.fromkeys(("p0", "p1", "p2", "p3"), 8)


def test_several_destinations_and_programs_of_a_process_share_its_thread_and_its_token() -> None:
    """Trap 20: with one token for all of its programs, a process is one process."""
    with Receiver() as one, Receiver("::1") as two:
        output = run(
            """
            import os, sys
            from support.counted_pool import CountedPool
            for url in sys.argv[1:]:
                CountedPool(url).use(2)
            print(len(os.listdir("/proc/self/task")))
            """,
            one.url(program_name="nova"),
            one.url(program_name="neutron"),
            two.url(program_name="nova"),
        )
        assert output == "2\n"
        (token,) = one.tokens()
        assert two.tokens() == [token]
        assert {report.program for report in one.reports} == {"nova", "neutron"}
        assert {report.program for report in two.reports} == {"nova"}
        assert [one.pools(token, program)[1].counters.checkouts for program in ("nova", "neutron")] == [2, 2]
        assert [report.sequence for report in one.reports if report.program == "nova"][:2] == [1, 2]


def test_names_that_are_not_ascii_arrive_as_they_are() -> None:
    """Trap 15."""
    with Receiver() as receiver:
        run(
            """
            import sys
            from support.counted_pool import CountedPool
            CountedPool(sys.argv[1], "base-de-données").use()
            """,
            receiver.url(program_name="caf%C3%A9", report_host="hôte"),
        )
        assert {(report.program, report.host) for report in receiver.receive()} == {("café", "hôte")}
        (token,) = receiver.tokens()
        assert receiver.pools(token)[1].name == "base-de-données"


def test_plain_detail_sends_the_earlier_values_only() -> None:
    with Receiver() as receiver:
        run(
            """
            import sys
            from support.counted_pool import CountedPool
            CountedPool(sys.argv[1]).use(4)
            """,
            receiver.url(program_name="nova", detail="plain"),
        )
        assert receiver.receive() == []
        assert {earlier.program for earlier in receiver.earlier} == {"nova"}


def test_the_environment_and_report_to_name_the_default_destination() -> None:
    output = run(
        """
        import poolhouse
        from poolhouse.report.reporter import default_destination
        print(default_destination().address)
        poolhouse.report_to("collectd://web2:7/")
        print(default_destination().address)
        """,
        env={"POOLHOUSE_REPORT": "collectd://[::1]:5/"},
    )
    assert output == "[::1]:5\nweb2:7\n"


def test_where_no_thread_can_be_started_the_application_goes_on_and_the_next_pool_tries_again() -> None:
    with Receiver() as receiver:
        output = run(
            """
            import logging, sys
            logging.basicConfig(stream=sys.stdout, format="%(message)s")
            from poolhouse.report import native
            start_new_thread = native._thread.start_new_thread
            def refuse(*_):
                raise RuntimeError("can't start new thread")
            native._thread.start_new_thread = refuse
            from support.counted_pool import CountedPool
            for _ in range(3):
                CountedPool(sys.argv[1]).use(2)
            native._thread.start_new_thread = start_new_thread
            CountedPool(sys.argv[1]).use(2)
            """,
            receiver.url(interval=NEVER),
        )
        assert (
            output.splitlines()[0]
            == "poolhouse cannot start a thread: it reports nothing until another pool is used"
        )
        assert output.count("cannot start a thread") == 1
        (token,) = receiver.tokens()
        assert receiver.checkouts(token) == 8


def test_a_pool_that_cannot_begin_anew_in_a_child_keeps_no_other_from_it() -> None:
    with Receiver() as receiver:
        output = run(
            """
            import logging, os, sys
            logging.basicConfig(stream=sys.stdout, format="%(message)s")
            import poolhouse
            from support.counted_pool import CountedPool
            class Stubborn(CountedPool):
                def after_fork(self):
                    if hasattr(self, "pid"):
                        raise RuntimeError("boom")
                    super().after_fork()
            pools = [Stubborn(sys.argv[1]), CountedPool(sys.argv[1])]
            for pool in pools:
                pool.use(5)
            if (pid := os.fork()) == 0:
                pools[1].use(2)
                poolhouse.flush(goodbye=True)
                os._exit(0)
            os.waitpid(pid, 0)
            """,
            receiver.url(interval=NEVER),
            options=FORK_OPTIONS,
        )
        assert output.startswith("poolhouse cannot reset a pool after a fork: <__main__.Stubborn object")
        assert sorted(receiver.checkouts(token) for token in receiver.tokens()) == [2, 10]


def test_workers_of_a_server_that_forks_without_a_word_to_python_are_processes() -> None:
    """As uWSGI does by default, after it has loaded the application, which has not used its pools yet."""
    with Receiver() as receiver:
        run(
            """
            import ctypes, os, sys
            from support.counted_pool import CountedPool
            from poolhouse.report.reporter import flush
            pool = CountedPool(sys.argv[1])
            for work in (2, 3):
                if (pid := ctypes.PyDLL(None).fork()) == 0:
                    pool.use(work)
                    assert flush(goodbye=True)
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
            """,
            receiver.url(interval=NEVER),
        )
        assert [receiver.checkouts(token) for token in receiver.tokens()] == [2, 3]


def test_a_program_that_closes_all_descriptors_finds_no_report_in_files_that_get_their_numbers() -> None:
    """Daemons close whatever they inherited; the numbers come back with the next files and sockets."""
    with Receiver() as receiver:
        output = run(
            """
            import os, socket, sys, poolhouse
            from support.counted_pool import CountedPool
            pool = CountedPool(sys.argv[1])
            pool.use()
            assert poolhouse.flush(5)
            os.closerange(3, 64)
            pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(16)]
            for pair in pairs:
                pair[1].setblocking(False)
            pool.use(4)
            assert poolhouse.flush(5)
            assert poolhouse.flush(5, goodbye=True)
            for one, other in pairs:
                for end in (one, other):
                    end.setblocking(False)
                    try:
                        print("a report in the application's socket:", end.recv(65536))
                    except BlockingIOError:
                        pass
                one.send(b"whole")  # Neither end was closed.
                assert other.recv(9) == b"whole"
                one.close()
                other.close()
            print("done")
            """,
            receiver.url(interval=NEVER),
        )
        assert output == "done\n"
        (token,) = receiver.tokens()
        assert receiver.goodbyes() == {token}
        last = [report.pool.counters.checkouts for report in receiver.of(token) if report.pool is not None][-1]
        assert last == 5


@pytest.mark.parametrize("closes", ["os.closerange(3, 64)", "pass"])
def test_a_child_that_forks_after_that_does_not_close_files_of_the_application(closes: str) -> None:
    with Receiver() as receiver:
        output = run(
            f"""
            import os, sys, poolhouse
            from support.counted_pool import CountedPool
            pool = CountedPool(sys.argv[1])
            pool.use()
            assert poolhouse.flush(5)
            {closes}
            files = [os.open("/dev/null", os.O_RDONLY) for _ in range(32)]
            child = os.fork()
            if child == 0:
                for file in files:
                    os.fstat(file)
                pool.use()
                os._exit(0 if poolhouse.flush(5, goodbye=True) else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            """,
            receiver.url(interval=NEVER),
        )
        assert output == "0\n"
        assert len(receiver.tokens()) == 2
