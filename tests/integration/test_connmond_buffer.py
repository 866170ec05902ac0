"""The kernel's buffer for reports: connmond says when it is small, and counts what was dropped."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

from support.connmond import COMMAND, Connmond, Watcher, sentences
from support.waiting import wait_until

#: Bytes of a full datagram, and what the kernel counts for one: docs/reference/wire.md, and measured.
FULL, COST = 1346, 2304
#: Room that is asked for: 8 MiB, which the kernel doubles.
WANTED = (16 << 20) // COST


def test_room_for_reports_that_the_kernel_does_not_give_is_said_with_what_to_do():
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
    options = ["--reports", "127.0.0.1:0", "--consoles", "127.0.0.1:0", "--bind", "off", "--http", "off"]
    # Root's capability to take more than that is taken away.
    command = ["setpriv", "--bounding-set=-net_admin", *COMMAND, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        daemon.terminate()
        _, errors = daemon.communicate(timeout=30)
    sentence = (
        f"WARNING the kernel keeps {2 * limit // COST:,} full datagrams while connmond is busy, not {WANTED:,}; "
        f"for more, set sysctl net.core.rmem_max={8 << 20}, or run connmond with CAP_NET_ADMIN"
    )
    assert sentences(errors) == ([sentence] if limit < 8 << 20 else [])


def test_what_the_kernel_drops_is_counted_to_the_last_datagram():
    sent = 2 * WANTED
    with (
        Connmond() as daemon,
        Watcher(daemon.consoles) as watcher,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.connect(("127.0.0.1", daemon.reports))
        daemon.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED)
        for _ in range(sent):
            sender.send(bytes(FULL))
        daemon.process.send_signal(signal.SIGCONT)
        watcher.wait_for(lambda seen: seen.health.received + seen.health.dropped == sent)
        health = watcher.snapshots[-1].health
        assert health.dropped >= sent - WANTED - 1
        wait_until(lambda: watcher.snapshots[-1].health.dropped == health.dropped)
        status, output, errors = daemon.end()
    assert status == 0
    assert re.search(rf"; {health.dropped:,} dropped by the kernel\n$", output)
    (said,) = sentences(errors)
    assert re.fullmatch(r"WARNING the kernel has dropped [\d,]+ datagrams: they came faster than .*", said)
