"""Names that cannot be looked up, or not yet, or only slowly; servers that are not there, or not yet."""

import time

import pytest

from support.collectd import Namespace
from support.programs import finish, run, start
from support.receiver import Receiver
from support.waiting import wait_until

#: A resolver that knows names below ".test" from `known.set()` on, "both.test" in either family, and hangs for
#: "slow.test" until then.
RESOLVER = """
import _socket, logging, sys, threading, time
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
asked = []
known = threading.Event()
system = _socket.getaddrinfo
def getaddrinfo(host, port, *arguments):
    host = host.decode()
    asked.append(host)
    if host == "slow.test":
        known.wait()
    if host.endswith(".test"):
        if not known.is_set():
            raise _socket.gaierror(_socket.EAI_NONAME, "Name or service not known")
        if host == "both.test":
            return [found for host in ("::1", "127.0.0.1") for found in system(host, port, *arguments)]
        host = "127.0.0.1"
    return system(host, port, *arguments)
_socket.getaddrinfo = getaddrinfo
from support.counted_pool import CountedPool
from support.waiting import wait_until
import poolhouse
"""


def test_a_name_that_becomes_known_is_looked_up_afresh_and_each_change_is_logged_once() -> None:
    with Receiver() as receiver:
        url = f"collectd://aggregator.test:{receiver.port}/?interval=0.1"
        program = start(
            RESOLVER
            + """
CountedPool(sys.argv[1]).use(3)
wait_until(lambda: len(asked) >= 2)
known.set()
print("known", flush=True)
sys.stdin.read()
""",
            url,
        )
        assert program.stdout is not None
        first, second = program.stdout.readline(), program.stdout.readline()
        assert first.startswith(
            f"WARNING poolhouse cannot report to aggregator.test port {receiver.port}: the name lookup failed"
        )
        assert second == "known\n"
        wait_until(lambda: len(receiver.receive()) >= 10)
        (token,) = receiver.tokens()
        assert receiver.checkouts(token) == 3
        assert finish(program) == f"INFO poolhouse reports to aggregator.test port {receiver.port}\n"


def test_a_lookup_that_hangs_keeps_nobody_from_ending_and_the_goodbye_goes_to_the_others() -> None:
    with Receiver() as receiver:
        program = start(
            RESOLVER
            + """
CountedPool(sys.argv[1]).use()
wait_until(lambda: asked == ["127.0.0.1"])
CountedPool("collectd://slow.test/").use()
wait_until(lambda: "slow.test" in asked)
print("hangs", flush=True)
sys.stdin.readline()
""",
            receiver.url(interval=0.1),
        )
        assert program.stdout is not None
        assert program.stdout.readline() == "hangs\n"
        heard = receiver.receive()[-1].number
        began = time.monotonic()
        assert finish(program) == ""
        assert time.monotonic() - began < 10  # The resolver would hang for ever.
        # The thread hangs in the lookup; the end still tells what is known to go somewhere.
        assert receiver.receive()[-1].goodbye
        assert receiver.reports[-1].number > heard


def test_a_fork_does_not_wait_for_a_lookup_that_hangs() -> None:
    with Receiver() as receiver:
        run(
            RESOLVER
            + """
import os
CountedPool("collectd://slow.test/").use()
wait_until(lambda: asked == ["slow.test"])
if (pid := os.fork()) == 0:
    CountedPool(sys.argv[1]).use(2)
    assert poolhouse.flush(30, goodbye=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
# The thread that hangs is alone with its name; the one after it serves the others.
CountedPool(sys.argv[1]).use(1)
assert not poolhouse.flush()
assert asked == ["slow.test", "127.0.0.1"]
""",
            receiver.url(interval=3600),
            options=("-W", "ignore::DeprecationWarning"),
        )
        assert sorted(receiver.checkouts(token) for token in receiver.tokens()) == [1, 2]


def test_a_name_is_not_looked_up_for_every_report_nor_at_the_end() -> None:
    """Trap 19."""
    with Receiver() as receiver:
        output = run(
            RESOLVER
            + """
import atexit
known.set()
atexit.register(lambda: print(len(asked)))
pool = CountedPool(sys.argv[1])
pool.use()
for _ in range(20):
    assert poolhouse.flush()
""",
            f"collectd://aggregator.test:{receiver.port}/",
        )
        assert output.splitlines()[-1] == "1"
        assert receiver.receive()[-1].number >= 20


def test_a_server_that_comes_later_gets_the_reports_and_one_line_tells_of_each_change() -> None:
    with Receiver() as receiver:
        port = receiver.port
    program = start(
        """
        import logging, sys
        logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
        from support.counted_pool import CountedPool
        CountedPool(sys.argv[1]).use(4)
        sys.stdin.read()
        """,
        f"collectd://127.0.0.1:{port}/?interval=0.1",
    )
    assert program.stdout is not None
    why = "[Errno 111] Connection refused; it will keep retrying"
    refused = f"WARNING poolhouse cannot report to 127.0.0.1 port {port}: {why}\n"
    assert program.stdout.readline() == refused
    with Receiver(port=port) as receiver:
        wait_until(lambda: len(receiver.receive()) >= 10)
        (token,) = receiver.tokens()
        assert receiver.checkouts(token) == 4
        assert program.stdout.readline() == f"INFO poolhouse reports to 127.0.0.1 port {port}\n"
    assert program.stdout.readline() == refused
    assert finish(program) == ""


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1"])
def test_a_name_with_addresses_of_both_families_finds_the_server_on_either(listening: str) -> None:
    """In silence, too: that one address refuses is no trouble where the other one takes the reports."""
    with Namespace() as network, network.entered(), Receiver(listening) as receiver:
        assert (
            run(
                RESOLVER
                + """
known.set()
pool = CountedPool(sys.argv[1])
pool.use(2)
assert poolhouse.flush()
""",
                f"collectd://both.test:{receiver.port}/",
            )
            == ""
        )
        (token,) = receiver.tokens()
        assert receiver.checkouts(token) == 2
