"""A connmond that has no descriptor left: each part says so in a sentence, goes on, and is whole afterwards."""

import os
import resource
import signal
import socket
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from support.collectd import send
from support.connmond import Connmond, Watcher, program, sentences
from support.reporting import ModelProcess
from support.waiting import wait_until

CONFIGURATION = """\
[connmon_service_default]
name: default
nodes: n1 hostname=127.0.0.1:5800
csv_dump: {folder}/fleet.csv
"""


def test_without_descriptors_every_part_says_so_and_goes_on(tmp_path: Path):
    config, auth, log = tmp_path / "connmon.cfg", tmp_path / "auth", tmp_path / "log"
    config.write_text(CONFIGURATION.format(folder=tmp_path))
    auth.write_text("alice: secret\n")
    auth.chmod(0o600)
    options = ("-c", str(config), "--authfile", str(auth), "--http", "127.0.0.1:0", "--bind", "127.0.0.1:0")
    process = ModelProcess(program="shop")
    with ExitStack() as stack:
        prefix = ("sh", "-c", f'exec "$@" 2>{log}', "sh")
        daemon = stack.enter_context(Connmond(*options, prefix=prefix))
        watcher = stack.enter_context(Watcher(daemon.consoles))
        pid = daemon.process.pid

        def work() -> int:
            """One more checkout is reported; how many there are."""
            process.pool.work()
            send(process.report(process.number / 100), daemon.reports)
            return process.pool.counters.checkouts or 0

        def is_said(*words: str) -> bool:
            """Whether the log has it; rows are due as long as reports come."""
            work()
            return all(any(word in line for line in sentences(log.read_text())) for word in words)

        def is_shown(count: int) -> None:
            watcher.wait_for(lambda one: (row := program(one, "shop")) and row.totals.checkouts == count)

        is_shown(work())
        wait_until((tmp_path / "fleet.csv").exists, what="the first rows")
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        # The numbers that are in use, and none between them.
        least = min(set(range(4096)) - {int(name) for name in os.listdir(f"/proc/{pid}/fd")})
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (least, hard))
        auth.write_text("alice: secret\nbob: another\n")
        for port in (daemon.http, daemon.service):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        is_shown(work())
        os.kill(pid, signal.SIGHUP)
        reason = "Too many open files"
        wait_until(
            lambda: is_said(
                f"no connection can be accepted: {reason}",
                f"{auth}: {reason}; the users that were read last remain valid",
                f"fleet.csv: rows are not written: [Errno 24] {reason}",
                f"cannot be read: [Errno 24] {reason}: '{config}'; connmond keeps running as it did",
            ),
            what="a sentence of each part",
        )
        is_shown(work())
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.http}/healthz", timeout=60) as answer:
            assert answer.status == 200
        is_shown(work())
        os.kill(pid, signal.SIGHUP)
        wait_until(
            lambda: is_said(
                f"{auth} was read again: 2 users", "rows are written again", f"{config} was read again"
            ),
            what="that all is whole",
        )
        assert daemon.end()[0] == 0
    assert "Traceback" not in log.read_text()
