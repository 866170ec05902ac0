"""Two nodes' ledgers joined: what is taken, what is not counted twice, and what stays out of rates."""

import pytest

from poolhouse.errors import PacketError
from poolhouse.fleet import ledger
from poolhouse.fleet.exchange import Exchange
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.forgotten import BIRTH_ERROR
from poolhouse.fleet.intake import Way
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters
from poolhouse.wire.ledger import NO_COUNTS, Earlier, RowSums, Sums, chunk, decode_ledger, encode_entry
from poolhouse.wire.stored import NO_HISTOGRAMS
from support.reporting import ModelProcess
from support.shortage import assert_whole

WALL = 1.7e9
KEY = ("web1", "nova", "1:abcdef")


class Node:
    """A fleet that began at `began`, and its ledger."""

    def __init__(self, began: float = 0.0, limits: FleetLimits | None = None) -> None:
        self.limits = limits or FleetLimits().for_cluster()
        self.fleet = Fleet(self.limits, began)
        self.exchange = Exchange(self.fleet)
        self.changed = []
        self.relayed = []
        self.fleet.note_change = self.changed.append
        self.fleet.relay = lambda process, number, datagram: self.relayed.append(datagram)

    def receive(self, datagrams, now, way=Way.TCP):
        for datagram in datagrams:
            assert self.fleet.receive(datagram, now, WALL, way) is None

    def tell(self, other: "Node", now: float, key=KEY):
        """The entry of a process, through its bytes, joined by another node."""
        entry = self.exchange.entry(self.fleet._processes[key], now)
        (read,) = decode_ledger(chunk([encode_entry(entry)]))
        return other.exchange.join(read, now)

    def tell_forgotten(self, other: "Node", now: float) -> None:
        """The sums of the processes that this node has forgotten, learned by another node."""
        other.exchange.learn_since(self.exchange.counting_for(now), now)
        for told in self.exchange.forgotten():
            other.exchange.join_forgotten(told, now)
        other.exchange.learn_forgotten(self.exchange.forgotten_for(now), now)

    def row(self, now: float):
        return self.fleet.snapshot(now, WALL).fleet

    def checkouts(self, now: float) -> int:
        return self.row(now).totals.checkouts or 0


def a_process(**how) -> ModelProcess:
    return ModelProcess(**{"token": "1:abcdef", "born": 1.0, **how})


def test_a_node_that_was_not_there_takes_what_was_counted():
    node, late, process = Node(), Node(), a_process()
    process.pool.work(5, 0.02)
    node.receive(process.report(2.0), 2.0)
    learned = node.tell(late, 3.0)
    assert learned.has_learned
    assert not learned.knows_more
    assert late.row(3.0).totals == node.row(3.0).totals
    assert late.row(3.0).since_start.use.count == 5
    assert late.row(3.0).since_start.use.quantile(0.5) == node.row(3.0).since_start.use.quantile(0.5)
    assert late.row(3.0).processes == 0
    process.pool.work(2)
    for one in (node, late):
        one.receive(process.report(4.0), 4.0)
        assert (one.checkouts(4.0), one.row(4.0).processes) == (7, 1)


def test_a_second_report_that_only_another_node_heard_keeps_a_process_that_is_gone_for_longer():
    """Those without one are forgotten first."""
    node, other, process = Node(), Node(), a_process()
    first = process.report(2.0)
    for one in (node, other):
        one.receive(first, 2.0)
    other.receive(process.report(4.0), 4.0)
    node.fleet.expire(60.0)
    other.tell(node, 60.0)
    (gone,) = node.fleet._gone
    assert gone.is_proven
    assert_whole(node.fleet)


def test_what_is_told_twice_counts_once():
    node, other, process = Node(), Node(), a_process(pools=2)
    for pool in process.pools:
        pool.work(5)
    node.receive(process.report(2.0), 2.0)
    node.tell(other, 3.0)
    learned = node.tell(other, 3.0)
    assert not learned.has_learned
    assert not learned.knows_more
    assert other.checkouts(3.0) == 10


def _with_pool(**changed):
    return lambda entry: entry._replace(pools=(entry.pools[0], entry.pools[1]._replace(**changed)))


#: Every way in which an entry can differ from what a node has, except by ages and by what it lacks itself.
NEWS = {
    "number": lambda entry: entry._replace(number=entry.number + 1),
    "goodbye": lambda entry: entry._replace(is_ended=True),
    "losses": lambda entry: entry._replace(lost=1),
    "complete": lambda entry: entry._replace(complete_since=entry.complete_since + 1),
    "values": lambda entry: entry._replace(knows=entry.knows | 8),
    "counters": lambda entry: entry._replace(sent=entry.sent | 1 << 12),
    "sum": lambda entry: entry._replace(floor=1, older=Sums(tuple(NO_COUNTS), (Histogram(),) * 3)),
    "earlier": lambda entry: entry._replace(
        earlier=Earlier(1.0, tuple(entry.pools[0].counts), entry.pools[0].counts)
    ),
    "one pool less": lambda entry: entry._replace(pools=entry.pools[:1]),
    "one pool more": lambda entry: entry._replace(pools=(*entry.pools, entry.pools[0]._replace(key=9))),
    "another pool": _with_pool(key=9),
    "reading": _with_pool(number=3),
    "end of a pool": _with_pool(is_over=True),
    "count": _with_pool(counts=NO_COUNTS._replace(checkouts=6)),
    "unknown count": _with_pool(counts=NO_COUNTS._replace(checkouts=5, invalidated=None)),
    "durations": _with_pool(durations=NO_HISTOGRAMS),
    "base": _with_pool(base=NO_COUNTS._replace(checkouts=1)),
    "base of durations": _with_pool(base_durations=NO_HISTOGRAMS + b"x"),
    "fall": _with_pool(fallen=Sums(tuple(NO_COUNTS), (Histogram(),) * 3)),
}


@pytest.mark.parametrize("news", NEWS)
def test_an_entry_is_known_if_only_its_ages_are_new(news):
    node, process = Node(), a_process(pools=2)
    for pool in process.pools:
        pool.work(5, 0.02)
    node.receive(process.report(2.0), 2.0)
    (mine,) = node.exchange.processes()
    entry = node.exchange.entry(mine, 3.0)
    assert ledger.is_known(mine, entry._replace(silent_for=0.5, age=7.0, is_proven=True, uptime=7.0), 64)
    assert not ledger.is_known(mine, NEWS[news](entry), 64)


def test_a_pool_that_has_ended_is_known_once_it_adds_nothing():
    node, process = Node(), a_process(pools=2)
    for pool in process.pools:
        pool.work(5)
    node.receive(process.report(2.0), 2.0)
    process.pools[1].work(1)
    process.pools[1].close()
    node.receive(process.report(4.0), 4.0)
    (mine,) = node.exchange.processes()
    told = node.exchange.entry(mine, 5.0)
    assert [pool.is_over for pool in told.pools] == [False, True]
    assert not ledger.is_known(mine, told, 64), "the checkout before its end is still a gauge"
    node.exchange.join(told, 5.0)
    assert ledger.is_known(mine, told, 64)


def test_a_known_entry_brings_ages():
    node, other, process = Node(), Node(), a_process()
    process.pool.work(5)
    datagrams = process.report(2.0)
    other.receive(datagrams, 2.0)
    node.receive(datagrams, 5.0)
    other.fleet.expire(50.0)
    (mine,) = other.exchange.processes()
    assert node.tell(other, 51.0) == (mine, False, False)
    assert (mine.heard_at, mine.born) == (5.0, 1.0)
    # It is remembered from then on.
    assert mine.deadline == 5.0 + other.limits.memory


def test_what_each_of_two_nodes_missed_is_told_by_the_other():
    one, other, process = Node(), Node(), a_process(pools=2)
    process.pools[0].work(5)
    process.pools[1].work(7)
    first, second = process.report(2.0)
    one.receive([first], 2.0)
    other.receive([second], 2.0)
    assert one.tell(other, 3.0).knows_more
    other.tell(one, 3.0)
    assert one.checkouts(3.0) == other.checkouts(3.0) == 12


def test_the_smaller_base_holds_on_both():
    """One node hears an older process first at 10 checkouts, the other at 30."""
    one, other, process = Node(100.0), Node(100.0), a_process(born=1.0)
    process.pool.work(10)
    one.receive(process.report(101.0), 101.0)
    process.pool.work(20)
    other.receive(process.report(103.0), 103.0)
    assert (one.checkouts(103.0), other.checkouts(103.0)) == (0, 0)
    assert one.tell(other, 104.0).has_learned
    assert other.tell(one, 104.0).has_learned
    assert one.checkouts(104.0) == other.checkouts(104.0) == 20


def test_a_process_taken_for_an_old_one_is_told_to_the_others():
    node, process = Node(100.0), a_process(born=1.0)
    node.receive(process.report(101.0), 101.0)
    assert [changed.token for changed in node.changed] == ["1:abcdef"]


def test_a_restarted_node_counts_since_the_service_began():
    node, process = Node(50.0), a_process(born=20.0)
    process.pool.work(10)
    node.receive(process.report(60.0), 60.0)
    assert node.checkouts(60.0) == 0
    assert node.exchange.learn_since(30.0, 61.0) == []  # It began at 31, after the process.
    (changed,) = node.exchange.learn_since(51.0, 61.0) or []
    assert changed.key == KEY
    assert node.checkouts(61.0) == 10
    assert node.exchange.learn_since(51.0, 61.0) is None
    later = a_process(token="2:abcdef", born=15.0)
    later.pool.work(3)
    node.receive(later.report(62.0), 62.0)
    assert node.checkouts(62.0) == 13


def test_a_join_raises_totals_and_no_rate():
    node, other, process, busy = Node(), Node(), a_process(), a_process(token="2:abcdef")
    for second in range(2, 20, 2):
        busy.pool.work(4)
        datagrams = busy.report(second)
        node.receive(datagrams, second)
        other.receive(datagrams, second)
    process.pool.work(1_000_000)
    node.receive(process.report(18.0), 18.0)
    node.tell(other, 18.5)
    row = other.row(18.5)
    assert row.totals.checkouts == 1_000_036
    assert row.rates.checkouts == 2.0
    assert row.recent.use.count < 40


def test_a_report_that_another_node_told_of_first_still_sets_the_gauges():
    node, other, process = Node(), Node(), a_process()
    node.receive(process.report(2.0), 2.0)
    other.receive(process.report(4.0), 4.0)
    process.pool.gauges = process.pool.gauges._replace(used=3)
    process.pool.work(2)
    datagrams = process.report(6.0)
    node.receive(datagrams, 6.0)
    node.tell(other, 6.0)
    assert other.row(6.0).used == 0
    other.receive(datagrams, 6.1, Way.RELAYED)
    assert other.row(6.1).used == 3
    assert other.checkouts(6.1) == node.checkouts(6.1) == 2


def test_a_process_that_only_another_node_has_heard_lives_with_its_next_report_or_the_same():
    node, other, process = Node(), Node(), a_process()
    datagrams = process.report(2.0)
    node.receive(datagrams, 2.0)
    node.tell(other, 2.0)
    other.receive(datagrams, 2.1, Way.RELAYED)
    assert other.row(2.1).processes == 1


def test_a_goodbye_that_one_node_missed_is_told():
    node, other, process = Node(), Node(), a_process()
    datagrams = process.report(2.0)
    node.receive(datagrams, 2.0)
    other.receive(datagrams, 2.0)
    node.receive(process.report(4.0, goodbye=True), 4.0)
    assert other.tell(node, 5.0).knows_more
    assert node.tell(other, 5.0).has_learned
    assert other.row(5.0).processes == 0
    assert other.tell(node, 5.0).has_learned is False


def test_an_ended_process_is_remembered_as_long_as_a_silent_one():
    node, process = Node(), a_process()
    process.pool.work(5)
    node.receive(process.report(2.0, goodbye=True), 2.0)
    node.fleet.expire(1000.0)
    fresh = Node(1000.0)
    assert fresh.exchange.learn_since(1000.0, 1000.0) == []
    node.tell(fresh, 1000.0)
    assert fresh.checkouts(1000.0) == 5
    # The same datagram comes late, to a node that has never heard the process itself.
    node.fleet.expire(90_000.0)
    assert not node.fleet._processes


def test_what_fell_stays_counted_on_both():
    """A counter that falls within one process is a new beginning: the total of both is the larger one."""
    one, other, process = Node(), Node(), a_process()
    process.pool.work(50)
    one.receive(process.report(2.0), 2.0)
    process.pool.counters = Counters(checkouts=10)
    process.pool.use = type(process.pool.use)()
    process.pool.wait = type(process.pool.wait)()
    datagrams = process.report(4.0)
    one.receive(datagrams, 4.0)
    other.receive(datagrams, 4.0)
    assert (one.checkouts(4.0), other.checkouts(4.0)) == (50, 10)
    assert other.tell(one, 5.0).knows_more
    one.tell(other, 5.0)
    assert one.checkouts(5.0) == other.checkouts(5.0) == 50
    assert one.row(5.0).since_start.use.count == other.row(5.0).since_start.use.count == 50
    process.pool.count(checkouts=2)
    datagrams = process.report(6.0)
    for node in (one, other):
        node.receive(datagrams, 6.0)
        assert node.checkouts(6.0) == 52


def ended_pools(process: ModelProcess, node: Node, now: float, count: int) -> float:
    """So many pools that work once and end, one after the other."""
    for _ in range(count):
        pool = process.open_pool()
        node.receive(process.report(now), now)
        pool.work(1)
        pool.close()
        now += 2.0
        node.receive(process.report(now), now)
        now += 2.0
    return now


@pytest.mark.parametrize("most", [1, 3, 64])
def test_pools_that_ended_are_told_apart_or_as_a_sum(most):
    limits = FleetLimits(ended_pools=most, ended_memory=1e5)
    node, other, process = Node(limits=limits), Node(limits=limits), a_process()
    now = ended_pools(process, node, 2.0, 12)
    now += 20.0
    for _ in range(16):
        now += 2.0
        node.receive(process.report(now), now)
    past = node.fleet._processes[KEY].past
    assert past is not None
    assert len(past.accounts) == min(most, 12)
    node.tell(other, now)
    assert node.checkouts(now) == other.checkouts(now) == 12
    # Both know the same, whichever tells.
    assert not other.tell(node, now).has_learned
    assert other.checkouts(now) == 12


def test_a_pool_that_ended_elsewhere_moves_to_the_sum_here():
    limits = FleetLimits(ended_pools=1, ended_memory=1e5)
    node, other, process = Node(limits=limits), Node(limits=limits), a_process()
    pool = process.open_pool()
    pool.work(3)
    datagrams = process.report(2.0)
    node.receive(datagrams, 2.0)
    other.receive(datagrams, 2.0)
    pool.work(4)
    pool.close()
    now = ended_pools(process, node, 4.0, 3)
    for _ in range(16):
        now += 2.0
        node.receive(process.report(now), now)
    assert other.row(2.0).pools == 2
    node.tell(other, 3.0)
    assert other.row(3.0).pools == 1
    assert node.checkouts(now) == other.checkouts(3.0) == 10
    assert not other.tell(node, now).has_learned


def test_what_was_forgotten_is_told_row_by_row_and_taken_once():
    node, process = Node(), a_process()
    process.pool.work(5)
    node.receive(process.report(2.0), 2.0)
    node.fleet.expire(20.0)
    stranger = a_process(token="2:abcdef", program="cinder", born=86_000.0)
    stranger.pool.work(1)
    node.receive(stranger.report(86_001.0), 86_001.0)
    node.fleet.expire(86_420.0)
    assert KEY not in node.fleet._processes
    assert node.checkouts(86_420.0) == 6
    fresh = Node(86_420.0)
    for told in (*node.exchange.forgotten(), *node.exchange.forgotten()):
        fresh.exchange.join_forgotten(told, 86_420.0)
    fresh.exchange.learn_forgotten(node.exchange.forgotten_for(86_420.0), 86_420.0)
    node.tell(fresh, 86_420.0, ("web1", "cinder", "2:abcdef"))
    assert fresh.checkouts(86_420.0) == 6


def test_what_another_node_has_counted_and_forgotten_is_not_counted_when_it_returns_here():
    node, process = Node(limits=FleetLimits(remembered=0).for_cluster()), a_process()
    process.pool.work(5)
    node.receive(process.report(2.0), 2.0)
    node.fleet.expire(20.0)
    fresh, younger = Node(30.0), a_process(token="2:abcdef", born=29.0 + BIRTH_ERROR)
    node.tell_forgotten(fresh, 30.0)
    process.pool.work(1)
    younger.pool.work(2)
    fresh.receive(process.report(100.0), 100.0)
    fresh.receive(younger.report(100.0), 100.0)
    assert fresh.checkouts(100.0) == 5 + 2


def test_nor_is_it_counted_when_a_third_node_that_remembers_it_tells_so():
    node, third, process = Node(limits=FleetLimits(remembered=0).for_cluster()), Node(), a_process()
    process.pool.work(5)
    datagrams = process.report(2.0)
    node.receive(datagrams, 2.0)
    third.receive(datagrams, 2.0)
    node.fleet.expire(20.0)
    process.pool.work(1)
    third.receive(process.report(100.0), 100.0)
    fresh = Node(101.0)
    node.tell_forgotten(fresh, 101.0)
    third.tell(fresh, 101.0)
    assert fresh.checkouts(101.0) == 5
    process.pool.work(2)
    fresh.receive(process.report(102.0), 102.0)
    assert fresh.checkouts(102.0) == 7


def test_a_process_that_was_forgotten_is_not_taken_from_a_node_that_remembers_it():
    node, other, process = Node(), Node(limits=FleetLimits(remembered=0).for_cluster()), a_process()
    process.pool.work(5)
    datagrams = process.report(2.0)
    node.receive(datagrams, 2.0)
    other.receive(datagrams, 2.0)
    other.fleet.expire(20.0)
    assert not other.fleet._processes
    assert other.checkouts(20.0) == 5
    assert node.tell(other, 20.0) is None
    assert other.checkouts(20.0) == 5


def test_what_a_returning_process_did_before_it_was_forgotten_is_not_added_by_another_node():
    node, other, process = Node(), Node(limits=FleetLimits(remembered=0).for_cluster()), a_process()
    process.pool.work(5)
    datagrams = process.report(2.0)
    node.receive(datagrams, 2.0)
    other.receive(datagrams, 2.0)
    other.fleet.expire(20.0)
    process.pool.work(3)
    datagrams = process.report(200.0)
    other.receive(datagrams, 200.0)
    node.receive(datagrams, 200.0)
    node.tell(other, 200.0)
    assert (node.checkouts(200.0), other.checkouts(200.0)) == (8, 5)


@pytest.mark.parametrize("way", [Way.TCP, Way.RELAYED])
def test_numbers_that_tcp_skips_are_no_losses(way):
    """A client that changes its node leaves a gap in the numbers that each node sees."""
    node, process = Node(), a_process()
    for second in range(2, 60, 2):
        datagrams = process.report(second)
        if second % 20 < 10:
            node.receive(datagrams, second, way)
    assert node.fleet.health(60.0).lost == 0
    assert not [event for event in node.fleet.snapshot(60.0, WALL).events if event.kind == "lost"]


def test_udp_losses_are_told_and_the_larger_number_holds():
    node, other, process = Node(), Node(), a_process()
    for second in range(2, 60, 2):
        datagrams = process.report(second)
        other.receive(datagrams, second, Way.RELAYED)
        if second != 20:
            node.receive(datagrams, second, Way.UDP)
    assert node.changed
    assert node.fleet._processes[KEY].lost == 2  # The two datagrams of one report.
    node.tell(other, 60.0)
    assert other.fleet._processes[KEY].lost == 2
    assert other.fleet.health(60.0).lost == 0


def test_only_what_a_client_sent_is_relayed():
    node, process = Node(), a_process()
    first, second = process.report(2.0), process.report(4.0)
    node.receive(first, 2.0, Way.UDP)
    node.receive(first, 2.0, Way.UDP)  # A repetition.
    node.receive(second, 4.0, Way.RELAYED)
    node.receive(process.report(6.0, detail="plain"), 6.0, Way.TCP)
    assert node.relayed[:2] == first
    assert len(node.relayed) == 4


def test_an_earlier_client_is_joined_by_the_larger_sum():
    one, other, process = Node(), Node(), a_process()
    plain = {"detail": "plain"}
    process.pool.work(100)
    one.receive(process.report(2.0, **plain), 2.0)
    process.pool.work(5)
    datagrams = process.report(4.0, **plain)
    one.receive(datagrams, 4.0)
    other.receive(datagrams, 4.0)
    assert (one.checkouts(4.0), other.checkouts(4.0)) == (5, 0)
    assert other.changed  # The others are asked what they know of it.
    assert other.tell(one, 5.0).knows_more
    one.tell(other, 5.0)
    process.pool.work(3)
    datagrams = process.report(6.0, **plain)
    for node in (one, other):
        node.receive(datagrams, 6.0)
        assert node.checkouts(6.0) == 8


def test_a_list_that_comes_late_to_one_node_only_counts_on_none():
    """The node that the client sends it to believes a datagram that is 12 s late: its clock may have been set."""
    one, other, process = Node(), Node(), a_process()
    plain = {"detail": "plain"}
    process.pool.work(4)
    late = process.report(12.0, **plain)
    process.pool.work(3)
    for now, datagrams in ((24.0, process.report(24.0, **plain)), (25.0, late)):
        one.receive(datagrams, now)
        other.receive(datagrams, now, Way.RELAYED)
    process.pool.work(2)
    datagrams = process.report(36.0, **plain)
    one.receive(datagrams, 36.0)
    other.receive(datagrams, 36.0, Way.RELAYED)
    assert (one.checkouts(36.0), other.checkouts(36.0)) == (9, 9)
    assert not one.tell(other, 37.0).has_learned
    assert not other.tell(one, 37.0).has_learned


def test_where_an_earlier_client_begins_to_count_is_told_before_it_has_counted():
    """One node has its gauges only: what it did before the service began counts on neither."""
    one, other, third, process = Node(), Node(), Node(), a_process()
    process.pool.work(5)
    datagrams = process.report(2.0, detail="plain")
    other.receive(datagrams, 2.0)
    one.receive(datagrams[:1], 12.0)
    third.receive(datagrams[:1], 12.0)
    assert one.tell(other, 13.0).knows_more
    assert other.tell(one, 13.0).has_learned
    assert one.tell(third, 13.0).has_learned
    process.pool.work(3)
    for node in (one, other, third):
        node.receive(process.report(14.0, detail="plain"), 14.0)
        assert node.checkouts(14.0) == 3


@pytest.mark.parametrize("is_told_first", [False, True])
def test_that_an_earlier_client_is_new_is_told_before_it_has_counted(is_told_first):
    """A node that has just been started again takes it for older than itself."""
    one, restarted, process = Node(), Node(12.0), a_process()
    datagrams = process.report(14.0, detail="plain")
    for node in (one, restarted):
        node.receive(datagrams[:1], 14.0)
    if is_told_first:
        assert restarted.tell(one, 15.0).knows_more
    assert one.tell(restarted, 15.0).has_learned
    process.pool.work(5)
    datagrams = process.report(26.0, detail="plain")
    for node in (one, restarted):
        node.receive(datagrams, 26.0)
        assert node.checkouts(26.0) == 5


def test_what_an_earlier_client_counted_stays_when_it_tells_its_pools():
    one, other, process = Node(), Node(), a_process()
    process.pool.work(1)
    one.receive(process.report(2.0, detail="plain"), 2.0)
    process.pool.work(4)
    one.receive(process.report(14.0, detail="plain"), 14.0)
    process.pool.work(2)
    one.receive(process.report(16.0), 16.0)
    one.tell(other, 17.0)
    assert one.checkouts(17.0) == other.checkouts(17.0) == 4


def test_an_entry_that_cannot_be_summed_changes_nothing():
    node, other, process = Node(), Node(), a_process()
    process.pool.work(5)
    node.receive(process.report(2.0), 2.0)
    node.tell(other, 3.0)
    entry = node.exchange.entry(node.fleet._processes[KEY], 3.0)
    (pool,) = entry.pools
    huge = Counters._make([1 << 60] * len(Counters._fields))
    for bad in (
        pool._replace(counts=huge, number=9),
        pool._replace(base=pool.counts, counts=Counters(1), number=9),
    ):
        with pytest.raises(PacketError):
            other.exchange.join(entry._replace(pools=(pool, bad._replace(key=9))), 3.0)
    with pytest.raises(PacketError):
        other.exchange.join_forgotten(RowSums("", "", 0, 0, Sums((*huge[:-1], 1 << 63), (Histogram(),) * 3)), 3.0)
    assert other.checkouts(3.0) == 5


def test_a_full_budget_takes_no_process_from_another_node():
    node, other, process = Node(), Node(limits=FleetLimits(bytes=1).for_cluster()), a_process()
    node.receive(process.report(2.0), 2.0)
    assert node.tell(other, 3.0) is None
    assert dict(other.fleet.health(3.0).over_limit) == {"bytes": 1}


def test_names_of_a_node_that_means_harm_are_cleaned_before_anybody_reads_them():
    evil = "\x1b[2J\u202e\n"
    node, other, process = Node(), Node(), a_process()
    process.pool.work(5)
    node.receive(process.report(2.0), 2.0)
    entry = node.exchange.entry(node.fleet._processes[KEY], 3.0)
    (read,) = decode_ledger(chunk([encode_entry(entry)]))
    names = {field: evil + getattr(read, field) for field in ("host", "program", "token")}
    other.exchange.join(read._replace(**names), 3.0)
    other.exchange.join_forgotten(
        RowSums(evil + "host", evil + "program", 0, 0, Sums((1,) * len(Counters._fields), (Histogram(),) * 3)), 3.0
    )
    keys = [row.key for one in other.exchange.processes() for row in one.rows]
    keys += [(told.host, told.program) for told in other.exchange.forgotten()]
    names = {name for key in keys for name in key}
    assert {"_[2J__web1", "_[2J__nova", "_[2J__host", "_[2J__program"} <= names
    assert all(name.isprintable() for name in names)
