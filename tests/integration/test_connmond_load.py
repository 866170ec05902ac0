"""Consoles never cost reports: a real connmond, reports at a steady pace, and consoles that ask for much."""

import socket
import time
from contextlib import ExitStack

from poolhouse.feed.client import udp_feed
from support.connmond import Connmond, Watcher
from support.reporting import ModelProcess
from support.waiting import wait_until

#: Datagrams a second: a fraction of what one core takes, since the tests share two cores.
PACE = 1_000
PROCESSES, POOLS, PROGRAMS = 400, 5, 40


def busy(number: int) -> ModelProcess:
    process = ModelProcess(f"{number}:abcdef", f"program{number % PROGRAMS}", f"web{number % 20}", pools=POOLS)
    for pool in process.pools:
        pool.work(50)
        pool.count(connects=3, commits=20)
    return process


def test_reports_arrive_whole_while_consoles_change_their_program_all_the_time() -> None:
    processes = [busy(number) for number in range(PROCESSES)]
    with Connmond() as daemon, ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.connect(("127.0.0.1", daemon.reports))
        watcher = stack.enter_context(Watcher(daemon.consoles))
        consoles = []
        for _ in range(4):
            shown: list[object] = []
            client = udp_feed(
                "127.0.0.1", daemon.consoles, "connect", on_snapshot=shown.append, on_link=lambda _: None
            )
            client.start()
            stack.callback(client.close)
            consoles.append((client, shown))
        sent, began = 0, time.monotonic()
        for turn in range(3):
            for number, process in enumerate(processes):
                for datagram in process.report(float(2 * turn)):
                    sock.send(datagram)
                    sent += 1
                for index, (client, _) in enumerate(consoles):
                    if number % 20 == index:
                        client.ask(f"program{(number + index + turn) % PROGRAMS}")
                time.sleep(max(0.0, began + sent / PACE - time.monotonic()))
        snapshot = watcher.wait_for(lambda snapshot: snapshot.health.received >= sent, "all that was sent")
        health = snapshot.health
        assert (health.received, health.refused, health.lost) == (sent, 0, 0)
        for _, shown in consoles:
            wait_until(lambda shown=shown: shown, what="a console is served")
