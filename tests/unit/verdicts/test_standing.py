from poolhouse.meter.reading import REST
from poolhouse.meter.signs import Finding
from poolhouse.verdicts.causes import STANDS_S
from poolhouse.verdicts.standing import MOST_FINDINGS, SITE_STANDS_S, Change, Standing


def finding(cause, pool=1, site=""):
    return Finding(cause, pool, site)


def causes(standing, now=0.0):
    return [one.cause for one in standing.findings(now)]


def test_it_begins_stands_and_ends():
    standing = Standing()
    (change,) = standing.take([finding("pool_too_small")], 0.0)
    assert change == Change(finding("pool_too_small"), None)
    assert standing.take([finding("pool_too_small")], 4.0) == ()
    assert standing.take([], 4.0 + STANDS_S - 0.1) == ()
    assert standing.findings(14.0)[0].age_s == 14.0
    (change,) = standing.take([], 4.0 + STANDS_S)
    assert change.now is None
    assert change.before.age_s == 4.0 + STANDS_S
    assert standing.findings(20.0) == ()


def test_it_gives_way_only_to_one_further_up():
    standing = Standing()
    standing.take([finding("held_idle")], 0.0)
    assert standing.take([finding("pool_too_small")], 2.0) == ()
    (change,) = standing.take([finding("leak", site="a.py:1 in f")], 4.0)
    assert (change.now.cause, change.before.cause) == ("leak", "held_idle")
    assert standing.take([finding("held_idle")], 6.0) == ()
    assert causes(standing) == ["leak"]


def test_of_several_at_once_the_first_stands():
    standing = Standing()
    standing.take([finding("leak"), finding("held_idle"), finding("pool_too_small")], 0.0)
    assert causes(standing) == ["leak"]


def test_other_pools_have_their_own():
    standing = Standing()
    standing.take([finding("leak", 1), finding("pool_too_small", 2)], 0.0)
    assert causes(standing) == ["leak", "pool_too_small"]


def test_several_lines_leak_each_for_itself():
    standing = Standing()
    standing.take([finding("leak", site="a.py:1 in f"), finding("leak", site="b.py:1 in g")], 0.0)
    assert causes(standing) == ["leak", "leak"]


def test_an_event_loop_that_stands_still_explains_the_pools_of_its_process():
    standing = Standing()
    standing.take([finding("event_loop_blocked", REST), finding("pool_too_small", 2)], 0.0)
    assert causes(standing) == ["event_loop_blocked"]


def test_a_notice_stands_beside_and_explains_nothing_but_a_loop_without_cpu():
    standing = Standing()
    standing.take([finding("duplicate_engines"), finding("pool_too_small")], 0.0)
    assert causes(standing) == ["pool_too_small", "duplicate_engines"]
    standing.take([finding("no_cpu", REST), finding("event_loop_blocked", REST)], 1.0)
    assert causes(standing) == ["pool_too_small", "no_cpu", "duplicate_engines"]


def test_the_line_stays_until_another_one_is_found_for_a_while():
    standing = Standing()
    standing.take([finding("held_idle", site="a.py:1 in f")], 0.0)
    standing.take([finding("held_idle", site="b.py:1 in g")], 2.0)
    assert standing.findings(2.0)[0].site == "a.py:1 in f"
    standing.take([finding("held_idle", site="b.py:1 in g")], SITE_STANDS_S)
    assert standing.findings(6.0)[0].site == "b.py:1 in g"


def test_at_most_a_few_stand_at_a_time():
    standing = Standing()
    standing.take([finding("leak", pool) for pool in range(1, 20)], 0.0)
    assert len(standing.findings(0.0)) == MOST_FINDINGS
