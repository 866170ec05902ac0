"""Datagrams that somebody captured and sends again: while the process lives, after it ended, after a restart."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.configuration.keys import Hosts
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.freshness import MOST_FORGOTTEN, WINDOW, Freshness
from poolhouse.fleet.intake import Way
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.seals import Seals
from poolhouse.wire.challenge import with_answer
from poolhouse.wire.seal import Payload, Reason
from support.crafted import CraftedProcess

#: The time of day of a `CraftedProcess`'s report 0, and seconds of a day.
TOLD, DAY = 1_700_000_000.0, 86_400.0


class Guarded:
    """A fleet that was started long before, and a clock of the day that can be wrong."""

    def __init__(self, now: float = 1000.0, wall_time: float = TOLD, age: float = 2 * WINDOW) -> None:
        self.now, self.wall_time = now, wall_time
        self.refused: dict[Reason, int] = {}
        self.fleet = Fleet(FleetLimits(), now - age)
        freshness = Freshness(b"s" * 32, now - age, wall_time - age)
        self.seals = self.fleet.seals = Seals(freshness, self.refused)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.wall_time += seconds
        self.fleet.expire(self.now)

    def receive(
        self, datagrams: Iterable[bytes], user: bytes = b"alice", hosts: Hosts | None = None
    ) -> list[bytes]:
        """The nonces of its questions."""
        asked = []
        for datagram in datagrams:
            self.fleet.receive(datagram, self.now, self.wall_time, sealed=Payload(datagram, user, 0, hosts))
            if self.seals.question is not None:
                asked.append(self.seals.question.nonce)
                self.seals.question = None
        return asked

    def shown(self) -> tuple[int | None, int | None]:
        """Living processes and checkouts of the fleet."""
        row = self.fleet.snapshot(self.now, self.wall_time).fleet
        return row.processes, row.totals.checkouts

    def refusals(self) -> dict[str, int]:
        return dict(self.fleet.health(self.now).refusals)


def life(process: CraftedProcess, reports: int) -> list[list[bytes]]:
    """A process's reports, one a second, the last a goodbye."""
    told = []
    for number in range(1, reports + 1):
        process.uptime = float(number)
        told.append(process.report(checkouts=10 * number, goodbye=number == reports))
    return told


def test_what_was_received_before_changes_nothing_and_keeps_nobody_alive():
    fleet = Fleet(FleetLimits(), 0.0)
    process = CraftedProcess("nova", "web1", "1:a")
    captured = []
    for number in range(30):
        datagrams = process.report(checkouts=number)
        captured += datagrams
        for datagram in datagrams:
            fleet.receive(datagram, 100.0 + number, 1.7e9)
    before = fleet.snapshot(129.5, 1.7e9).fleet
    for datagram in captured:
        fleet.receive(datagram, 129.6, 1.7e9)
    after = fleet.snapshot(129.6, 1.7e9).fleet
    assert (after.totals, after.used, after.processes) == (before.totals, before.used, before.processes)
    for second in range(130, 200):
        for datagram in captured[:4]:
            fleet.receive(datagram, float(second), 1.7e9)
    assert fleet.snapshot(200.0, 1.7e9).fleet.processes == 0


def test_what_is_sent_again_is_refused_and_counted_while_the_process_lives():
    guarded = Guarded()
    captured = []
    for datagrams in life(CraftedProcess("nova", "web1", "1:a"), 30)[:-1]:
        captured += datagrams
        guarded.pass_time(1.0)
        assert guarded.receive(datagrams) == []
    before = guarded.shown()
    assert guarded.refusals() == {}
    guarded.receive(captured)
    assert guarded.shown() == before == (1, 290)
    assert guarded.refusals() == {"replayed": len(captured)}


def test_a_whole_life_that_is_sent_again_shows_nobody():
    guarded = Guarded()
    told = life(CraftedProcess("nova", "web1", "1:a"), 5)
    for datagrams in told:
        guarded.pass_time(1.0)
        guarded.receive(datagrams)
    assert guarded.shown() == (0, 50)
    for seconds in (0.0, 10.0, 60.0, 50.0, 120.0, DAY, 30 * DAY):
        guarded.pass_time(seconds)
        for datagrams in told:
            guarded.receive(datagrams)
        assert guarded.shown()[0] == 0
        assert guarded.shown()[1] in (50, None, 0)  # The row itself is forgotten after a day.
    assert sum(guarded.refusals().values()) == 7 * sum(map(len, told))


def test_a_captured_goodbye_ends_nobody_and_reaches_no_later_life_of_the_token():
    guarded = Guarded()
    process = CraftedProcess("nova", "web1", "1:a")
    guarded.receive(process.report(checkouts=1))
    goodbye = process.report(goodbye=True, checkouts=1)
    for _ in range(20):
        guarded.pass_time(1.0)
        guarded.receive(process.report(checkouts=2))
    guarded.receive(goodbye)
    assert guarded.shown() == (1, 2)


@pytest.mark.parametrize("step", [-DAY, -5.0, 0.0, 5.0, DAY])
def test_after_a_restart_only_a_living_process_gets_in(step: float):
    """The aggregator's clock may have been set meanwhile, forward or back."""
    dead, alive = CraftedProcess("dead", "web1", "1:a"), CraftedProcess("alive", "web1", "2:b")
    captured = [datagram for datagrams in life(dead, 5) for datagram in datagrams]
    captured += [datagram for datagrams in life(alive, 5)[:-1] for datagram in datagrams]
    guarded = Guarded(wall_time=TOLD + 10.0 + step, age=0.0)
    for second in range(200):
        guarded.pass_time(1.0)
        guarded.receive(captured)
        assert guarded.shown()[0] == 0, f"after {second} s"
    (nonce,) = guarded.receive(alive.report(checkouts=7))
    guarded.receive([with_answer(datagram, nonce) for datagram in alive.report(checkouts=8)])
    assert guarded.shown()[0] == 1


@pytest.mark.parametrize("wrong_by", [-DAY, -WINDOW - 100, WINDOW + 100, DAY])
def test_a_process_whose_clock_is_wrong_by_a_day_answers_and_gets_in(wrong_by: float):
    guarded = Guarded(wall_time=TOLD - wrong_by)
    process = CraftedProcess("nova", "web1", "1:a")
    first = process.report(checkouts=1)
    (nonce,) = guarded.receive(first)
    assert guarded.shown()[0] == 0
    guarded.pass_time(1.0)
    answered = [with_answer(datagram, nonce) for datagram in process.report(checkouts=2)]
    assert guarded.receive(answered) == []
    assert guarded.shown()[0] == 1
    for _ in range(5):
        guarded.pass_time(1.0)
        assert guarded.receive(process.report(checkouts=2)) == []
    assert guarded.refusals() == {"stale": len(first)}
    # The answer lets in nobody else, and not twice.
    guarded.receive(process.report(goodbye=True))
    guarded.pass_time(61.0)
    guarded.receive(answered)
    guarded.receive([with_answer(datagram, nonce) for datagram in CraftedProcess("nova", "web1", "2:b").report()])
    guarded.receive(answered, user=b"bob")
    assert guarded.shown()[0] == 0


def test_an_answer_to_the_question_of_another_start_or_of_long_ago_is_none():
    guarded = Guarded(wall_time=TOLD + DAY)
    process = CraftedProcess("nova", "web1", "1:a")
    (nonce,) = guarded.receive(process.report())
    restarted = Guarded(wall_time=TOLD + DAY)
    restarted.seals = restarted.fleet.seals = Seals(Freshness(b"t" * 32, 0.0, TOLD), restarted.refused)
    restarted.receive([with_answer(datagram, nonce) for datagram in process.report()])
    assert restarted.shown()[0] == 0
    guarded.pass_time(130.0)
    guarded.receive([with_answer(datagram, nonce) for datagram in process.report()])
    assert guarded.shown()[0] == 0


def test_a_step_of_the_aggregators_clock_disturbs_no_living_process():
    guarded = Guarded()
    process = CraftedProcess("nova", "web1", "1:a")
    for number in range(60):
        guarded.pass_time(1.0)
        guarded.wall_time += {10: DAY, 20: -2 * DAY, 30: 100.0}.get(number, 0.0)
        assert guarded.receive(process.report(checkouts=number)) == []
    assert guarded.shown() == (1, 59)
    assert guarded.refusals() == {}


def test_a_clock_set_back_opens_the_window_to_nobody_again():
    guarded = Guarded()
    told = life(CraftedProcess("nova", "web1", "1:a"), 5)
    for datagrams in told:
        guarded.pass_time(1.0)
        guarded.receive(datagrams)
    guarded.pass_time(3600.0)
    guarded.wall_time -= 3600.0
    for datagrams in told:
        guarded.receive(datagrams)
    assert guarded.shown()[0] == 0
    assert guarded.refusals() == {"replayed": sum(map(len, told))}


def test_datagrams_that_overtake_each_other_are_taken():
    guarded = Guarded()
    process = CraftedProcess("nova", "web1", "1:a")
    guarded.receive(process.report(checkouts=1))
    for number in range(2, 20):
        guarded.pass_time(1.0)
        guarded.receive(reversed(process.report(checkouts=number)))
    first, goodbye = process.report(checkouts=20), process.report(checkouts=21, goodbye=True)
    guarded.receive([*goodbye, *first])
    assert guarded.shown() == (0, 21)
    assert guarded.refusals() == {}


@given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 3)), max_size=200), st.integers(0, 2**16))
def test_whatever_is_sent_again_and_whenever_nothing_is_counted_twice(replays: list[tuple[int, int]], seed: int):
    guarded = Guarded()
    processes = [CraftedProcess("nova", "web1", f"{number}:a") for number in range(2)]
    reports = [life(process, 20) for process in processes]
    captured: list[bytes] = []
    at = 0
    for step in range(20):
        for told in reports:
            guarded.receive(told[step])
            captured += told[step]
        while at < len(replays) and replays[at][0] <= step * 2:
            index, seconds = replays[at]
            guarded.pass_time(seconds)
            guarded.receive([captured[(index * 7 + seed) % len(captured)]])
            at += 1
        guarded.pass_time(1.0)
    processes_now, checkouts = guarded.shown()
    assert (processes_now, checkouts) == (0, 400)
    guarded.pass_time(70.0)
    guarded.receive(captured)
    assert guarded.shown() == (0, 400)


def test_sums_without_a_number_are_in_order_by_their_time():
    guarded = Guarded()
    process = CraftedProcess("nova", "web1", "1:a", interval=2.0)
    told = [process.report("plain", checkouts=number) for number in range(1, 11)]
    for datagrams in told:
        guarded.pass_time(1.0)
        guarded.receive(datagrams)
    before = guarded.shown()
    assert guarded.refusals() == {}
    for datagrams in told:
        guarded.receive(datagrams)
    assert guarded.shown() == before
    assert sum(guarded.refusals().values()) == 20
    guarded.pass_time(WINDOW * 3)
    for datagrams in told:
        guarded.receive(datagrams)
    assert guarded.shown()[0] == 0
    # A clock that was set back: the sender answers.
    process.number -= 5
    (nonce, *_) = guarded.receive(process.report("plain"))
    process.number -= 1
    guarded.receive([with_answer(datagram, nonce) for datagram in process.report("plain")])
    assert guarded.shown()[0] == 1


def test_who_may_speak_for_which_host():
    guarded = Guarded()
    web = Hosts(("web*",))
    guarded.receive(CraftedProcess("nova", "db1", "1:a").report(), hosts=web)
    guarded.receive(CraftedProcess("nova", "web2", "2:b").report(), hosts=web)
    guarded.receive(CraftedProcess("nova", "web3", "3:c").report(), user=b"bob")
    # A known process of another host, by a user who may not.
    guarded.receive(CraftedProcess("nova", "web3", "3:c").report(), user=b"eve", hosts=Hosts(("db*",)))
    assert sorted(row.name for row in guarded.fleet.snapshot(guarded.now, TOLD).hosts) == ["web2", "web3"]
    assert guarded.refusals() == {"host": 4}


def test_who_uses_which_password_is_told():
    guarded = Guarded()
    old = CraftedProcess("nova", "web1", "1:a")
    for datagram in old.report():
        sealed = Payload(datagram, b"alice", 1)
        guarded.fleet.receive(datagram, guarded.now, guarded.wall_time, sealed=sealed)
    guarded.receive(CraftedProcess("nova", "web1", "2:b").report())
    guarded.receive(CraftedProcess("nova", "web2", "3:c").report(), user=b"bob")
    alice, bob = guarded.fleet.health(guarded.now + 2).users
    assert (alice.name, alice.received, alice.received_old, alice.old_ago) == ("alice", 4, 2, 2.0)
    assert (alice.old_host, alice.old_program, alice.old_token) == ("web1", "nova", "1:a")
    assert (bob.name, bob.received_old, bob.old_ago) == ("bob", 0, None)
    rows = guarded.fleet.snapshot(guarded.now, guarded.wall_time, "nova").processes
    assert [(row.user, row.uses_old_password) for row in rows] == [
        ("alice", True), ("alice", False), ("bob", False),
    ]  # fmt: skip


def test_what_is_remembered_is_bounded_and_what_is_dropped_is_not_taken_again():
    freshness = Freshness(b"s" * 32, 0.0, TOLD - 10 * WINDOW, most=100)
    for number in range(1000):
        freshness.note_forgotten(("web1", "nova", f"{number}:a"), 7, TOLD + number / 100, float(number))
    for number in range(1000):
        key = ("web1", "nova", f"{number}:a")
        told_at = TOLD + number / 100
        assert freshness.is_replayed(key, 7, told_at) or not freshness.is_timely(told_at, TOLD + 10)
    assert freshness.is_timely(TOLD + 10.0, TOLD + 10)
    assert MOST_FORGOTTEN * 200 <= 10_000_000


def linked(first: Guarded, second: Guarded) -> None:
    """The reports of each node are passed on to the other, as nodes of a service do."""

    def relay_to(other: Guarded):
        return lambda process, number, datagram: other.fleet.receive(
            datagram, other.now, other.wall_time, Way.RELAYED
        )

    first.fleet.relay, second.fleet.relay = relay_to(second), relay_to(first)


def test_what_one_node_received_is_no_news_to_another():
    first, second = Guarded(), Guarded()
    linked(first, second)
    captured = []
    for datagrams in life(CraftedProcess("nova", "web1", "1:a"), 20):
        captured += datagrams
        for one in (first, second):
            one.pass_time(1.0)
        first.receive(datagrams)
    assert (first.shown(), second.shown()) == ((0, 200), (0, 200))
    for seconds in (1.0, 30.0, 40.0, 300.0):
        for one in (first, second):
            one.pass_time(seconds)
            one.receive(captured)
        assert (first.shown()[0], second.shown()[0]) == (0, 0)
    # A node that was started anew has to ask.
    again = Guarded(wall_time=first.wall_time, age=0.0)
    assert again.receive(captured[:2])
    assert again.shown()[0] == 0


def test_a_client_of_several_nodes_repeats_nothing():
    first, second = Guarded(), Guarded()
    linked(first, second)
    process = CraftedProcess("nova", "web1", "1:a")
    for number in range(1, 20):
        datagrams = process.report(checkouts=number)
        for one in (first, second):
            one.pass_time(1.0)
        for one in (first, second):
            one.receive(datagrams)
    assert (first.shown(), second.shown()) == ((1, 19), (1, 19))
    assert (first.refusals(), second.refusals()) == ({}, {})
