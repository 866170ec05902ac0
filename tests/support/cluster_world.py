"""Nodes of a service, their links and moving clients in virtual time, by the real `Fleet` and the real `Cluster`.

`World(seed).run()` plays one random schedule and checks after each action that nothing falls and nothing counts
twice. Then it heals everything, and checks that all nodes are equal.
"""

import random
from functools import lru_cache
from math import inf

from poolhouse.cluster.core import Cluster
from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.distribution import summed
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.intake import Way
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.packed import FIELD_BITS, FIELD_MASK
from poolhouse.fleet.presence import LIVING
from poolhouse.fleet.vectors import CHECKOUTS_SHIFT
from poolhouse.wire.framing import Frame, Kind, Unframer
from support.cluster_clients import FAREWELLS, INTERVAL, WALL, Client

HOSTS = ("web1", "web2")
PROGRAMS = ("nova", "cinder")
#: When the service began.
BEGAN = 1000.0
#: How many nodes there are, how many actions, and how many clients at most. Worlds are small because a second then
#: finds more of the faults in `tests/simulation/test_cluster.py` than with larger ones.
NODES, LENGTHS, MOST_CLIENTS = (*[3] * 14, 4, 5), (2, 4, 6), 2
#: Seconds from one action to the next, and in one schedule of so many.
STEPS, LONG_STEPS, OF_EARLIER = (0.05, 0.4, 1.0, 3.0), (0.4, 3.0, 12.0, 12.0), 8
#: How many ended pools each node keeps apart.
LIMITS = tuple(FleetLimits().for_cluster()._replace(ended_pools=ended_pools) for ended_pools in (1, 2, 64))
#: The gauges and the counters that nodes are compared by.
_GAUGES, _COUNTS = (1 << 9 * FIELD_BITS) - 1, (1 << 2 * FIELD_BITS) - 1
#: Frames that bring counts. A sign of life can have older work counted, too, but only if it moves `Fleet._since`.
_COUNTED = (Kind.REPORT, Kind.LEDGER, Kind.ROWS)


@lru_cache(256)
def _frames(data: bytes) -> tuple[Frame, ...]:
    """What a node reads: it depends on nothing but the bytes, which several nodes get."""
    reader = Unframer()
    reader.is_greeted = True
    return tuple(reader.feed(data))


class Node:
    """A node of the service, from one start to the next."""

    def __init__(self, name: str, names: list[str], offset: float, now: float, limits: FleetLimits) -> None:
        self.name = name
        self.offset = offset
        self.fleet = Fleet(limits, now + offset)
        self.fleet._examiner._due = inf  # Nobody reports findings.
        self.cluster = Cluster(self.fleet, name, names, now + offset)
        #: Whether it has taken anything since the last check, and since when the service counted then.
        self.has_changed = False
        self.since = now + offset
        #: The largest totals that each row ever had.
        self.least: dict[tuple[str, str], int] = {}

    def receive(self, datagram: bytes, now: float, way: Way) -> None:
        self.has_changed = True
        self.fleet.receive(datagram, now + self.offset, WALL, way)

    def end(self) -> None:
        """Let go of its cluster: nothing then waits for the next look for garbage."""
        self.fleet.relay = self.fleet.note_change = None
        del self.fleet.nodes
        for peer in self.cluster._peers.values():
            del peer.queue

    def rows(self) -> list[Aggregate]:
        """The sums of every row that is known."""
        fleet = self.fleet
        found = [fleet._sums]
        for table in fleet._tables:
            found += table.rows()
        return found


class World:
    """One schedule."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.now = BEGAN
        self.limits = rng.choice(LIMITS)
        self.has_times = rng.random() < 0.1
        #: How often everybody reports at the end.
        self.rounds = 2 if rng.random() < 0.2 else 1
        self.names = [f"node{place}" for place in range(rng.choice(NODES))]
        self.pairs = [(one, other) for one in self.names for other in self.names if one < other]
        #: Each schedule leaves out some of what can happen: then the rest happens more often.
        self.actions = [action for action, share in ACTIONS if rng.random() < share]
        self.offsets = rng.choice(((0.0,), (0.0, -900.0, 5e6)))
        self.nodes = {name: self.node(name) for name in self.names}
        #: The node that started last.
        self.started = self.names[0]
        self.blocked: set[tuple[str, str]] = set()
        #: Of each link, by direction: its two nodes.
        self.pipes: dict[tuple[str, str], tuple[Node, Node]] = {}
        self.clients: list[Client] = []
        #: By row: all checkouts that may count.
        self.done: dict[tuple[str, str], int] = {("", ""): 0}
        self.where: dict[Client, str] = {}
        self.late: list[tuple[str, bytes]] = []
        self.loss = rng.choice((0.0, 0.1, 0.3))
        #: Some have earlier clients only, and longer steps than those by which the fleet tells a late datagram of
        #: theirs from a clock that was set.
        is_of_earlier = seed % OF_EARLIER == OF_EARLIER - 1
        self.steps = LONG_STEPS if is_of_earlier else STEPS
        self.share_of_earlier = 1.0 if is_of_earlier else 0.1
        for _ in range(rng.choice((1, 1, 2))):
            self.begin_client(500.0 if rng.random() < 0.25 else 0.0)

    def node(self, name: str) -> Node:
        return Node(name, self.names, self.rng.choice(self.offsets), self.now, self.limits)

    def run(self) -> None:
        """Play the schedule, heal, and check."""
        rng = self.rng
        for _ in range(rng.choice(LENGTHS)):
            rng.choice(self.actions)(self)
            self.now += rng.choice(self.steps)
            if rng.random() < 0.7:
                self.pump(rng.choice((0.3, 1.0)))
            self.check()
        self.heal()
        self.check_equal()
        for node in self.nodes.values():
            node.end()

    # What happens

    def begin_client(self, age: float = 0.0) -> None:
        """A process reports for the first time, this many seconds after it began: no node has answered before."""
        rng = self.rng
        is_plain = rng.random() < self.share_of_earlier
        born = self.now - age
        before = 40 if age > 1.0 else 0
        place = rng.choice(HOSTS), rng.choice(PROGRAMS)
        client = Client(len(self.clients) + 1, *place, born, before, is_plain, self.has_times)
        self.clients.append(client)
        # A machine that starts brings up its node and its processes.
        self.where[client] = self.started if rng.random() < 0.5 else rng.choice(self.names)
        # An earlier client does not tell its age.
        self.count(client, before if is_plain or born >= BEGAN else 0)
        self.report_one(client)

    def newcomer(self) -> None:
        if len(self.clients) < MOST_CLIENTS:
            # Whether a process or the service began first is known only if there was time between.
            after = max(0.0, self.now - BEGAN - 1.5)
            self.begin_client(self.rng.choice((0.0, after, after, 500.0)))

    def end_client(self) -> None:
        client = self.rng.choice(self.clients)
        if client.is_alive:
            if self.rng.random() < 0.6 and not client.is_plain:
                self.report_one(client, goodbye=True)
            client.is_alive = False

    def report(self) -> None:
        self.report_one(self.rng.choice(self.clients))

    def change_pools(self) -> None:
        """A client opens and ends pools, and reports until the ended ones are told no more."""
        rng, client = self.rng, self.rng.choice(self.clients)
        for _ in range(rng.choice((1, 1, 4))):
            client.open_pool()
        for key in [key for key, pool in client.pools.items() if pool[2] < 0 and rng.random() < 0.5]:
            client.end_pool(key)
        for _ in range(rng.choice((1, 2, FAREWELLS + 2))):
            self.report_one(client)
            self.now += 0.5

    def receive_late(self) -> None:
        if self.late:
            name, datagram = self.rng.choice(self.late)
            self.nodes[name].receive(datagram, self.now, Way.UDP)

    def report_one(self, client: Client, goodbye: bool = False) -> None:
        """The client works, may change its node, and reports: by TCP, or by UDP to one node or to all."""
        rng = self.rng
        if not client.is_alive or (client.is_plain and self.now < client.told_at + 1.0):
            return  # An earlier client's datagrams carry whole seconds.
        client.told_at = self.now
        for pool in client.pools.values():
            if pool[2] < 0:
                work = rng.randrange(4)
                self.count(client, work)
                pool[0] += work
                pool[1] = rng.randrange(3)
        if rng.random() < 0.3:
            self.where[client] = rng.choice(self.names)
        datagrams = client.report(self.now, goodbye)
        ways = rng.random()
        if ways < 0.6 and not client.is_plain:
            for datagram in datagrams:
                self.nodes[self.where[client]].receive(datagram, self.now, Way.TCP)
            return
        targets = self.names if ways < 0.8 else [self.where[client]]
        for name in targets:
            order = rng.sample(datagrams, len(datagrams)) if rng.random() < 0.2 else datagrams
            for datagram in order:
                if rng.random() < 0.2:
                    self.late.append((name, datagram))
                if rng.random() >= self.loss:
                    self.nodes[name].receive(datagram, self.now, Way.UDP)

    def count(self, client: Client, checkouts: int) -> None:
        """Note what the rows may show."""
        host, program = client.host, client.program
        for key in ((host, program), ("", program), (host, ""), ("", "")):
            self.done[key] = self.done.get(key, 0) + checkouts

    def cut_or_mend(self) -> None:
        rng = self.rng
        if self.blocked and rng.random() < 0.4:
            self.blocked.clear()
        elif rng.random() < 0.7:
            alone = rng.choice(self.names)
            self.blocked |= {pair for pair in self.pairs if alone in pair}
        else:
            self.blocked.add(rng.choice(self.pairs))
        for pair in self.blocked:
            self.unlink(pair)

    def restart(self) -> None:
        """A node begins with an empty memory, and may have no link for a while."""
        name = self.rng.choice(self.names)
        pairs = [pair for pair in self.pairs if name in pair]
        for pair in pairs:
            self.unlink(pair)
        self.nodes[name].end()
        self.nodes[name] = self.node(name)
        self.started = name
        if self.rng.random() < 0.3:
            self.blocked.update(pairs)

    # Links

    def unlink(self, pair: tuple[str, str]) -> None:
        if pair not in self.pipes:
            return
        one, other = pair
        for here, there in ((one, other), (other, one)):
            del self.pipes[here, there]
            node = self.nodes[here]
            node.cluster.lose(there, self.now + node.offset)

    def link(self, pair: tuple[str, str]) -> None:
        one, other = pair
        for here, there in ((one, other), (other, one)):
            node = self.nodes[here]
            self.pipes[here, there] = node, self.nodes[there]
            node.cluster.link(there, self.now + node.offset)

    def pump(self, share: float) -> bool:
        """Bring links up, and move bytes on most of them; whether anything moved."""
        rng, now = self.rng, self.now
        for pair in self.pairs:
            if pair not in self.pipes and pair not in self.blocked and rng.random() < share:
                self.link(pair)
        for node in self.nodes.values():
            node.cluster.tick(now + node.offset)
        has_moved = False
        for (here, there), (node, target) in self.pipes.items():
            if share < 1.0 and rng.random() > share:
                continue
            cluster, at = node.cluster, now + node.offset
            if cluster.ready(there, at):
                has_moved = True
                receive, at_target = target.cluster.receive, now + target.offset
                for one in _frames(cluster.step(there, at)):
                    target.has_changed |= one.kind in _COUNTED
                    receive(here, one, at_target, WALL)
        return has_moved

    def heal(self) -> None:
        """All links come up, every living client reports, and two intervals pass."""
        self.blocked.clear()
        self.loss = 0.0
        self.now += 1.0  # An earlier client's datagrams carry whole seconds.
        if self.rng.random() < 0.3:  # Else nobody reports before the links are up.
            self.report_all()
        self.settle()
        for _ in range(self.rounds):
            self.now += INTERVAL
            self.check()
            self.report_all()
            self.settle()
        self.now += INTERVAL
        self.check()
        # Whoever was killed before is silent by now, and nobody else.
        self.now += 3.75 * INTERVAL
        for node in self.nodes.values():
            node.fleet.expire(self.now + node.offset)

    def report_all(self) -> None:
        """Each living client reports to its node, and has done nothing."""
        for client in self.clients:
            if client.is_alive:
                way = Way.UDP if client.is_plain else Way.TCP
                for datagram in client.report(self.now):
                    self.nodes[self.where[client]].receive(datagram, self.now, way)

    def settle(self) -> None:
        for _ in range(60):
            if not self.pump(1.0):
                return
        raise AssertionError(f"seed {self.seed}: the nodes do not come to rest")

    # What must be true

    def check(self) -> None:
        """Nothing falls, and nothing counts twice."""
        for node in self.nodes.values():
            if not node.has_changed and node.since == node.fleet._since:
                continue
            node.has_changed, node.since = False, node.fleet._since
            for row in node.rows():
                key, checkouts = row.key, (row.totals + row.joined[0]) & FIELD_MASK
                before = node.least.get(key, 0)
                if checkouts == before:
                    continue
                assert checkouts >= before, (
                    f"seed {self.seed}: {node.name}'s {key} fell from {before} to {checkouts}"
                )
                assert checkouts <= self.done[key], (
                    f"seed {self.seed}: {node.name}'s {key} has {checkouts} of {self.done[key]}"
                )
                node.least[key] = checkouts

    def check_equal(self) -> None:
        """All nodes hold the same, and nothing that lives is missing."""
        first, *others = (self.picture(node) for node in self.nodes.values())
        for name, other in zip(self.names[1:], others, strict=True):
            assert first == other, f"seed {self.seed}: node0 and {name} differ:\n{first}\n{other}"
        (node, *_) = self.nodes.values()
        since = min(one.fleet._since - one.offset for one in self.nodes.values())
        for client in self.clients:
            process = node.fleet._processes.get((client.host, client.program, client.token))
            if not client.is_alive or client.is_plain:
                continue
            assert process is not None, f"seed {self.seed}: {client.token} is missing"
            assert process.state is LIVING, f"seed {self.seed}: {client.token} is not living"
            used = process.gauges >> (2 * FIELD_BITS) & FIELD_MASK
            assert used == client.used, f"seed {self.seed}: {client.token} uses {used}, not {client.used}"
            counted = process.totals & FIELD_MASK
            if client.born >= since + 1.0:
                assert counted >= client.living_done, (
                    f"seed {self.seed}: {client.token} has {counted} of {client.living_done}"
                )

    def picture(self, node: Node) -> object:
        """Everything that all nodes must agree on; on the checkouts between two reports only after two of them."""
        gauges = _GAUGES if self.rounds > 1 else _GAUGES & ~(FIELD_MASK << CHECKOUTS_SHIFT)
        rows = {
            row.key: (
                row.gauges & gauges,
                row.totals + row.joined[0] & _COUNTS,
                row.sent,
                [(one.counts, one.sum_ns, one.max_ns) for one in summed(row.times, row.joined[1])]
                if self.has_times
                else None,
            )
            for row in node.rows()
        }
        processes = {
            key: (process.state is LIVING, process.gauges & gauges, process.totals & _COUNTS, process.number)
            for key, process in node.fleet._processes.items()
        }
        return rows, processes


#: What can happen, and in which share of the schedules it does.
ACTIONS = (
    (World.report, 1.0),
    (World.report, 0.7),
    (World.cut_or_mend, 0.6),
    (World.restart, 0.6),
    (World.newcomer, 0.4),
    (World.end_client, 0.4),
    (World.change_pools, 0.4),
    (World.receive_late, 0.3),
)
