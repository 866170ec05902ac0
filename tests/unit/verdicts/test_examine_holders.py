"""Why a pool is used up: each cause in a process in virtual time, and habits of work that look like it."""

import random

import pytest

from poolhouse.verdicts.words import finding_sentence
from support.troubled import Life, Request, busy, idle, leaked


def steadily(make, a_second, seed=1):
    """Requests that come at random."""
    dice = random.Random(seed)
    return lambda now: [make()] if dice.random() < a_second * 0.01 else []


#: Seconds between two looks: a look is followed by a pause that is 333 times as long as its CPU, so that 1.2 ms a
#: look, as measured on a slow machine with cold caches, make 0.4 s, and 2.7 ms 0.9 s. No multiple of these is the
#: second for which requests of these tests take turns.
@pytest.fixture(params=[0.1, 0.4, 0.9])
def pause(request):
    return request.param


@pytest.fixture
def life(pause):
    return Life(pause=pause)


def test_a_calm_process_has_no_findings(life):
    life.live(60, steadily(lambda: busy(0.05), 20))
    assert life.changes == []


class TestSlowStatement:
    def test_it_is_found_within_ten_seconds_and_names_the_line(self, life):
        life.live(20, steadily(lambda: busy(0.05), 20))
        life.live(12, steadily(lambda: busy(2.0), 20))
        ((at, cause),) = life.began
        assert cause == "slow_statement"
        assert at - 20 <= 10
        (finding,) = life.findings
        assert finding.site == "app.py:10 in query"
        share, hold, habit, used, most, waiting = finding.numbers
        assert share > 0.9
        assert hold > 1
        assert habit == pytest.approx(0.05, abs=0.01)
        assert used > 4
        assert most == 5
        assert waiting > 10

    def test_without_a_habit_a_second_is_long(self, life):
        life.work(lambda: busy(1.5), 12)
        life.live(12)
        assert life.causes == ["slow_statement"]

    def test_where_all_lines_are_slow_none_is_named(self, life):
        dice = random.Random(1)

        def any_line():
            return busy(3.0, f"app.py:{dice.randrange(4)} in f")

        life.work(any_line, 12)
        life.live(12)
        assert [(finding.cause, finding.site) for finding in life.findings] == [("slow_statement", "")]


class TestHeldIdle:
    def test_it_names_the_line_that_holds_and_the_line_where_it_is(self, life):
        life.live(20, steadily(lambda: busy(0.05), 20))
        life.live(10, steadily(lambda: idle(1.0), 20))
        (finding,) = life.findings
        assert (finding.cause, finding.site, finding.line) == (
            "held_idle", "app.py:20 in call", "http.py:5 in send",
        )  # fmt: skip

    def test_several_lines_that_stand_at_one_line_name_that(self, life):
        dice = random.Random(1)
        life.work(lambda: idle(1.5, f"app.py:{dice.randrange(4)} in f"), 12)
        life.live(12)
        assert [(finding.cause, finding.site, finding.line) for finding in life.findings] == [
            ("held_idle", "http.py:5 in send", "")
        ]


class TestRowLock:
    def test_the_one_that_is_idle_is_named_and_not_those_who_queue(self, pause):
        """All book the same seat: one has the lock and calls somebody, the others wait for it in the database."""
        life = Life(most=10, pause=pause)
        life.work(lambda: Request("app.py:40 in book", [("busy", 9.0), ("idle", 1.0)], "http.py:5 in send"), 14)
        life.live(24)
        life.live(12)
        (finding,) = life.findings
        assert (finding.cause, finding.site, finding.line) == (
            "row_lock", "app.py:40 in book", "http.py:5 in send",
        )  # fmt: skip

    def test_where_the_holder_of_the_lock_does_not_report_no_line_is_blamed(self, life):
        life.live(20, steadily(lambda: busy(0.05), 20))
        life.live(12, steadily(lambda: busy(60.0), 20))
        assert life.began[0][0] - 20 <= 10
        assert [cause for _, cause in life.began] == ["row_lock"]
        (finding,) = life.findings
        assert (finding.site, finding.line) == ("", "")
        assert finding_sentence(finding).startswith(
            "row_lock: about 100 % of the holders wait inside the database and none comes back"
        )

    def test_statements_that_are_slow_and_come_back_are_no_lock(self, life):
        life.live(20, steadily(lambda: busy(0.05), 20))
        life.live(30, steadily(lambda: busy(4.0), 20))
        assert [cause for _, cause in life.began] == ["slow_statement"]


class TestPoolTooSmall:
    def test_more_traffic_with_holds_as_ever(self, life):
        life.live(20, steadily(lambda: busy(0.2), 12))
        life.work(lambda: busy(0.2), 12)
        life.live(12)
        (finding,) = life.findings
        assert (finding.cause, finding.site) == ("pool_too_small", "")
        size, used, most, waiting, hold, habit = finding.numbers
        assert 12 <= size <= 20
        assert (used, most) == (5, 5)
        assert waiting >= 6
        assert hold == pytest.approx(habit, rel=0.2)

    @pytest.mark.parametrize("rare", [0.1, 0.4])
    def test_holds_that_became_longer_are_none(self, rare):
        """Half of the time in the database and half outside: neither is the cause, and the size is not, either.

        Seven looks at holders who do the same at the same time, as there are at 0.9 s, cannot tell that.
        """
        life = Life(pause=rare)
        life.live(20, steadily(lambda: busy(0.2), 12))
        life.work(lambda: Request("app.py:10 in query", [("busy", 0.5), ("idle", 0.5)], "app.py:11 in sum"), 12)
        life.live(20)
        assert life.changes == []

    def test_holds_of_which_none_has_come_back_are_none(self, pause):
        """Two lines keep one connection each: a larger pool would only be used up later."""
        life = Life(most=2, pause=pause)
        life.ask(leaked("app.py:30 in export"))
        life.ask(leaked("app.py:40 in sum"))
        life.ask(busy(0.05))
        life.live(60)
        assert life.changes == []

    def test_holds_that_are_longer_than_any_that_came_back_are_none(self, pause):
        life = Life(most=2, pause=pause)
        life.live(4, steadily(lambda: busy(0.05), 0.5))
        life.ask(leaked("app.py:30 in export"))
        life.ask(leaked("app.py:40 in sum"))
        life.ask(busy(0.05))
        life.live(60)
        assert life.changes == []

    def test_long_work_that_comes_back_now_and_then(self, pause):
        """Some five seconds each, a third of them in the database: nobody has seen it hold for less."""
        life = Life(most=2, pause=pause)
        stages = [("busy", 0.9), ("idle", 0.9), ("ended", 0.9)] * 2
        life.work(lambda: Request("app.py:10 in query", stages, "app.py:11 in sum"), 4)
        life.live(60)
        assert [cause for _, cause in life.began] == ["pool_too_small"]

    def test_a_burst_of_a_few_seconds_is_none(self, life):
        for _ in range(4):
            life.live(15, steadily(lambda: busy(0.05), 20))
            for _ in range(5 * 60):
                life.ask(busy(0.05))  # Three seconds of work at once.
        life.live(15)
        assert life.changes == []

    def test_a_start_under_full_load_is_none(self, pause):
        life = Life(most=10, pause=pause)
        for _ in range(400):
            life.ask(busy(0.1))
        life.live(60, steadily(lambda: busy(0.1), 50))
        assert life.changes == []


class TestNestedCheckout:
    def test_callers_that_hold_one_and_wait_for_another(self, life):
        nested = Request("app.py:50 in order", [("busy", 0.05), ("asks", float("inf"))], "app.py:60 in stock")
        for _ in range(5):
            life.ask(Request(nested.site, nested.stages, nested.line))
        for _ in range(8):
            life.ask(Request(nested.site, nested.stages, nested.line))
        life.live(10)
        (finding,) = life.findings
        assert (finding.cause, finding.site, finding.line) == (
            "nested_checkout", "app.py:50 in order", "app.py:60 in stock",
        )  # fmt: skip

    @pytest.mark.parametrize("rare", [0.1, 0.9, 1.9])
    def test_a_pool_of_one_that_waits_for_itself(self, rare):
        life = Life(most=1, pause=rare)
        life.live(20, steadily(lambda: busy(0.05), 6))
        life.ask(Request("app.py:50 in order", [("busy", 0.05), ("asks", float("inf"))], "app.py:60 in stock"))
        life.live(0.5)
        life.ask(busy(0.05, "app.py:50 in order"))
        life.live(9.5)
        assert life.causes == ["nested_checkout"]

    @pytest.mark.parametrize("rare", [0.1, 0.9, 1.9])
    def test_second_checkouts_that_are_served_are_none(self, rare):
        """Half of the callers want a second connection, and get it in time."""
        life = Life(most=5, pause=rare)
        dice = random.Random(1)

        def order():
            return Request("app.py:50 in order", [("busy", 0.1), ("asks", dice.choice([0.0, 0.1])), ("busy", 0.1)])

        life.live(20, steadily(order, 10))
        life.live(1, lambda now: [order()])
        life.live(20, steadily(order, 10))
        assert life.changes == []


class TestLeak:
    def test_a_leak_that_fills_the_pool(self, life):
        life.live(10, steadily(lambda: busy(0.05, "app.py:30 in export"), 10))
        life.live(20, lambda now: [leaked()] if now % 1 < 0.005 else steadily(lambda: busy(0.05), 10)(now))
        assert life.causes == ["leak"]
        (finding,) = life.findings
        assert finding.site == "app.py:30 in export"
        kept, most, oldest, _, collected, ended = finding.numbers
        assert kept == most == 5
        assert oldest > 3
        assert (collected, ended) == (0, pytest.approx(1.0, abs=0.2))

    def test_it_stands_as_long_as_the_connections_are_out_whether_or_not_anybody_waits(self, life):
        """Callers give up, or a load balancer sends them elsewhere: the connections are out all the same."""
        life.live(10, steadily(lambda: busy(0.05, "app.py:30 in export"), 10))
        life.live(10, lambda now: [leaked()] if now % 1 < 0.005 else steadily(lambda: busy(0.05), 10)(now))
        life.queue.clear()
        life.live(90)
        assert [cause for _, cause in life.began] == ["leak"]
        assert life.causes == ["leak"]
        for request in life.out:
            request.stages = [("busy", 0.01)]
        life.live(20)
        assert life.causes == []

    @pytest.mark.parametrize("rare", [0.1, 0.9, 1.9])
    def test_three_connections_are_enough_however_rare_the_looks_are(self, rare):
        life = Life(most=3, pause=rare)
        life.live(20, steadily(lambda: busy(0.05, "app.py:30 in export"), 10))
        calls = steadily(lambda: busy(0.05), 10)
        life.live(10, lambda now: [leaked()] if now < 20.025 else calls(now))
        assert life.causes == ["leak"]

    def test_a_leak_that_grows_no_more_stands(self, pause):
        life = Life(most=50, pause=pause)
        life.live(20, steadily(lambda: busy(0.05, "app.py:30 in export"), 10))
        life.live(20, lambda now: [leaked()] if now % 1.5 < 0.005 else [])
        life.live(60, steadily(lambda: busy(0.05, "app.py:30 in export"), 10))
        assert [cause for _, cause in life.began] == ["leak"]
        assert life.causes == ["leak"]

    def test_a_leak_of_a_large_pool_before_anybody_waits(self, pause):
        life = Life(most=50, pause=pause)
        life.live(20, steadily(lambda: busy(0.05, "app.py:30 in export"), 10))
        life.live(20, lambda now: [leaked()] if now % 1.5 < 0.005 else [])
        assert life.causes == ["leak"]

    def test_threads_that_keep_a_connection_for_life_do_not_leak(self, pause):
        life = Life(most=10, pause=pause)
        for _ in range(3):
            life.ask(leaked("worker.py:5 in thread_main"))
        life.live(50, steadily(lambda: busy(0.05), 10))
        assert life.changes == []

    @pytest.mark.parametrize("most", [1, 2])
    def test_a_leak_of_the_whole_of_a_small_pool(self, pause, most):
        life = Life(most=most, pause=pause)
        life.live(10, steadily(lambda: busy(0.05, "app.py:30 in export"), 10))
        for _ in range(most):
            life.ask(leaked())
        life.live(30, steadily(lambda: busy(0.05), 10))
        assert [cause for _, cause in life.began] == ["leak"]
        assert life.findings[0].numbers[:2] == (most, most)

    def test_a_small_pool_that_never_got_a_connection_back(self, pause):
        life = Life(most=2, pause=pause)
        life.work(leaked, 2)
        life.ask(busy(0.05))
        life.live(60)
        assert [cause for _, cause in life.began] == ["leak"]

    def test_a_session_of_a_slow_request_in_a_pool_of_one_is_none(self, pause):
        life = Life(most=1, pause=pause)
        life.live(20, steadily(lambda: busy(0.05), 4))
        life.ask(Request("app.py:30 in export", [("busy", 0.05), ("ended", 8.0)]))
        life.live(30, steadily(lambda: busy(0.05), 4))
        assert life.changes == []

    def test_a_pool_of_one_whose_connection_is_kept_on_purpose_is_none(self, pause):
        life = Life(most=1, pause=pause)
        life.ask(leaked("worker.py:5 in listen"))
        life.live(50)
        assert life.changes == []

    def test_what_the_garbage_collector_returns(self, pause):
        life = Life(most=20, pause=pause)
        life.live(10, steadily(lambda: busy(0.05, "app.py:30 in export"), 5))
        lost = Request("app.py:30 in export", [("ended", 1.0)], is_collected=True)
        life.live(10, steadily(lambda: Request(lost.site, lost.stages, is_collected=True), 2))
        assert life.causes == ["leak"]
        assert life.findings[0].numbers[4] >= 3


class TestSilence:
    def test_a_batch_program_with_long_busy_holds(self, life):
        life.work(lambda: busy(30.0), 5)
        life.live(120)
        assert life.changes == []

    def test_a_pool_of_one_that_does_its_work(self, pause):
        life = Life(most=1, pause=pause)
        life.live(120, steadily(lambda: busy(0.05), 6))
        assert life.changes == []

    @pytest.mark.long
    def test_idle_workers(self, pause):
        life = Life(most=200, pause=pause)
        for _ in range(200):
            life.ask(leaked("worker.py:5 in main"))
        for request in life.out:
            request.stages = [("idle", float("inf"))]
        life.live(120)
        assert life.changes == []


def test_a_finding_stands_twelve_seconds_after_its_last_evidence_and_ends_once(life):
    life.work(lambda: busy(1.5), 12)
    life.live(20)
    for request in (*life.queue, *life.out):
        request.then = None
    over = life.now
    life.live(40)
    (_, begin), (ended_at, end) = life.changes
    assert begin.now is not None
    assert end.now is None
    assert end.before is not None
    assert end.before.age_s >= 12
    assert 12 <= ended_at - over <= 12 + 2 + 10
