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

from cluster import cpu_s

from support.connmond import Connmond, Watcher, program
from support.reporting import ModelProcess

PROCESSES, MEMORY = 100, "64M"
#: Sends until the time is over; prints how many.
FLOOD = """
import random, socket, sys, time
sys.path[:0] = sys.argv[4:]
from support.reporting import ModelProcess
port, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.66", 0)); sock.connect(("127.0.0.1", port))
made = [one for n in range(4_000) for one in ModelProcess(f"{n}:{n:06x}", f"x{n}", f"evil{n}").report(1.0)]
print("ready", flush=True)
began, sent = time.monotonic(), 0
while time.monotonic() < began + seconds:
    while sent < (time.monotonic() - began) * rate:
        try:
            sock.send(made[sent % len(made)])
        except OSError:
            pass
        sent += 1
    time.sleep(0.0005)
print(sent, time.monotonic() - began, flush=True)
"""


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
            while flood.poll() is None:
                turn += 1
                for process in processes:
                    process.pool.work(1)
                    for one in process.report(2.0 * turn):
                        sock.send(one)
                time.sleep(max(0.0, began + 2.0 * turn - time.monotonic()))
        sent, took = flood.stdout.read().split()
        snapshot = watcher.wait_for(lambda one: program(one, "shop"))
        time.sleep(2)
        snapshot = watcher.snapshots[-1]
        row = program(snapshot, "shop")
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        cpu_seconds = cpu_s(daemon)
        health = snapshot.health
        print("| | |\n|---|--:|")
        print(f"| invented datagrams sent a second | {int(sent) / float(took):,.0f} |")
        print(f"| connmond took in a second | {health.received / float(took):,.0f} |")
        print(f"| dropped by the kernel | {health.dropped:,} |")
        print(f"| honest processes shown, of {PROCESSES} | {row.processes if row else 0} |")
        print(f"| their checkouts counted, of {turn * PROCESSES:,} | {row.totals.checkouts if row else 0:,} |")
        print(f"| refused, of those taken | {health.refused:,} of {health.received:,} |")
        print(f"| memory, with --memory {MEMORY} | {resident >> 20} MiB |")
        print(f"| CPU seconds | {cpu_seconds:.1f} in {took:.4} s |")


if __name__ == "__main__":
    main()
