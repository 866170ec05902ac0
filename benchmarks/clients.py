"""What a node that is gone, stopped or slow costs the application.

    python benchmarks/clients.py [SECONDS ROUNDS]

Each way of reporting has a process of its own with a QueuePool over connections that do nothing. Each process
has its turn in each round: it checks out and in for a second, as fast as it can. Measured are the CPU time of
the whole process, which includes the thread that reports, and the time that each checkout and checkin takes.
All report ten times a second, 20 times as often as usual; what counts are the ratios within a round.

The nodes are real connmonds; the slow one is a server that welcomes everybody, confirms, and reads 1 kB a second.
"""

import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from poolhouse.wire.framing import MAGIC, Kind, Unframer, frame
from poolhouse.wire.session import Challenge, Welcome, encode_challenge, encode_welcome

ROUNDS, SECONDS = 15, 1.0
#: Seconds between two reports.
INTERVAL = 0.1
BARE, UDP, TCP = "not at all", "UDP", "TCP, a node that serves"
CONFIG = "[connmon_service_default]\nname: default\nnodes:\n    node1 hostname=127.0.0.1:{port}\n"


class Connection:
    """A connection to nothing."""

    def rollback(self) -> None: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...
    def create_function(self, *args: Any, **kwargs: Any) -> None: ...


def work(url: str) -> None:
    """For each number of seconds that comes in, check out and in for so long, and print what that took."""
    import sqlalchemy
    from sqlalchemy.pool import QueuePool

    engine = sqlalchemy.create_engine(url, creator=Connection, poolclass=QueuePool, _initialize=False)
    checkout, clock = engine.raw_connection, time.perf_counter_ns
    checkout().close()
    print(json.dumps([sqlalchemy.__version__]), flush=True)
    for line in sys.stdin:
        took: list[int] = []
        cpu, end = time.process_time_ns(), clock() + int(float(line) * 1e9)
        began = clock()
        while began < end:
            checkout().close()
            ended = clock()
            took.append(ended - began)
            began = ended
        cpu = time.process_time_ns() - cpu
        took.sort()
        count = len(took)
        quantiles = [took[count // 2], took[count * 999 // 1000], took[-1]]
        print(json.dumps([cpu / count / 1e3, *(nanoseconds / 1e3 for nanoseconds in quantiles)]), flush=True)


class SlowNode:
    """Welcomes everybody, and reads 1 kB a second."""

    def __init__(self) -> None:
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._server.bind(("127.0.0.1", 0))
        self._server.listen()
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            sock, _ = self._server.accept()
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.sendall(MAGIC + frame(Kind.CHALLENGE, encode_challenge(Challenge(bytes(16)))))
            unframer, taken = Unframer(), 0
            while data := sock.recv(1024):
                for kind, _ in unframer.feed(data):
                    if kind is Kind.HELLO:
                        sock.sendall(frame(Kind.WELCOME, encode_welcome(Welcome("slow"))))
                    else:
                        taken += 1
                        sock.sendall(frame(Kind.TAKEN, taken.to_bytes(8, "big")))
                time.sleep(1)
        except OSError:
            return


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def connmond(stack: ExitStack, folder: str) -> tuple["subprocess.Popen[str]", int, int]:
    """A daemon that serves, and its ports for reports over UDP and TCP."""
    reports, clients = free_port(socket.SOCK_DGRAM), free_port()
    config = Path(folder) / f"{clients}.cfg"
    config.write_text(CONFIG.format(port=clients))
    options = ["--reports", f"127.0.0.1:{reports}", "--consoles", "127.0.0.1:0", "-c", str(config)]
    command = [
        sys.executable,
        "-m",
        "poolhouse.daemon",
        *options,
        "--bind",
        f"127.0.0.1:{clients}",
        "--http",
        "off",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stack.callback(process.wait)
    stack.callback(process.kill)
    assert process.stdout is not None
    process.stdout.readline()
    return process, reports, clients


def main(seconds: float, rounds: int) -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        _, reports, serving = connmond(stack, folder)
        stopped, _, stopping = connmond(stack, folder)
        udp = f"plugin=collectd&collectd_host=127.0.0.1&collectd_port={reports}&collectd_interval={INTERVAL}"
        tcp = "plugin=connmon&connmon_addr=127.0.0.1:{}&" + f"connmon_interval={INTERVAL}"
        urls = {
            BARE: "sqlite://",
            UDP: f"sqlite://?{udp}",
            TCP: f"sqlite://?{tcp.format(serving)}",
            "TCP, a node that is gone": f"sqlite://?{tcp.format(free_port())}",
            "TCP, a node that is stopped": f"sqlite://?{tcp.format(stopping)}",
            "TCP, a node that is slow": f"sqlite://?{tcp.format(SlowNode().port)}",
        }
        workers = {name: started(stack, url) for name, url in urls.items()}
        (version,) = {answer(worker)[0] for worker in workers.values()}
        for worker in workers.values():
            ask(worker, seconds)  # Warm, and connected.
        stopped.send_signal(signal.SIGSTOP)
        figures: dict[str, list[list[float]]] = {name: [] for name in urls}
        for turn in range(rounds):
            names = list(urls)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                figures[name].append(ask(workers[name], seconds))
        for worker in workers.values():
            worker.kill()
    print(f"SQLAlchemy {version}, CPython {platform.python_version()}: a checkout and checkin of a QueuePool,")
    print(f"{rounds} rounds of {seconds:g} s, a report each {INTERVAL:g} s; ratios are medians of the rounds'\n")
    print("| it reports by | CPU, µs | of not at all | of UDP | median, µs | 99.9 %, µs | longest, ms |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, rows in figures.items():
        cpu, median, rare, longest = (statistics.median(column) for column in zip(*rows, strict=True))
        of_bare, of_udp = (
            statistics.median(mine[0] / other[0] for mine, other in zip(rows, figures[peer], strict=True))
            for peer in (BARE, UDP)
        )
        ratios = f"{of_bare:.2f} | {of_udp:.2f}"
        print(f"| {name} | {cpu:.2f} | {ratios} | {median:.2f} | {rare:.1f} | {longest / 1e3:.1f} |")


def started(stack: ExitStack, url: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, "--work", url]
    worker = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # The log says that nodes do not answer.
        text=True,
    )
    stack.callback(worker.wait)
    stack.callback(worker.kill)
    return worker


def ask(worker: "subprocess.Popen[str]", seconds: float) -> Any:
    print(seconds, file=worker.stdin, flush=True)
    return answer(worker)


def answer(worker: "subprocess.Popen[str]") -> Any:
    assert worker.stdout is not None
    return json.loads(worker.stdout.readline())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2])
    else:
        given = sys.argv[1:]
        main(float(given[0]) if given else SECONDS, int(given[1]) if given[1:] else ROUNDS)
