"""Three nodes of a service: `python benchmarks/cluster.py [PROCESSES …]`.

- What a report costs a node: CPU time of a real connmond, over UDP and TCP, alone and with two nodes to pass it on
  to. From it follows how many reports a second it takes at 80 % of a core.
- How a node is brought up to date: CPU time of both sides, the longest piece, and what is lost meanwhile.
- How long nodes take to agree after a partition: in virtual time, links included.
"""

import gc
import os
import random
import selectors
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

from fleet import processes_of, reports

from poolhouse.cluster.core import Cluster
from poolhouse.cluster.links import Rest
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.intake import Way
from poolhouse.fleet.limits import FleetLimits
from poolhouse.wire.framing import MAGIC, Kind, Unframer, frame
from poolhouse.wire.introduction import Introduction, Phase
from poolhouse.wire.session import Hello
from support.connmond import Connmond, Watcher
from support.programs import cpu_seconds
from support.reporting import ModelProcess
from support.waiting import wait_until

SIZES = (100, 2_000, 20_000)
#: Reports a second, how many are measured, and how many connections share them over TCP.
RATE, MEASURED, CONNECTIONS = 1_500, 6_000, 500
#: Reports that a node gets in its turn.
TURN = 600
#: Seconds of CPU that a node at rest takes in each second, at most: it looks who is silent.
IDLE_S = 0.1
#: The share of a core that a node may take.
SHARE = 0.8
#: Processes of which a node is brought up to date.
TOKENS = 10_000
PARTITION_S = 60.0
WALL = 1.7e9


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody uses."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(sock.getsockname()[1]) for sock in socks]
    for sock in socks:
        sock.close()
    return ports


class Service:
    """Real nodes on loopback."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        self._stack = stack
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.ports = free_ports(count)
        self.config = folder / "connmon.cfg"
        nodes = [
            f"    node{n} hostname=127.0.0.1:{port} bind=127.0.0.1:{port}" for n, port in enumerate(self.ports)
        ]
        self.config.write_text("\n".join(["[connmon_service_default]", "name: default", "nodes:", *nodes, ""]))

    def start(self, number: int) -> Connmond:
        """Start one of the nodes."""
        options = "--config", str(self.config), "--node", f"node{number}"
        return self._stack.enter_context(Connmond(*options, has_tcp=True))

    def watch(self, daemon: Connmond) -> Watcher:
        """A console of a node."""
        return self._stack.enter_context(Watcher(daemon.consoles))


def sender(way: str, daemon: Connmond) -> "closing[Udp | Tcp]":
    """Something that sends reports to a node."""
    return closing(Udp(daemon.reports) if way == "UDP" else Tcp(daemon.service))


class Udp:
    """Sends over UDP."""

    def __init__(self, port: int) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.connect(("127.0.0.1", port))
        self.close = self._sock.close

    def send(self, _: int, datagrams: list[bytes]) -> None:
        """Send a report."""
        for datagram in datagrams:
            self._sock.send(datagram)


class Tcp:
    """Sends over many connections, as many processes do."""

    def __init__(self, port: int) -> None:
        self._socks = [_introduced(port) for _ in range(CONNECTIONS)]
        self._ready = selectors.DefaultSelector()
        for sock in self._socks:
            self._ready.register(sock, selectors.EVENT_READ)

    def send(self, place: int, datagrams: list[bytes]) -> None:
        """Send a report, and read what the node has confirmed."""
        self._socks[place % CONNECTIONS].sendall(b"".join(frame(Kind.REPORT, datagram) for datagram in datagrams))
        if place % 64 == 0:
            for key, _ in self._ready.select(0):
                key.fileobj.recv(65536)

    def close(self) -> None:
        """End the connections."""
        self._ready.close()
        for sock in self._socks:
            sock.close()


def _introduced(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 30)
    outgoing, unframer = bytearray(), Unframer()
    introduction = Introduction(Hello("report", "benchmark", os.urandom(16)), None, outgoing)
    while introduction.phase is not Phase.READY:
        if outgoing:
            sock.sendall(outgoing)
            outgoing.clear()
        for one in unframer.feed(sock.recv(4096)):
            introduction.take(one)
    return sock


def crowd(count: int, rng: random.Random, interval: float = 1.0) -> list[ModelProcess]:
    """As `processes_of`, whose histograms take longer to make than all that is measured: a hundred, often."""
    models = processes_of(min(count, 100), rng, interval)
    found = list(models)
    for n in range(len(models), count):
        process = ModelProcess(f"{n}:{n:06x}", f"program{n // 20 % 100}", f"web{n // 200}", interval)
        pool, model = process.pool, models[n % len(models)].pool
        pool.counters = model.counters
        pool.wait, pool.use, pool.create = (one.copy() for one in (model.wait, model.use, model.create))
        found.append(process)
    return found


def told(count: int) -> list[list[bytes]]:
    """First a report of each process, then those that are measured."""
    rng = random.Random(count)
    processes = crowd(count, rng, max(1.0, count / RATE))
    found: list[list[bytes]] = []
    while len(found) < count + MEASURED:
        found += reports(processes, 100.0 + len(found) / RATE, rng)
    return found[: count + MEASURED]


def send(out: "Udp | Tcp", several: list[list[bytes]]) -> float:
    """Send reports at `RATE`; how far behind the last one was, in seconds."""
    begin = time.monotonic()
    for place, datagrams in enumerate(several):
        late = time.monotonic() - begin - place / RATE
        if late < 0:
            time.sleep(-late)
        out.send(place, datagrams)
    return max(0.0, time.monotonic() - begin - len(several) / RATE)


def costs_us(way: str, count: int, several: list[list[bytes]]) -> tuple[float, float]:
    """Microseconds of CPU time that a report takes at the node that receives it: alone, and of three.

    Both nodes run at once, and get their reports in turns: what else the machine does then costs both the same.
    """
    with ExitStack() as stack:
        nodes: list[tuple[Connmond, Udp | Tcp]] = []
        for size in (1, 3):
            service = Service(stack, size)
            first, *others = [service.start(number) for number in range(size)]
            watcher = service.watch(first)
            wait_until(lambda watcher=watcher, size=size: watcher.snapshots and _are_linked(watcher, size), 60)
            watcher.client.close()  # Its frames are no part of the cost.
            nodes.append((first, stack.enter_context(sender(way, first))))
        for _, out in nodes:
            send(out, several[:count])
        pids = [daemon.process.pid for daemon, _ in nodes]
        settle(pids)
        begun = [cpu_seconds(pid) for pid in pids]
        for at in range(count, count + MEASURED, TURN):
            for _, out in nodes:
                send(out, several[at : at + TURN])
        settle(pids)
        alone, three = (
            (cpu_seconds(daemon.process.pid) - before) / MEASURED * 1e6
            for (daemon, _), before in zip(nodes, begun, strict=True)
        )
        watchers = [service.watch(daemon) for daemon in (first, *others)]
        wait_until(lambda: _agree(watchers, count), 60, "all nodes know what one was told")
        return alone, three


def settle(pids: list[int]) -> None:
    """Wait until these processes have nothing left to do: four nodes and the sender have two cores.

    A node that gets too little of them passes reports on later, as entries of its ledger.
    """
    while True:
        begun = [cpu_seconds(pid) for pid in pids]
        time.sleep(1.0)
        if all(cpu_seconds(pid) - before < IDLE_S for pid, before in zip(pids, begun, strict=True)):
            return


def _agree(watchers: list[Watcher], count: int) -> bool:
    """Whether all nodes show the same sums, of about so many processes: UDP may lose some."""
    if not all(watcher.snapshots for watcher in watchers):
        return False
    sums = {(fleet.processes, fleet.totals) for fleet in (watcher.snapshots[-1].fleet for watcher in watchers)}
    return len(sums) == 1 and (sums.pop()[0] or 0) >= 0.9 * count


def _are_linked(watcher: Watcher, nodes: int) -> bool:
    known = watcher.snapshots[-1].health.nodes
    return nodes == 1 or (len(known) == nodes and all(node.missing_for is None for node in known))


def measure_costs(sizes: list[int]) -> None:
    """What a report costs."""
    print(f"a report of two datagrams, {RATE:,} a second; a node of three passes it on to two others")
    titles = f"{'processes':>9}  way  {'alone':>9}  {'of three':>9}  {'passing on':>10}"
    print(f"{titles}  {'reports/s at 80 %':>17}")
    for count in sizes:
        several = told(count)
        for way in ("UDP", "TCP"):
            alone, three = costs_us(way, count, several)
            print(
                f"{count:9,}  {way}  {alone:6.1f} µs  {three:6.1f} µs  {(three / alone - 1) * 100:8.0f} %  "
                f"{SHARE * 1e6 / three:17,.0f}",
                flush=True,
            )


class Core:
    """A node without sockets."""

    def __init__(self, name: str, names: tuple[str, ...], now: float) -> None:
        self.name = name
        self.fleet = Fleet(FleetLimits().for_cluster(), now)
        self.cluster = Cluster(self.fleet, name, names, now)
        self.spent: list[float] = []
        self.taken: list[float] = []
        self.readers: dict[str, Unframer] = {}

    def link(self, other: "Core", now: float) -> None:
        """The link to another is up."""
        for one, name in ((self, other.name), (other, self.name)):
            one.readers[name] = Unframer()
            list(one.readers[name].feed(MAGIC))
            one.cluster.link(name, now)

    def send(self, other: "Core", now: float) -> bool:
        """Pass one step's bytes on; whether there were any. What each side took is noted."""
        if not self.cluster.is_linked(other.name) or not self.cluster.ready(other.name, now):
            return False
        begin = time.process_time()
        data = self.cluster.step(other.name, now)
        between = time.process_time()
        for one in other.readers[self.name].feed(data):
            other.cluster.receive(self.name, one, now, WALL)
        self.spent.append(between - begin)
        other.taken.append(time.process_time() - between)
        return True

    @property
    def checkouts(self) -> int:
        """The fleet's checkouts."""
        sums = self.fleet._sums
        return (sums.totals + sums.joined[0]) & ((1 << 64) - 1)


def measure_joining() -> None:
    """CPU time of both sides without a socket, then a real node beside one that goes on receiving."""
    rng = random.Random(1)
    processes = crowd(TOKENS, rng)
    old, new = (Core(name, ("a", "b"), 0.0) for name in ("a", "b"))
    for datagrams in reports(processes, 100.0, rng):
        for datagram in datagrams:
            old.fleet.receive(datagram, 100.0, WALL, Way.TCP)
    gc.freeze()  # As connmond does at its start.
    old.link(new, 101.0)
    while old.send(new, 101.0) or new.send(old, 101.0):
        pass
    assert new.checkouts == old.checkouts
    print(f"\na node that knows nothing takes {TOKENS:,} processes:")
    for side, pieces in (("the teller", old.spent), ("the other", new.taken)):
        print(
            f"  {side}: {sum(pieces):.2f} s of CPU time, {max(pieces) * 1e3:.1f} ms the longest piece", flush=True
        )
    several = told(TOKENS)
    with ExitStack() as stack:
        service = Service(stack, 2)
        first = service.start(0)
        out = stack.enter_context(sender("UDP", first))
        send(out, several[:TOKENS])
        watcher = service.watch(first)
        wait_until(lambda: watcher.snapshots and (watcher.snapshots[-1].fleet.processes or 0) >= TOKENS, 60)
        known = watcher.snapshots[-1].fleet.totals.checkouts or 0
        sending = threading.Thread(target=send, args=(out, several[TOKENS:]))
        sending.start()
        second = service.start(1)
        other = service.watch(second)
        wait_until(lambda: other.snapshots and _are_linked(other, 2), 60)
        begin = time.monotonic()
        wait_until(lambda: (other.snapshots[-1].fleet.totals.checkouts or 0) >= known, 60)
        seconds = time.monotonic() - begin
        sending.join()
        time.sleep(2.0)
        health = watcher.snapshots[-1].health
        print(
            f"the same over a link while {RATE:,} reports a second arrive: up to date {seconds:.1f} s after the "
            f"console saw the link (it looks once a second); {health.lost} of {health.expected:,} datagrams lost"
        )


def measure_agreement() -> None:
    """Seconds of virtual time after a partition until all three show the same."""
    spent = []
    for seed in range(10):
        rng = random.Random(seed)
        spent.append(agree_s(rng))
    print(
        f"\nafter a partition of {PARTITION_S:g} s, 300 processes that report each 2 s: all nodes agree after "
        f"{median(spent):.1f} s, at most {max(spent):.1f} s (virtual time, ten runs)"
    )


def agree_s(rng: random.Random) -> float:
    """One partition."""
    names = ("a", "b", "c")
    nodes = [Core(name, names, 0.0) for name in names]
    a, b, c = nodes
    for one, other in ((a, b), (a, c), (b, c)):
        one.link(other, 0.0)
    processes = crowd(300, rng, 2.0)
    due = {process: rng.uniform(0.0, 2.0) for process in processes}
    home = {process: rng.choice(nodes) for process in processes}
    healed, now = 2.0 + PARTITION_S, 0.0
    # Each connects again when its rest is over, at most a second after the cable is back.
    back = {one: healed + Rest(rng.random).seconds() * rng.uniform(1, 5) for one in (b, c)}
    while True:
        now += 0.05
        if 2.0 <= now < 2.05:
            for one in (b, c):
                a.cluster.lose(one.name, now)
                one.cluster.lose(a.name, now)
        for one in (b, c):
            if now >= back[one] and not a.cluster.is_linked(one.name):
                a.link(one, now)
        for process, at in due.items():
            if now >= at:
                due[process] = at + 2.0
                process.pool.count(checkouts=20)
                for datagram in process.report(now):
                    home[process].fleet.receive(datagram, now, WALL, Way.TCP)
        for _ in range(3):
            for one in nodes:
                for other in nodes:
                    if one is not other:
                        one.send(other, now)
        for one in nodes:
            one.cluster.tick(now)
            one.fleet.expire(now)
        if now > healed and len({(one.checkouts, one.fleet._sums.gauges & 0xFFFF) for one in nodes}) == 1:
            return now - healed


def main() -> None:
    """Print the tables."""
    measure_agreement()
    measure_joining()
    print()
    measure_costs([int(size) for size in sys.argv[1:]] or list(SIZES))


if __name__ == "__main__":
    main()
