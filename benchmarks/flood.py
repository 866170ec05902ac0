"""A flood beside honest reports: `python benchmarks/flood.py [DATAGRAMS_A_SECOND] [SECONDS]`.

A real connmond gets that many invented datagrams a second (50,000 if not given) from one address, and reports of
100 honest processes from another one. The table tells what was really sent, how much of the honest part arrived,
what the kernel dropped, and the daemon's memory and CPU. What is beyond one core is dropped by the kernel,
whoever sent it: reports are absolute, so a later one makes up for a lost one.
"""

import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from poolhouse.fleet.snapshot import Row
from support.connmond import Connmond, Watcher, program
from support.programs import cpu_seconds
from support.reporting import ModelProcess

PROCESSES, MEMORY = 100, "64M"
#: For so many seconds after the flood the honest processes go on until all their checkouts are shown.
PATIENCE_S = 20.0
#: Sends until the time is over, a hundred at a time, each from a process of its own; prints how many.
FLOOD = """
import socket, sys, time
sys.path[:0] = sys.argv[4:]
from support.reporting import ModelProcess
port, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.66", 0)); sock.connect(("127.0.0.1", port))
zero = b"0000000"
template = ModelProcess("0000000:000000", "x0000000", "evil0000000").report(1.0)[0]
print("ready", flush=True)
began, sent = time.monotonic(), 0
while (now := time.monotonic()) < began + seconds:
    if sent >= (now - began) * rate:
        time.sleep(0.0005)
        continue
    for _ in range(100):
        try:
            sock.send(template.replace(zero, b"%07x" % sent))
        except OSError:
            pass
        sent += 1
print(sent, time.monotonic() - began, flush=True)
"""


def seen(watcher: Watcher) -> Row:
    """The honest program."""
    watcher.wait_for(lambda snapshot: program(snapshot, "shop"))
    row = program(watcher.snapshots[-1], "shop")
    assert row is not None
    return row


def main() -> None:
    """Run once and print the table."""
    rate = float(sys.argv[1]) if len(sys.argv) > 1 else 50_000.0
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    with Connmond("--memory", MEMORY, "--allow", "127.0.0.64/26") as daemon, Watcher(daemon.consoles) as watcher:
        pid = daemon.process.pid
        command = [sys.executable, "-c", FLOOD, str(daemon.reports), str(rate), str(seconds), *sys.path[:1]]
        flood = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert flood.stdout is not None
        flood.stdout.readline()
        processes = [ModelProcess(f"{n}:aaaaaa", "shop", f"web{n}", born=0.0) for n in range(PROCESSES)]
        began, turn = time.monotonic(), 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", daemon.reports))

            def report(checkouts: int) -> None:
                for process in processes:
                    process.pool.work(checkouts)
                    for one in process.report(time.monotonic() - began):
                        sock.send(one)

            while flood.poll() is None:
                turn += 1
                report(1)
                time.sleep(max(0.0, began + 2.0 * turn - time.monotonic()))
            sent, took = flood.stdout.read().split()
            during, done, ended = seen(watcher), turn * PROCESSES, time.monotonic()
            while seen(watcher).totals.checkouts < done and time.monotonic() < ended + PATIENCE_S:
                report(0)
                time.sleep(2)
            late = time.monotonic() - ended
        health = watcher.snapshots[-1].health
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        cpu = cpu_seconds(pid)
        print("| | |\n|---|--:|")
        print(f"| invented datagrams sent a second | {int(sent) / float(took):,.0f} |")
        print(f"| connmond took in a second | {health.received / (float(took) + late):,.0f} |")
        print(f"| dropped by the kernel | {health.dropped:,} |")
        print(f"| honest processes shown, of {PROCESSES} | {during.processes} |")
        print(
            f"| their checkouts shown at the flood's end, of {turn * PROCESSES:,} | {during.totals.checkouts:,} |"
        )
        print(f"| and {late:.0f} s after it | {seen(watcher).totals.checkouts:,} |")
        print(f"| refused, of those taken | {health.refused:,} of {health.received:,} |")
        print(f"| memory, with --memory {MEMORY} | {resident >> 20} MiB |")
        print(f"| CPU seconds | {cpu:.1f} in {took:.4} s |")


if __name__ == "__main__":
    main()
