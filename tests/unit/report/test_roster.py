from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import MARKS, REST, Counters, Gauges, Limits, Mark, PoolReading
from poolhouse.report.roster import FAREWELLS, PLACES, Roster, Statement


class Pool:
    """A measured pool whose every value a test sets."""

    def __init__(self, name: str = "db", checkouts: int = 0, used: int = 0) -> None:
        self.name = name
        self.checkouts = checkouts
        self.commits: int | None = 0
        self.used = used
        self.max_open: int | None = 10
        self.waits = Histogram()
        self.marks: tuple[Mark, ...] = ()
        self.gone = False
        self.error: Exception | None = None

    def check_out(self, times: int = 1) -> None:
        self.checkouts += times
        self.waits.record_all([1_000_000] * times)

    def is_gone(self) -> bool:
        return self.gone

    def read(self, number: int) -> PoolReading:
        if self.error is not None:
            raise self.error
        self.marks = (Mark(number, self.used, 0, self.used), *self.marks)[:MARKS]
        return PoolReading(
            key=77,
            name=self.name,
            kind="QueuePool",
            limits=Limits(self.max_open, 5, 0),
            gauges=Gauges(used=self.used),
            counters=Counters(checkouts=self.checkouts, commits=self.commits),
            marks=self.marks,
            peak=Mark(number, self.used, 0, self.used),
            wait=self.waits.copy(),
        )

    def after_fork(self) -> None:
        raise AssertionError("a roster knows nothing of forks")


def by_key(statement: Statement) -> dict[int, PoolReading]:
    told = {pool.key: pool for pool in statement.pools}
    assert len(told) == len(statement.pools)
    return told


def reports(roster: Roster, numbers: Iterable[int]) -> list[Statement]:
    return [roster.read([], number) for number in numbers]


def test_each_living_pool_has_a_key_of_its_own() -> None:
    statement = Roster().read([Pool("a", checkouts=3, used=1), Pool("b", checkouts=4, used=2)], 1)
    assert [(pool.key, pool.name, pool.pools) for pool in statement.pools] == [(1, "a", 1), (2, "b", 1)]
    assert statement.sums.pools == 2
    assert statement.sums.gauges == Gauges(used=3)
    assert statement.sums.limits == Limits(20, 10, 0)
    assert statement.sums.counters.checkouts == 7


def test_a_pool_that_ends_is_told_five_times_more_with_its_last_counters() -> None:
    roster, pool = Roster(), Pool(checkouts=1, used=1)
    roster.read([pool], 1)
    pool.check_out(6)
    pool.gone = True
    last = reports(roster, range(2, 2 + FAREWELLS))
    assert [by_key(statement)[1].pools for statement in last] == [0] * FAREWELLS
    assert [by_key(statement)[1].counters.checkouts for statement in last] == [7] * FAREWELLS
    assert all(by_key(statement)[1].gauges == Gauges() for statement in last)
    after = roster.read([], 2 + FAREWELLS)
    assert after.pools == ()
    assert after.sums.counters.checkouts == 7
    assert after.sums.limits == Limits(0, 0, 0)


def test_a_pool_that_came_and_went_between_two_reports_counts_in_the_rest() -> None:
    brief = Pool(checkouts=5, used=2)
    brief.gone = True
    roster = Roster()
    for number in (1, 2, 20):
        rest = by_key(roster.read([brief] if number == 1 else [], number))[REST]
        assert (rest.pools, rest.gauges, rest.counters.checkouts) == (0, Gauges(), 5)


def test_pools_beyond_the_places_count_in_the_rest_and_stay_there() -> None:
    roster = Roster()
    pools = [Pool(str(n), checkouts=1, used=1) for n in range(PLACES + 3)]
    told = by_key(roster.read(pools, 1))
    assert sorted(told) == list(range(PLACES + 1))
    rest = told[REST]
    assert (rest.name, rest.pools, rest.gauges.used, rest.limits.max_open, rest.counters.checkouts) == (
        "",
        3,
        3,
        30,
        3,
    )
    pools[0].gone = pools[-1].gone = True
    (last,) = reports(roster, range(2, 10))[-1:]
    assert by_key(last)[REST].pools == 2
    assert by_key(last)[REST].counters.checkouts == 3
    assert sorted(by_key(last)) == [REST, *range(2, PLACES + 1)]


def test_a_freed_place_goes_to_a_new_pool_under_a_new_key() -> None:
    roster, first = Roster(places=1), Pool("first")
    roster.read([first], 1)
    first.gone = True
    reports(roster, range(2, 2 + FAREWELLS))
    assert [pool.key for pool in roster.read([Pool("second")], 9).pools] == [2]


def test_the_rest_merges_histograms_and_sums_the_marks_of_each_interval() -> None:
    roster, pools = Roster(places=0), [Pool(used=1), Pool(used=2)]
    for pool in pools:
        pool.check_out(3)
    roster.read(pools, 1)
    pools[0].used, pools[1].used = 4, 0
    pools[1].gone = True
    rest = by_key(roster.read([], 2))[REST]
    assert rest.wait is not None
    assert rest.wait.count == 6
    assert rest.marks == (Mark(2, 4, 0, 4), Mark(1, 3, 0, 3))
    assert rest.peak == Mark(2, 4, 0, 4)
    later = by_key(reports(roster, range(3, 9))[-1])[REST]
    assert [mark.interval for mark in later.marks] == [8, 7, 6, 5, 4]


def test_reading_the_rest_leaves_the_histograms_of_its_pools_alone() -> None:
    roster, pools = Roster(places=0), [Pool(), Pool()]
    pools[0].check_out()
    pools[1].check_out()
    pools[1].gone = True
    for number in range(1, 6):
        rest = by_key(roster.read(pools if number == 1 else [], number))[REST]
        assert rest.wait is not None
        assert rest.wait.count == 2


def test_a_limit_that_one_pool_does_not_have_has_no_sum() -> None:
    bounded, unbounded = Pool(), Pool()
    unbounded.max_open = None
    assert Roster().read([bounded, unbounded], 1).sums.limits == Limits(None, 10, 0)


def test_a_counter_is_unknown_only_where_no_pool_can_tell() -> None:
    roster, silent, telling = Roster(), Pool(), Pool()
    silent.commits = None
    assert roster.read([silent], 1).sums.counters.commits is None
    assert roster.read([telling], 2).sums.counters.commits == 0


def test_a_pool_that_cannot_be_read_is_named_once_and_keeps_its_last_word() -> None:
    """Trap 18."""
    roster, broken, sound = Roster(), Pool("broken", checkouts=2), Pool("sound")
    roster.read([broken, sound], 1)
    broken.error = RuntimeError("boom")
    sound.check_out(5)
    statement = roster.read([], 2)
    assert [(failure.source, str(failure.error)) for failure in statement.failures] == [(broken, "boom")]
    assert [pool.counters.checkouts for pool in statement.pools] == [2, 5]
    assert roster.read([], 3).failures == ()
    broken.error = None
    assert roster.read([], 4).failures == ()
    broken.error = RuntimeError("again")
    assert len(roster.read([], 5).failures) == 1


def test_a_pool_that_could_never_be_read_is_still_one_pool_until_it_ends() -> None:
    roster, broken = Roster(), Pool()
    broken.error = RuntimeError("boom")
    statement = roster.read([broken], 1)
    assert [(pool.pools, pool.counters.checkouts) for pool in statement.pools] == [(1, None)]
    broken.gone = True
    assert roster.read([], 2).sums.pools == 0
    assert reports(roster, range(3, 9))[-1].pools == ()


class Receiver:
    """What an aggregator makes of the reports that reach it: it adds the differences under each key."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}
        self.total = 0

    def receive(self, statement: Statement) -> None:
        for pool in statement.pools:
            now = pool.counters.checkouts or 0
            before = self.last.get(pool.key, 0)
            assert now >= before, "what is told under a key never falls"
            self.total += now - before
            self.last[pool.key] = now


events = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 3)),
        st.tuples(st.just("check out"), st.integers(0, 40)),
        st.tuples(st.just("end"), st.integers(0, 40)),
        st.tuples(st.just("report"), st.integers(0, 4)),
    ),
    max_size=120,
)


@given(events, st.integers(0, 5))
def test_what_a_receiver_adds_up_is_the_truth_at_every_report(events: list[tuple[str, int]], places: int) -> None:
    """Whatever comes and goes, and although up to four of five reports are lost."""
    roster, receiver = Roster(places), Receiver()
    everybody: list[Pool] = []
    arrivals: list[Pool] = []
    number = 0
    sums = Counters()

    def living() -> list[Pool]:
        return [pool for pool in everybody if not pool.gone]

    def report() -> Statement:
        nonlocal number, arrivals, sums
        number += 1
        statement = roster.read(arrivals, number)
        arrivals = []
        assert (statement.sums.counters.checkouts or 0) >= (sums.checkouts or 0)
        sums = statement.sums.counters
        assert (sums.checkouts or 0) == sum(pool.checkouts for pool in everybody)
        assert statement.sums.pools == len(living())
        assert statement.sums.gauges.used == sum(pool.used for pool in living())
        assert sum(pool.pools for pool in statement.pools) == len(living())
        waits = sum(pool.wait.count for pool in statement.pools if pool.wait)
        assert waits >= sum(pool.waits.count for pool in living())
        return statement

    for event, choice in events:
        if event == "open":
            pool = Pool(used=choice)
            pool.check_out(choice)
            everybody.append(pool)
            arrivals.append(pool)
        elif event == "report":
            for _ in range(choice):
                report()  # On the way these are lost.
            receiver.receive(report())
            assert receiver.total == sum(pool.checkouts for pool in everybody)
        elif living():
            pool = living()[choice % len(living())]
            pool.check_out(choice)
            pool.gone = event == "end"
            pool.used = choice


def test_one_broken_pool_leaves_the_sums_of_the_others_true() -> None:
    roster, broken, sound = Roster(), Pool(checkouts=2), Pool(checkouts=1)
    roster.read([broken, sound], 1)
    broken.error = RuntimeError("boom")
    for number in range(2, 12):
        sound.check_out()
        assert roster.read([], number).sums.counters.checkouts == 2 + sound.checkouts
