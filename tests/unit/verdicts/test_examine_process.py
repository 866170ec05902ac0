"""Causes that show in counters: connects, forks, event loops, engines. Moments are written by hand."""

import pytest

from poolhouse.meter.reading import REST, Counters, Gauges, Limits, PoolReading
from poolhouse.meter.signs import ConnectErrors, PoolSigns, ProcessSigns, SiteReading
from poolhouse.verdicts.examine import examine
from poolhouse.verdicts.habits import Habits
from poolhouse.verdicts.moment import Moment


def pool(key=1, *, connects=0, checkouts=1, made_at="app.py:1 in make", gone=False, **signs):
    return PoolReading(
        key,
        "db:5432/shop",
        "QueuePool",
        pools=0 if gone else 1,
        limits=Limits(15),
        gauges=Gauges(1, 0, 0, 0),
        counters=Counters(connects=connects, checkouts=checkouts),
        signs=PoolSigns(target="db:5432/shop", made_at=made_at, **signs),
    )


def found(*moments):
    """What the last of these moments shows; one every two seconds, each a tuple of pools or of process's signs."""
    made = []
    for number, told in enumerate(moments):
        pools = tuple(one for one in told if isinstance(one, PoolReading))
        process = next((one for one in told if isinstance(one, ProcessSigns)), ProcessSigns())
        made.append(Moment(2.0 * number, pools, process))
    return examine(made, Habits())


def test_nothing_shows_nothing():
    assert examine((), Habits()) == ()
    assert found((), (), ()) == ()
    assert found((PoolReading(1, "p", "QueuePool"),)) == (), "a source without signs"


class TestDatabaseDown:
    def test_three_failed_connects_and_none_that_succeeded(self):
        (finding,) = found(
            (pool(connects=5),), (pool(connects=5, connect_errors=ConnectErrors(refused=2, timeout=1)),)
        )
        assert (finding.cause, finding.pool, finding.numbers) == ("database_down", 1, (3, 2, 1, 0, 0, 0))

    def test_at_a_start_the_first_report_is_enough(self):
        assert [one.cause for one in found((pool(connect_errors=ConnectErrors(dns=3)),))] == ["database_down"]

    @pytest.mark.parametrize(
        "moments",
        [
            # One that succeeds.
            ((pool(),), (pool(connects=1, connect_errors=ConnectErrors(refused=9)),)),
            # Too few.
            ((pool(),), (pool(connect_errors=ConnectErrors(refused=2)),)),
            # They are over.
            ((pool(),), *[(pool(connect_errors=ConnectErrors(refused=9)),)] * 2),
            # The database answers, with a refusal.
            ((pool(),), (pool(connect_errors=ConnectErrors(auth=9, no_database=9)),)),
        ],
    )  # fmt: skip
    def test_anything_else_is_none(self, moments):
        assert found(*moments) == ()


def test_a_server_that_is_full_refuses_twice():
    (finding,) = found((pool(),), (pool(connect_errors=ConnectErrors(full=2)),))
    assert (finding.cause, finding.numbers) == ("server_full", (2, 1, 15))
    assert found((pool(),), (pool(connect_errors=ConnectErrors(full=1)),)) == ()


def test_a_full_server_is_the_main_cause_before_stale_connections():
    causes = [
        one.cause for one in found((pool(),), (pool(connects=1, dead=3, connect_errors=ConnectErrors(full=2)),))
    ]
    assert causes == ["server_full", "stale_connections"]


def test_connections_of_the_parent_name_who_took_them_and_the_line_that_forked():
    child = pool(inherited=1, sites=(SiteReading("app.py:9 in query", open=1),))
    (finding,) = found((pool(),), (child, ProcessSigns(fork_line="app.py:3 in start")))
    assert (finding.cause, finding.site, finding.line, finding.numbers) == (
        "shared_after_fork", "app.py:3 in start", "app.py:9 in query", (1,),
    )  # fmt: skip


def test_dead_connections_while_new_ones_succeed():
    (finding,) = found((pool(connects=3),), (pool(connects=6, dead=3),))
    assert (finding.cause, finding.numbers) == ("stale_connections", (3, 6))
    assert found(*[(pool(connects=3),)] * 4, (pool(connects=3, dead=3),)) == (), "no new one is tried"
    assert found((pool(connects=3),), (pool(connects=6, dead=2),)) == ()


class TestEventLoop:
    def stalls(self, stalled, longest, late=0):
        looks = [
            (ProcessSigns(looks=20 * n, late_looks=late * n, stalled_s=stalled * n, longest_stall_s=longest,
                          stall_line="app.py:7 in parse"),)
            for n in range(4)
        ]  # fmt: skip
        return found(*looks)

    def test_a_tenth_of_the_window_and_half_a_second_at_a_time(self):
        (finding,) = self.stalls(0.3, 0.6)
        assert (finding.cause, finding.pool, finding.site) == ("event_loop_blocked", REST, "app.py:7 in parse")
        assert finding.numbers == pytest.approx((0.9, 0.6, 6.0))

    def test_less_is_none(self):
        assert self.stalls(0.1, 0.3) == ()
        assert self.stalls(0.3, 0.2) == (), "many short ones"

    def test_an_old_long_stall_is_not_one_of_the_window(self):
        before = ProcessSigns(stalled_s=30.0, longest_stall_s=30.0)
        assert found(*[(before,)] * 4) == ()

    def test_a_process_without_cpu_is_said_to_be_that(self):
        (finding,) = self.stalls(1.0, 2.0, late=12)
        assert (finding.cause, finding.numbers) == ("no_cpu", (0.6, 36))

    @pytest.mark.parametrize(("late", "expected"), [(0, []), (1, ["no_cpu"])])
    def test_so_is_one_whose_looks_are_rare(self, late, expected):
        """Four in the 6 s of a window."""
        looks = [0, 1, 3, 4]
        moments = [
            Moment(2.0 * n, (), ProcessSigns(looks=each, late_looks=late * each), looks_due=float(each))
            for n, each in enumerate(looks)
        ]
        assert [one.cause for one in examine(moments, Habits())] == expected

    def test_looks_that_are_late_while_hardly_anything_is_out_are_chance(self):
        moments = [Moment(2.0 * n, (), ProcessSigns(looks=n, late_looks=n), looks_due=20.0 * n) for n in range(4)]
        assert examine(moments, Habits()) == ()


class TestEngines:
    def test_a_pool_for_each_request(self):
        moments = [tuple(pool(key) for key in range(1, 2 + 2 * n)) for n in range(4)]
        (finding,) = found(*moments)
        assert (finding.cause, finding.site, finding.numbers) == (
            "engine_per_request", "app.py:1 in make", (7, 6, 7),
        )  # fmt: skip

    def test_pools_that_end_count_as_long_as_they_are_told(self):
        moments = [tuple(pool(key, gone=key <= 2 * n) for key in range(1, 2 + 2 * n)) for n in range(4)]
        assert [one.cause for one in found(*moments)] == ["engine_per_request"]

    def test_a_program_that_makes_its_pools_at_the_start_does_not(self):
        assert found(*[tuple(pool(key) for key in range(1, 9))] * 4) == ()

    def test_a_line_that_makes_pools_for_several_databases_does_not(self):
        shards = [
            pool(key)._replace(signs=PoolSigns(target=f"db{key}:5432/shop", made_at="app.py:1 in make"))
            for key in range(1, 9)
        ]
        assert found((), tuple(shards)) == ()

    def test_two_pools_of_one_line_that_are_both_used_are_a_notice(self):
        (finding,) = found((pool(1), pool(2)))
        assert (finding.cause, finding.numbers) == ("duplicate_engines", (2, 2, 30))
        assert found((pool(1), pool(2, checkouts=0))) == ()
        assert found((pool(1), pool(2, made_at="app.py:2 in make"))) == ()
        assert found((pool(1, made_at=""), pool(2, made_at=""))) == (), "not known is not the same line"


def test_what_a_pool_counted_before_a_restart_of_its_numbers_does_not_matter():
    assert found((pool(connect_errors=ConnectErrors(refused=9)),), (pool(connects=1),)) == ()
