"""The reporter's turns, in a time that a test moves by hand."""

import logging
from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from poolhouse.meter.reading import Counters, PoolReading
from poolhouse.report import readings, stream
from poolhouse.report.destination import Destination
from poolhouse.report.dispatcher import Dispatcher
from poolhouse.report.native import Lock
from poolhouse.report.reporter import Reporter
from poolhouse.report.route import REFRESH_S, Address
from poolhouse.report.sender import Sender
from poolhouse.report.stream import Identity
from poolhouse.testing.clock import VirtualClock
from poolhouse.wire.message import ReportDatagram, decode_message
from support.fake_network import FakeNetwork


class Pool:
    def __init__(self) -> None:
        self.checkouts = 1
        self.error: BaseException | None = None
        self.forks = 0

    def is_gone(self) -> bool:
        return False

    def read(self, number: int) -> PoolReading:
        if self.error is not None:
            raise self.error
        return PoolReading(0, "db", "QueuePool", counters=Counters(checkouts=self.checkouts))

    def after_fork(self) -> None:
        self.forks += 1


class World:
    """A dispatcher, its time and its network."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.network = FakeNetwork(self.clock)
        self.network.names = {"web1": ["192.0.2.1"], "web2": ["192.0.2.2"]}
        self.wakes = 0
        self.began = self.clock.monotonic()
        self.tokens = ["2:fedcba", "1:abcdef"]
        self.dispatcher = Dispatcher(self.clock, self.network, self.identify, self.wake)

    def identify(self) -> Identity:
        return Identity(self.tokens.pop(), self.clock.monotonic())

    def wake(self) -> None:
        self.wakes += 1

    def use(self, host: str = "web1", program: str = "nova", interval: float = 2.0) -> Pool:
        pool = Pool()
        self.dispatcher.stream(Destination(host, 25827, program, "here", interval)).add(pool)
        return pool

    def live(self, seconds: float) -> None:
        """Let the reporter's thread do its turns for so long."""
        until = self.clock.monotonic() + seconds
        while (pause := self.dispatcher.turn()) + self.clock.monotonic() <= until:
            self.clock.advance(pause)
        self.clock.advance(until - self.clock.monotonic())

    def reports(self, host: str) -> list[tuple[float, ReportDatagram]]:
        """When which report arrived at a host: each report's first datagram."""
        all_of_it = [
            (now, decode_message(datagram)) for now, where, datagram in self.network.arrived if where == host
        ]
        return [
            (now, report) for now, report in all_of_it if isinstance(report, ReportDatagram) and report.place == 0
        ]

    def times(self, host: str) -> list[float]:
        return [now - self.began for now, _ in self.reports(host)]


@pytest.fixture
def world() -> World:
    return World()


def test_without_a_pool_there_is_nothing_to_do(world: World) -> None:
    world.dispatcher.stream(Destination())
    assert world.dispatcher.turn() == inf
    assert not world.dispatcher.is_active
    assert world.wakes == 0


def test_the_first_report_goes_at_once_and_the_others_every_interval(world: World) -> None:
    world.use(interval=2.0)
    world.use(host="web2", interval=5.0)
    assert world.wakes == 2
    world.live(10)
    assert world.times("192.0.2.1") == [0, 2, 4, 6, 8, 10]
    assert world.times("192.0.2.2") == [0, 5, 10]


def test_numbers_begin_at_one_and_uptime_at_the_first_use(world: World) -> None:
    world.clock.advance(7)
    world.use()
    world.live(2)
    (_, first), (_, second) = world.reports("192.0.2.1")
    assert (first.number, first.sequence, first.uptime) == (1, 1, 0.0)
    assert (second.number, second.sequence, second.uptime) == (2, 3, 2.0)


def test_a_destination_is_one_stream_however_often_it_is_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.use()
    world.use()
    assert caplog.records == []
    world.use(interval=7.0)
    assert "poolhouse reports 'nova' to web1:25827 already, every 2 s in full detail" in caplog.text
    world.live(2)
    (_, report) = world.reports("192.0.2.1")[-1]
    assert report.datagrams == 4, "two pools, the sums of all, and what the process shows beyond them"


def test_each_of_several_hosts_is_sent_the_same_bytes_which_are_encoded_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[list[bytes]] = []
    encode = stream.encode_report

    def encode_and_note(*given: Any) -> list[bytes]:
        encoded.append(encode(*given))
        return encoded[-1]

    monkeypatch.setattr(stream, "encode_report", encode_and_note)
    world.network.names["web3"] = ["192.0.2.3"]
    world.network.refusing.add("192.0.2.2")  # Nobody listens there: the others are told all the same.
    world.use("web1,web2,web3")
    world.live(10.0)
    assert len(encoded) == 6
    sent = [datagram for datagrams in encoded for datagram in datagrams]
    for address in ("192.0.2.1", "192.0.2.3"):
        assert [datagram for _, where, datagram in world.network.arrived if where == address] == sent


def test_the_same_pool_added_by_two_threads_at_once_is_one_pool(world: World) -> None:
    pool = world.use()
    world.dispatcher.stream(Destination("web1", 25827, "nova", "here")).add(pool)
    world.live(2)
    assert {report.pool.key for _, report in world.reports("192.0.2.1") if report.pool} == {1}


@pytest.mark.long
def test_a_slow_lookup_delays_the_others_by_itself_once_and_takes_a_tenth_of_the_time(world: World) -> None:
    """Trap 19: and nothing that is due waits for a lookup that could come after it."""
    world.use("web1")
    world.live(10)
    world.network.lookup_s["slow"] = 30.0
    world.use("slow")
    world.live(3000)
    gaps = [b - a for a, b in zip(world.times("192.0.2.1"), world.times("192.0.2.1")[1:], strict=False)]
    assert max(gaps) <= 30.0 + 2.0
    assert sum(gap > 2.0 for gap in gaps) <= 3000 / (30 * 10) + 1
    for began, host in world.network.lookups:
        if host == "slow":  # web1's report that was due had left before the lookup began.
            assert any(began - 2.0 < world.began + time <= began for time in world.times("192.0.2.1"))


def test_two_slow_names_are_not_looked_up_in_a_row_while_a_report_is_due(world: World) -> None:
    world.use("web1")
    world.live(1)
    for name in ("slow1", "slow2", "slow3"):
        world.network.lookup_s[name] = 10.0
        world.use(name)
    world.live(60)
    gaps = [b - a for a, b in zip(world.times("192.0.2.1"), world.times("192.0.2.1")[1:], strict=False)]
    assert max(gaps) <= 10.0 + 2.0


def test_a_name_that_becomes_known_is_reported_to_at_once_whatever_the_interval(world: World) -> None:
    world.use("web3", interval=3600)
    world.live(10)
    world.network.names["web3"] = ["192.0.2.3"]
    world.live(30)
    assert len(world.times("192.0.2.3")) == 1


def test_what_happened_while_nobody_could_be_reached_is_told_afterwards(world: World) -> None:
    pool = world.use("web3")
    world.live(20)
    pool.checkouts = 50
    world.network.names["web3"] = ["192.0.2.3"]
    world.live(30)
    (_, first), *_ = world.reports("192.0.2.3")
    assert first.pool is not None
    assert first.pool.counters.checkouts == 50
    assert first.number > 5  # Reports were made, and their intervals closed, all the while.


def test_each_change_of_a_destination_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "poolhouse.report")
    world.use("web3")
    world.live(60)
    world.network.names["web3"] = ["192.0.2.3"]
    world.live(60)
    world.network.refusing = {"192.0.2.3"}
    world.live(60)
    world.network.refusing = set()
    world.live(60)
    unknown = "the name lookup failed ([Errno -2] Name or service not known)"
    go = "poolhouse reports to web3 port 25827"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", f"poolhouse cannot report to web3 port 25827: {unknown}; it will keep retrying"),
        ("INFO", go),
        (
            "WARNING",
            "poolhouse cannot report to web3 port 25827: [Errno 111] Connection refused; it will keep retrying",
        ),
        ("INFO", go),
    ]


def test_a_destination_that_is_simply_there_is_worth_no_line(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "poolhouse.report")
    world.use()
    world.live(60)
    assert caplog.records == []


@pytest.mark.parametrize("is_far", [False, True])
def test_an_address_that_refuses_is_worth_no_line_where_another_one_takes_the_reports(
    is_far: bool, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "poolhouse.report")
    world.network.names["web3"] = ["127.0.0.1", "::1"]
    world.network.refusing = {"127.0.0.1"}
    world.network.is_far = is_far
    world.use("web3")
    world.live(600)
    assert {host for _, host, _ in world.network.arrived} == {"::1"}
    assert caplog.records == []


def test_a_pool_that_cannot_be_read_is_logged_once_and_the_others_are_reported(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Traps 13 and 18."""
    sound, broken = world.use(), world.use()
    broken.error = RuntimeError("boom")
    world.live(10)
    sound.checkouts = 9
    world.live(10)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "poolhouse cannot read a pool and repeats its last figures"
    ]
    (_, report) = world.reports("192.0.2.1")[-1]
    assert report.pool is not None
    assert report.pool.counters.checkouts == 9


def test_a_stream_that_cannot_be_reported_is_logged_once_and_the_others_are_reported(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 13."""
    world.use(program="broken")
    world.use(program="sound")
    broken = world.dispatcher.stream(Destination("web1", 25827, "broken", "here"))
    monkeypatch.setattr(broken, "_roster", None)
    world.live(10)
    assert [record.getMessage() for record in caplog.records] == ["poolhouse cannot report 'broken'"]
    assert {report.program for _, report in world.reports("192.0.2.1")} == {"sound"}
    assert world.times("192.0.2.1") == [0, 2, 4, 6, 8, 10]


def test_a_clock_that_slept_does_not_make_up_for_missed_reports(world: World) -> None:
    world.use()
    world.live(1)
    world.clock.advance(3600)
    world.live(4)
    assert len(world.times("192.0.2.1")) == 1 + 3


def test_after_the_goodbye_nothing_is_sent(world: World) -> None:
    world.use()
    world.live(3)
    assert world.dispatcher.report_all(goodbye=True, timeout=0)
    world.use("web2")
    assert world.dispatcher.turn() == inf
    assert not world.dispatcher.report_all(goodbye=True, timeout=0)
    assert [report.goodbye for _, report in world.reports("192.0.2.1")] == [False, False, True]
    assert world.times("192.0.2.2") == []
    assert all(socket.is_closed for socket in world.network.sockets)


def test_the_goodbye_looks_nothing_up(world: World) -> None:
    world.use("web1")
    assert not world.dispatcher.report_all(goodbye=True, timeout=0)
    assert world.network.lookups == []


def test_the_goodbye_needs_no_thread_where_no_resolver_is_asked(world: World) -> None:
    """On a busy machine a short-lived process ends before its reporter's thread had a turn."""
    world.network.names["127.0.0.1"] = ["127.0.0.1"]
    world.use("127.0.0.1")
    assert world.dispatcher.report_all(goodbye=True, timeout=0)
    assert world.times("127.0.0.1") == [0]


def test_the_goodbye_overtakes_the_threads_lookup_where_no_resolver_is_asked(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    look_up = world.network.look_up
    world.network.names["localhost"] = ["127.0.0.1"]
    world.use("localhost")

    def end(host: str, port: int) -> list[Address]:
        monkeypatch.setattr(world.network, "look_up", look_up)
        assert world.dispatcher.report_all(goodbye=True, timeout=0)
        return look_up(host, port)

    monkeypatch.setattr(world.network, "look_up", end)
    world.dispatcher.turn()
    assert world.times("127.0.0.1") == [0]
    assert not caplog.records


def test_an_address_that_cannot_be_looked_up_costs_the_goodbye_only(world: World) -> None:
    world.use("192.0.2.7")
    assert not world.dispatcher.report_all(goodbye=False, timeout=0)
    world.network.names["192.0.2.7"] = ["192.0.2.7"]
    world.live(3)
    assert world.times("192.0.2.7") == [2.0]


@pytest.mark.parametrize(("busy_s", "is_told"), [(1.1, True), (1.2, False)])
def test_the_end_of_a_process_waits_a_second_for_a_report_under_way(
    world: World, monkeypatch: pytest.MonkeyPatch, busy_s: float, is_told: bool
) -> None:
    """What holds it up is a machine without a processor to spare."""
    world.network.names["127.0.0.1"] = ["127.0.0.1"]

    class Thread:
        """Has a turn after so long."""

        def __init__(self, run: Callable[[], None]) -> None:
            pass

        def join(self, timeout: float) -> bool:
            world.clock.advance(timeout)
            return False

    class Turn(Lock):
        def acquire(self, timeout: float = -1.0) -> bool:
            left = world.began + busy_s - world.clock.monotonic()
            world.clock.advance(max(0.0, min(timeout, left)))
            return timeout >= left and super().acquire(0)

    monkeypatch.setattr("poolhouse.report.dispatcher.Lock", Turn)
    monkeypatch.setattr("poolhouse.report.reporter.NativeThread", Thread)
    monkeypatch.setattr("atexit.register", lambda end: None)
    reporter = Reporter(world.clock, world.network)
    reporter.stream(Destination("127.0.0.1", 25827, "nova", "here")).add(Pool())
    reporter.end()
    assert [report.goodbye for _, report in world.reports("127.0.0.1")] == [True] * is_told


def test_a_child_begins_anew_and_its_pools_are_told(world: World) -> None:
    """Traps 11 and 12."""
    pool = world.use()
    world.live(3)
    late = world.use()  # Added, and not reported yet, when the process forks.
    for source in world.dispatcher.begin():
        source.after_fork()
    assert (pool.forks, late.forks) == (1, 1)
    assert all(socket.is_closed for socket in world.network.sockets)
    assert world.dispatcher.turn() == inf
    world.network.arrived.clear()
    world.dispatcher.stream(Destination("web1", 25827, "nova", "here")).add(pool)
    world.live(0)
    ((_, report),) = world.reports("192.0.2.1")
    assert (report.token, report.number, report.sequence, report.uptime) == ("2:fedcba", 1, 1, 0.0)


def test_a_log_handler_that_raises_stops_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 13."""

    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError("a filter of the application")

    logger = logging.getLogger("poolhouse.report")
    add: Callable[[Callable[[logging.LogRecord], bool]], None] = logger.addFilter
    add(broken)
    try:
        world.use().error = RuntimeError("boom")
        world.live(4)
    finally:
        logger.removeFilter(broken)
    assert world.times("192.0.2.1") == [0, 2, 4]


def test_a_signal_handler_that_forks_during_a_flush_leaves_both_processes_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.use()
    world.live(0)
    send = world.network.sockets[0].send

    def interrupted(datagram: bytes) -> None:
        monkeypatch.setattr(world.network.sockets[0], "send", send)
        world.dispatcher.begin()

    monkeypatch.setattr(world.network.sockets[0], "send", interrupted)
    world.dispatcher.report_all(goodbye=False, timeout=0)
    world.use()
    world.live(0)
    assert [report.token for _, report in world.reports("192.0.2.1")] == ["1:abcdef", "2:fedcba"]


def test_each_lookup_gives_the_reports_a_fresh_socket(world: World) -> None:
    """Behind a service address a socket's flow leads to the server it led to first, also when that is gone."""
    world.use()
    world.live(REFRESH_S - 1)
    assert len(world.network.sockets) == 1
    world.live(REFRESH_S)
    assert [socket.is_closed for socket in world.network.sockets] == [True, False]
    assert len(world.times("192.0.2.1")) == (2 * REFRESH_S - 1) // 2 + 1  # One every 2 s, none lost.


@pytest.mark.parametrize("name", ["", " ", OSError(), UnicodeError()])
def test_a_machine_without_a_name_is_reported_as_unnamed_and_the_log_says_so_once(
    name: str | Exception, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gethostname() -> str:
        if isinstance(name, Exception):
            raise name
        return name

    monkeypatch.setattr("socket.gethostname", gethostname)
    for program in ("nova", "shop"):
        world.dispatcher.stream(Destination("web1", 25827, program)).add(Pool())
    world.live(2)
    assert {report.host for _, report in world.reports("192.0.2.1")} == {"unnamed"}
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "poolhouse finds no host name on this machine and reports as host 'unnamed'"
    ]


def test_a_machine_whose_name_is_no_text_is_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "web\udcff")
    world.dispatcher.stream(Destination("web1", 25827, "nova")).add(Pool())
    world.live(2)
    assert len(world.times("192.0.2.1")) == 2


@pytest.fixture
def read_at(world: World, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When somebody was told of one pool, in seconds."""
    times: list[float] = []

    def tell(found: readings.Readings) -> None:
        times.extend([world.clock.monotonic() - world.began] * len(found))

    monkeypatch.setitem(readings._observers, None, (tell,))
    return times


def test_pools_are_read_for_who_observes_them_although_no_report_can_leave(
    world: World, read_at: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as blocked:
        blocked.setattr(Sender, "is_ready", False)
        world.use()
        world.live(10.0)
        assert read_at == [3.0, 6.0, 9.0]
        assert world.reports("192.0.2.1") == []
    world.live(10.0)
    assert world.times("192.0.2.1")[:3] == [10.0, 12.0, 14.0], "the report leaves as soon as it can"
    assert read_at[3:6] == [10.0, 12.0, 14.0]


def test_pools_are_read_once_for_each_report_that_leaves(world: World, read_at: list[float]) -> None:
    world.use()
    world.live(10.0)
    assert read_at == world.times("192.0.2.1")
