"""What is lost when the system fails: stage each fault on a real fleet, and write the table.

    python tools/faults.py            all faults; writes docs/reference/faults.md
    python tools/faults.py WORD …     those whose names have one of these words; prints the table only

Each fault has a real program with a counted pool, or a process whose every report is known, and a real connmond.
The fault begins, lasts for a while and ends. Then the tool waits until connmond shows every checkout ever made.
It needs root, for network namespaces and for the limits of other processes.
"""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from poolhouse.report.protection import Protection
from support.collectd import Collectd, Namespace, connmon_block, free_port, server_block
from support.connmond import COMMAND, Connmond, Watcher, program, sentences
from support.reporting import ModelProcess
from support.servers import freeze
from support.system_clock import SystemClock
from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "faults.md"
#: How long a fault lasts, in seconds, unless it sets another time.
STAYS = 4.0

HEAD = """\
# System faults

`make faults` stages each of these faults on a real connmond and a real reporting process, and writes this page.
*Sent* and *arrived* count datagrams. *Checkouts lost* are those that connmond never showed: a report is
cumulative, so a later report makes up for a lost one. *Recovery* is the time from the end of the fault until
every checkout was shown; the processes report every half second.

| fault | sent | arrived | checkouts lost | recovery | what the log says, or what else is seen |
|---|--:|--:|--:|--:|---|
"""
TAIL = """
When connmond restarts, its totals begin at zero, unless the service has another node; earlier work is not counted
again. With signed or encrypted reports, a process that reports once within a minute after the restart, and then
ends, is not counted either: connmond cannot ask it any more whether its report is new.

A lost datagram loses no checkouts. It only makes the picture coarser: peaks between two reports may be missing,
and figures are one interval late. A child that lives for only milliseconds reports when it ends. Its report is
lost only if its destination's name was never looked up and no resolver answers in time, or if the report has to
wait for a processor for a second.

If there is no memory for a datagram, connmond refuses it. If memory runs out while connmond is taking a datagram,
connmond undoes what that datagram has changed, and refuses others for at most a second meanwhile. The datagram
counts as lost; the next report contains everything in it.
"""

#: A program with a pool: it uses it as often as each line says, and says how often it has.
PROGRAM = """
import logging, sys
sys.path.insert(0, {tests!r})
logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
{before}
from support.counted_pool import CountedPool
pool = CountedPool({url!r})
for line in sys.stdin:
    pool.use(int(line))
    print(pool.checkouts, flush=True)
"""


@dataclass
class Row:
    """One line of the table."""

    fault: str
    sent: int
    arrived: int
    lost: int
    seconds: float
    said: str

    def __str__(self) -> str:
        """As Markdown."""
        seconds = "at once" if self.seconds < 1 else f"{self.seconds:.0f} s"
        return (
            f"| {self.fault} | {self.sent:,} | {self.arrived:,} | {self.lost:,} | {seconds} | {self.said or '–'} |"
        )


class Steady:
    """A process that reports every half second; each report tells one checkout more."""

    def __init__(self, port: int, **changes: object) -> None:
        self.process = ModelProcess(program="shop", interval=0.5, born=0.0)
        self.sent = 0
        self.clock_error: Callable[[], float] = float
        self._port = port
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not self._end.wait(0.5):
                self.process.pool.work(1)
                self.process.clock_error = self.clock_error()
                for one in self.process.report(time.monotonic() - began):
                    try:
                        sock.sendto(one, ("127.0.0.1", self._port))
                        self.sent += 1
                    except OSError:
                        continue

    @property
    def done(self) -> int:
        """Checkouts so far."""
        return self.process.pool.counters.checkouts or 0


def shown(watcher: Watcher) -> int:
    """The checkouts that connmond shows."""
    row = program(watcher.snapshots[-1], "shop") if watcher.snapshots else None
    return (row.totals.checkouts or 0) if row else 0


def until_right(watcher: Watcher, done: Callable[[], int]) -> tuple[float, int]:
    """Seconds until all is shown, and how much is missing if that never happens."""
    began, wanted = time.monotonic(), done()
    try:
        wait_until(lambda: shown(watcher) >= wanted, what="all checkouts")
    except AssertionError:
        return time.monotonic() - began, wanted - shown(watcher)
    return time.monotonic() - began, 0


def words(errors: str, *parts: str) -> str:
    """The first sentences of a log that have these parts, without what differs from run to run."""
    found = [next((one for one in sentences(errors) if part in one), f"(nothing about {part})") for part in parts]
    return "; ".join(one.partition(" ")[2] for one in found)


@contextmanager
def steady(*options: str, has_tcp: bool = False) -> Iterator[tuple[Connmond, Watcher, Steady]]:
    """A connmond, a console and a process that reports."""
    with (
        Connmond(*options, has_tcp=has_tcp) as daemon,
        Watcher(daemon.consoles) as watcher,
        Steady(daemon.reports) as one,
    ):
        wait_until(lambda: shown(watcher) >= 2, what="the first reports")
        yield daemon, watcher, one


def measured(
    name: str, daemon: Connmond, watcher: Watcher, one: Steady, said: Callable[[str], str] = lambda _: ""
) -> Row:
    """The row of a fault that has just gone; ends the daemon."""
    seconds, lost = until_right(watcher, lambda: one.done)
    arrived, sent = watcher.snapshots[-1].health.received, one.sent
    _, _, errors = daemon.end()
    return Row(name, sent, min(arrived, sent), lost, seconds, said(errors))


def stopped_daemon() -> Row:
    """Connmond is suspended."""
    with steady() as (daemon, watcher, one):
        freeze([daemon.process.pid])
        time.sleep(2 * STAYS)
        os.kill(daemon.process.pid, signal.SIGCONT)
        return measured("connmond suspended for 8 s", daemon, watcher, one)


def full_disk() -> Row:
    """The CSV file's disk is full."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "connmon.cfg"
        config.write_text(
            f"[connmon_service_default]\nname: default\nnodes: n hostname=127.0.0.1\ncsv_dump: {folder}/f.csv\n"
        )
        with steady("-c", str(config)) as (daemon, watcher, one):
            wait_until((Path(folder) / "f.csv").exists, what="the CSV file")
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
            time.sleep(3 * STAYS)
            resource.prlimit(
                daemon.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
            return measured(
                "the disk of the CSV file full",
                daemon,
                watcher,
                one,
                lambda errors: words(errors, "csv").replace(folder, "…"),
            )


def full_log() -> Row:
    """The standard error takes nothing."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        auth = Path(folder) / "auth"
        auth.write_text("not a line of an AuthFile\n")
        prefix = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh")
        daemon = stack.enter_context(Connmond("--authfile", str(auth), prefix=prefix))
        watcher = stack.enter_context(Watcher(daemon.consoles))
        one = stack.enter_context(Steady(daemon.reports))
        time.sleep(STAYS)
        return measured("the disk of the log full (`/dev/full`)", daemon, watcher, one)


def no_descriptors() -> Row:
    """Connmond has no descriptor left while clients connect over TCP."""
    with steady(has_tcp=True) as (daemon, watcher, one), ExitStack() as stack:
        pid = daemon.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        open_now = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now, hard))
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", daemon.service)))
        time.sleep(STAYS)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        late = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.service), 30))
        late.recv(1)
        return measured(
            "no descriptors left, 20 connections waiting",
            daemon,
            watcher,
            one,
            lambda errors: words(errors, "no connection can be accepted"),
        )


INJECTED = """
import sys
import poolhouse.fleet.fleet as fleet
from poolhouse.daemon.command import app
whole, count = fleet.decode_message, 0
def decode(datagram):
    global count
    count += 1
    if 10 < count < 30 and count % 2:
        raise MemoryError
    return whole(datagram)
fleet.decode_message = decode
take, taken = fleet.Fleet._take_report, 0
def take_report(self, *about):
    global taken
    taken += 1
    if taken == 10:
        raise MemoryError
    return take(self, *about)
fleet.Fleet._take_report = take_report
app(prog_name="connmond")
"""


def no_memory() -> Row:
    """Every second datagram meets a MemoryError for a while."""
    from support import connmond as support

    before, support.COMMAND = support.COMMAND, (sys.executable, "-c", INJECTED)
    try:
        with steady() as (daemon, watcher, one):
            wait_until(lambda: one.sent > 40, what="the reports")
            return measured(
                "`MemoryError` at 10 datagrams, and in the middle of a report",
                daemon,
                watcher,
                one,
                lambda errors: (
                    f"11 datagrams are counted as refused (`memory`); {words(errors, 'memory ran out')}"
                ),
            )
    finally:
        support.COMMAND = before


def killed_daemon() -> Row:
    """Connmond is killed and started anew at the same ports."""
    with ExitStack() as stack:
        daemon, _, one = stack.enter_context(steady())
        ports = {"reports": daemon.reports, "consoles": daemon.consoles}
        daemon.process.kill()
        daemon.process.wait()
        before = one.done
        time.sleep(STAYS)
        again = stack.enter_context(Connmond(**ports))
        began, after = time.monotonic(), one.done
        new = stack.enter_context(Watcher(again.consoles))
        wait_until(lambda: shown(new) >= one.done - after - 2 and shown(new) > 0, what="reports of the new daemon")
        lost = max(0, one.done - after - shown(new) - 2)
        arrived = new.snapshots[-1].health.received
        return Row(
            "connmond killed, restarted after 4 s",
            one.sent,
            arrived,
            lost,
            time.monotonic() - began,
            f"its totals restart at zero, without the {before:,} earlier checkouts and those during the fault",
        )


def killed_writer() -> Row:
    """Connmond is killed again and again while it writes its CSV file."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        config, table = Path(folder) / "connmon.cfg", Path(folder) / "f.csv"
        config.write_text(
            f"[connmon_service_default]\nname: default\nnodes: n hostname=127.0.0.1\ncsv_dump: {table}\n"
        )
        options, kills, half = ("-c", str(config)), 20, 0
        daemon = stack.enter_context(Connmond(*options))
        ports = {"reports": daemon.reports, "consoles": daemon.consoles}
        one = stack.enter_context(Steady(daemon.reports))
        for number in range(kills):
            size = table.stat().st_size if table.exists() else 0
            wait_until(lambda size=size: table.exists() and table.stat().st_size > size, what="a row")
            daemon.process.kill()
            daemon.process.wait()
            # What a kill in the middle of a write would have left: each time another part of the last row.
            content = table.read_bytes()
            half += content.endswith(b"\n")
            os.truncate(table, len(content) - 1 - number)
            daemon = stack.enter_context(Connmond(*options, **ports))
        size, after = table.stat().st_size, one.done
        watcher = stack.enter_context(Watcher(daemon.consoles))
        began = time.monotonic()
        wait_until(lambda: shown(watcher) >= one.done - after - 2 and shown(watcher) > 0, what="its reports")
        lost = max(0, one.done - after - shown(watcher) - 2)
        seconds = time.monotonic() - began
        wait_until(lambda: table.stat().st_size > size, what="a row")
        daemon.end()
        columns = {line.count(",") for line in table.read_text().splitlines()}
        said = (
            f"{half} partial rows were cut off; every row in the file is whole"
            if len(columns) == 1
            else "half rows"
        )
        arrived = watcher.snapshots[-1].health.received
        return Row(
            f"connmond killed {kills} times, and its last CSV row cut short",
            one.sent,
            arrived,
            lost,
            seconds,
            said,
        )


class CollectdPorts:
    """Where our plugins listen, in a real collectd after another, and what its configuration says for that."""

    def __init__(self) -> None:
        self.reports, self.consoles = free_port(), free_port()
        self.python = server_block(f'listen "127.0.0.1" {self.reports}')
        self.python += connmon_block(f'listen "127.0.0.1" {self.consoles}')

    @contextmanager
    def watched(self) -> Iterator[tuple[Watcher, Steady]]:
        """A console and a process that reports, once it is shown."""
        with Watcher(self.consoles) as watcher, Steady(self.reports) as one:
            wait_until(lambda: shown(watcher) >= 2, what="the first reports")
            yield watcher, one


def after_collectd(name: str, watcher: Watcher, one: Steady, before: int) -> Row:
    """The row of a collectd that has just begun anew."""
    began, after = time.monotonic(), one.done
    older = len(watcher.snapshots)

    def is_shown() -> bool:
        return len(watcher.snapshots) > older and 0 < shown(watcher) >= one.done - after - 2

    wait_until(is_shown, what="reports of the new collectd")
    seconds, lost = time.monotonic() - began, max(0, one.done - after - shown(watcher) - 2)
    said = f"its totals restart at zero, without the {before:,} earlier checkouts and those during the fault"
    return Row(name, one.sent, watcher.snapshots[-1].health.received, lost, seconds, said)


def restarted_collectd() -> Row:
    """A real collectd with our plugins ends and is started anew."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        ports, folder = CollectdPorts(), Path(name)
        with Collectd(folder, ports.python):
            watcher, one = stack.enter_context(ports.watched())
        before = one.done
        time.sleep(STAYS)
        with Collectd(folder, ports.python):
            return after_collectd("collectd ended, restarted after 4 s", watcher, one, before)


def reloaded_collectd() -> Row:
    """A real collectd is told to read its configuration again, by SIGHUP to its supervisor."""
    with tempfile.TemporaryDirectory() as name:
        ports, folder = CollectdPorts(), Path(name)
        Collectd(folder, ports.python)  # Writes the configuration.
        pid = folder / "supervisor.pid"
        command = ["/usr/sbin/collectdmon", "-P", str(pid), "-c", "/usr/sbin/collectd", "--"]
        subprocess.run([*command, "-C", str(folder / "collectd.conf")], check=True)
        wait_until(lambda: pid.exists() and pid.read_text().strip(), what="the supervisor's number")
        supervisor = int(pid.read_text())
        try:
            with ports.watched() as (watcher, one):
                before = one.done
                os.kill(supervisor, signal.SIGHUP)
                log = folder / "log"
                wait_until(lambda: log.read_text().count("Initialization complete") == 2, what="another collectd")
                name = "collectd reloaded (SIGHUP to collectdmon)"
                return after_collectd(name, watcher, one, before)
        finally:
            os.kill(supervisor, signal.SIGTERM)
            wait_until(lambda: not pid.exists(), what="the supervisor's end")


@contextmanager
def on_one_clock() -> Iterator[tuple[SystemClock, Connmond, Watcher, "Program"]]:
    """A connmond that demands signatures, a console and a program that signs; their clock can be stepped."""
    with tempfile.TemporaryDirectory() as folder, SystemClock() as clock:
        auth = Path(folder) / "auth"
        auth.write_text("alice: a long password\n")
        auth.chmod(0o600)
        sign = Protection("sign", "alice", "a long password")
        with (
            Connmond("--authfile", str(auth), "--securitylevel", "sign", prefix=clock.prefix) as daemon,
            Watcher(daemon.consoles, protection=sign) as watcher,
        ):
            url = f"collectd://alice:a%20long%20password@127.0.0.1:{daemon.reports}/?security=sign"
            with Program(f"{url}&interval=0.5&program_name=shop", prefix=clock.prefix) as one:
                one.use(5)
                wait_until(lambda: shown(watcher) == 5, what="the first report")
                yield clock, daemon, watcher, one


def stepped_system_clock() -> Row:
    """The clock of the whole machine jumps by a day, forth and back; every report is signed."""
    with on_one_clock() as (clock, daemon, watcher, one):
        for seconds in (86_400, -86_400, 0):
            clock.step(seconds)
            one.use(3)
            time.sleep(STAYS / 2)
        return client_row("the system's clock stepped by a day, forward and back; signed", daemon, watcher, one)


def slept_machine() -> Row:
    """The whole machine sleeps for an hour: nothing runs, and the time of day is an hour later."""
    with on_one_clock() as (clock, daemon, watcher, one):
        pids = [daemon.process.pid, one.process.pid]
        freeze(pids)
        clock.step(3600)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        one.use(3)
        return client_row("the machine suspended for an hour; signed", daemon, watcher, one)


def two_of_one_name() -> Row:
    """Two connmonds of a service say that they are the same node; a third is told so."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        with socket.create_server(("127.0.0.1", 0)) as near, socket.create_server(("127.0.0.1", 0)) as far:
            ports = [near.getsockname()[1], far.getsockname()[1]]
        config = Path(folder) / "connmon.cfg"
        nodes = "".join(f"\n    n{at + 1} hostname=127.0.0.1:{port}" for at, port in enumerate(ports))
        config.write_text(f"[connmon_service_default]\nname: default\nnodes:{nodes}\n")
        options = ["-c", str(config), "--bind"]
        twin_options = [*options, "127.0.0.1:0", "--node", "n1"]
        daemon = stack.enter_context(Connmond(*options, f"127.0.0.1:{ports[0]}", "--node", "n1"))
        other = stack.enter_context(Connmond(*options, f"127.0.0.1:{ports[1]}", "--node", "n2"))
        watcher = stack.enter_context(Watcher(other.consoles))
        one = stack.enter_context(Steady(daemon.reports))
        wait_until(lambda: shown(watcher) >= 2, what="the first reports at the other node")
        twin = stack.enter_context(Connmond(*twin_options))
        time.sleep(2 * STAYS)
        twin.end()
        seconds, lost = until_right(watcher, lambda: one.done)
        sent = one.sent
        daemon.end()
        _, _, errors = other.end()
        said = words(errors, "comes and goes")
        return Row("a second connmond with a node's name", sent, sent, lost, seconds, said)


def stepped_clock() -> Row:
    """The reporting machine's clock jumps by a day, forth and back."""
    with steady() as (daemon, watcher, one):
        for error in (86_400.0, -86_400.0, 0.0):
            one.clock_error = lambda error=error: error
            time.sleep(STAYS / 2)
        return measured("a program's clock stepped by a day, forward and back", daemon, watcher, one)


def two_daemons() -> Row:
    """A second connmond is started with the ports of the first."""
    with steady() as (daemon, watcher, one):
        command = [
            *COMMAND,
            "--reports",
            f"127.0.0.1:{daemon.reports}",
            "--consoles",
            "127.0.0.1:0",
            "--bind",
            "off",
        ]
        done = subprocess.run([*command, "--http", "off"], capture_output=True, text=True, timeout=60)
        row = measured("a second connmond on the same port", daemon, watcher, one)
        row.said = done.stderr.strip().replace(str(daemon.reports), "25827")
        return row


def other_version() -> Row:
    """Reports with a newer private part, and a TCP client of a later protocol."""
    with steady("--bind", "127.0.0.1:0") as (daemon, watcher, one), ExitStack() as stack:
        newer = ModelProcess(program="newer")
        sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        newer.pool.work(3)
        for datagram in newer.report(1.0):
            at = datagram.index(b"\x7a\x01")
            sock.sendto(datagram[: at + 4] + b"\x63" + datagram[at + 5 :], ("127.0.0.1", daemon.reports))
        client = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.service), 30))
        client.sendall(b"\x93PLHS9\r\n")
        while client.recv(4096):
            pass
        watcher.wait_for(lambda snapshot: program(snapshot, "newer"))
        row = measured(
            "a newer protocol version over UDP and TCP",
            daemon,
            watcher,
            one,
            lambda errors: words(errors, "another version"),
        )
        row.said += "; over UDP, connmond takes the sums in the lists that sqlalchemy-collectd also knows"
        return row


def other_nodes() -> Row:
    """One node of a service speaks an older protocol, another one a newer."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        config, nodes = Path(folder) / "connmon.cfg", "\n    n1 hostname=127.0.0.1:5800"
        for name, magic in (("n2", b"\x93PLHS0\r\n"), ("n3", b"\x93PLHS9\r\n")):
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            threading.Thread(target=speak, args=(server, magic), daemon=True).start()
            nodes += f"\n    {name} hostname=127.0.0.1:{server.getsockname()[1]}"
        config.write_text(f"[connmon_service_default]\nname: default\nnodes:{nodes}\n")
        options = ("-c", str(config), "--node", "n1", "--bind", "127.0.0.1:0")
        daemon, watcher, one = stack.enter_context(steady(*options))
        time.sleep(STAYS)
        return measured(
            "one node with an older protocol version, one with a newer",
            daemon,
            watcher,
            one,
            lambda errors: re.sub(r":\d+:", ":5800:", words(errors, "n2 is missing", "n3 is missing")),
        )


def speak(server: socket.socket, words: bytes) -> None:
    """Say the same to everybody who connects."""
    while True:
        try:
            client, _ = server.accept()
        except OSError:  # It is closed.
            return
        with client, suppress(OSError):
            client.sendall(words)
            client.recv(4096)


#: Invented processes, how many of them a second, and MiB that the fleet may take meanwhile.
INVENTED, RATE, BUDGET = 1_000_000, 8_000, 64


def million_names() -> Row:
    """Another address invents a million processes, each with a host and a program of its own."""
    zero = f"{0:07x}"
    template = ModelProcess(token=f"{zero}:000000", program=f"p{zero}", host=f"h{zero}").report(0.0)[0]
    with steady("--memory", f"{BUDGET}M") as (daemon, watcher, one), ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind(("127.0.0.66", 0))
        sock.connect(("127.0.0.1", daemon.reports))
        began, most = time.monotonic(), 0
        for number in range(INVENTED):
            sock.send(template.replace(zero.encode(), f"{number:07x}".encode()))
            if number % 100 == 0:
                time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            if number % 10_000 == 0:
                pages = Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]
                most = max(most, int(pages) * resource.getpagesize() >> 20)
        took = time.monotonic() - began
        row = measured(f"a million processes invented within {took:.0f} s", daemon, watcher, one)
        row.sent += INVENTED
        row.arrived = watcher.snapshots[-1].health.received
        refused = watcher.snapshots[-1].health.refused
        row.said = (
            f"{refused:,} were refused; {most} MiB resident with `--memory {BUDGET}M`; the kernel dropped the rest"
        )
        return row


class Program:
    """A real program with a counted pool."""

    def __init__(self, url: str, *, before: str = "", prefix: tuple[str, ...] = ()) -> None:
        code = PROGRAM.format(tests=str(ROOT / "tests"), before=before, url=url)
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def use(self, times: int = 1) -> None:
        """Check out and in so often."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()
        self.done = int(self.process.stdout.readline())

    def end(self) -> str:
        """Let it end; what it logged."""
        return self.process.communicate(timeout=60)[1]


def client_row(name: str, daemon: Connmond, watcher: Watcher, one: Program, said: str = "") -> Row:
    """The row of a fault of a program; it ends well."""
    seconds, lost = until_right(watcher, lambda: one.done)
    errors = one.end()
    daemon.end()
    arrived = watcher.snapshots[-1].health.received
    lines = [line for line in errors.splitlines() if "poolhouse" in line or "report" in line]
    return Row(
        name,
        arrived + watcher.snapshots[-1].health.lost,
        arrived,
        lost,
        seconds,
        said or (lines[0].replace(str(daemon.reports), "25827") if lines else ""),
    )


def working_row(name: str, host: str, before: str, times: int, pause: float) -> Row:
    """The row of a fault that comes of code before the program, and passes while it uses its pool so often."""
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        url = f"collectd://{host}:{daemon.reports}/?interval=0.5&program_name=shop"
        with Program(url, before=before) as one:
            for _ in range(times):
                one.use(1)
                time.sleep(pause)
            return client_row(name, daemon, watcher, one)


def cut_network() -> Row:
    """The interface goes down and comes up again."""
    with ExitStack() as stack:
        network = stack.enter_context(Namespace())
        stack.enter_context(network.entered())
        daemon = stack.enter_context(Connmond())
        watcher = stack.enter_context(Watcher(daemon.consoles))
        one = stack.enter_context(
            Program(f"collectd://127.0.0.1:{daemon.reports}/?interval=0.5&program_name=shop")
        )
        one.use(5)
        wait_until(lambda: shown(watcher) == 5, what="the first report")
        for word in ("down", "up"):
            subprocess.run(["ip", "link", "set", "lo", word], check=True)
            one.use(7)
            time.sleep(STAYS if word == "down" else 0)
        return client_row("the network interface down for 4 s", daemon, watcher, one)


#: A resolver that first refuses, then hangs, then lies, then tells the truth, two seconds each.
RESOLVER = """
import _socket, time
began, system = time.monotonic(), _socket.getaddrinfo
def getaddrinfo(host, port, *more):
    if host != b"aggregator.test":
        return system(host, port, *more)
    since = time.monotonic() - began
    if since < 2:
        raise _socket.gaierror(_socket.EAI_AGAIN, "Temporary failure in name resolution")
    if since < 4:
        time.sleep(2)
    return system("127.0.0.99" if since < 6 else "127.0.0.1", port, *more)
_socket.getaddrinfo = getaddrinfo
"""


def bad_resolver() -> Row:
    """The name server is gone, slow and wrong, one after the other."""
    return working_row("the name server gone, slow and wrong, 2 s each", "aggregator.test", RESOLVER, 14, 0.5)


THREADS = """
import threading
start, refused = threading.Thread.start, []
def refuse(self):
    if len(refused) < 5:
        refused.append(self)
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = refuse
"""


def no_threads() -> Row:
    """No thread can be started, five times."""
    return working_row("no thread can be started at the first five attempts", "127.0.0.1", THREADS, 12, 0.3)


def stopped_program() -> Row:
    """The program is suspended for longer than it takes to be gone."""
    with ExitStack() as stack:
        daemon = stack.enter_context(Connmond())
        watcher = stack.enter_context(Watcher(daemon.consoles))
        url = f"collectd://127.0.0.1:{daemon.reports}/?interval=0.5&program_name=shop"
        one = stack.enter_context(Program(url))
        one.use(5)
        wait_until(lambda: shown(watcher) == 5, what="the first report")
        freeze([one.process.pid])
        time.sleep(2 * STAYS)
        os.kill(one.process.pid, signal.SIGCONT)
        one.use(7)
        return client_row(
            "a program suspended for 8 s", daemon, watcher, one, "it is shown as silent, then as returned"
        )


FORKS = """
import os, sys
sys.path.insert(0, {tests!r})
from support.counted_pool import CountedPool
pool = CountedPool({url!r})
pool.use(1)
children = []
for _ in range(200):
    child = os.fork()
    if not child:
        pool.after_fork()
        pool.use(1)
        sys.exit()
    children.append(child)
for child in children:
    os.waitpid(child, 0)
print("ended", flush=True)
sys.stdin.read()
"""


def fork_bomb() -> Row:
    """A program forks 200 children at once, each of which uses the pool and ends."""
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        url = f"collectd://127.0.0.1:{daemon.reports}/?interval=0.5&program_name=shop"
        code = FORKS.format(tests=str(ROOT / "tests"), url=url)
        command = [sys.executable, "-c", code]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as parent:
            assert parent.stdout is not None
            parent.stdout.readline()
            seconds, lost = until_right(watcher, lambda: 201)
            health = watcher.snapshots[-1].health
            _, errors = parent.communicate()
        said = errors.decode().strip().splitlines()[-1:]
        return Row(
            "200 children forked at once",
            health.received + health.lost,
            health.received,
            lost,
            seconds,
            "".join(said) or f"measured at a load of {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores",
        )


FAULTS: tuple[Callable[[], Row], ...] = (
    full_disk, full_log, bad_resolver, cut_network, stepped_clock, stepped_system_clock, slept_machine,
    stopped_daemon, stopped_program, no_descriptors, no_threads, no_memory, killed_daemon, killed_writer,
    restarted_collectd, reloaded_collectd, fork_bomb, two_daemons, two_of_one_name, other_version, other_nodes,
    million_names,
)  # fmt: skip


def main() -> int:
    """Stage the faults; status 1 if one lost a checkout that it may not lose."""
    wanted = [one for one in FAULTS if not sys.argv[1:] or any(word in one.__name__ for word in sys.argv[1:])]
    rows = []
    for fault in wanted:
        rows.append(fault())
        print(rows[-1], flush=True)
    if not sys.argv[1:]:
        PAGE.write_text(HEAD + "".join(f"{row}\n" for row in rows) + TAIL)
    return 1 if any(row.lost for row in rows) or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
