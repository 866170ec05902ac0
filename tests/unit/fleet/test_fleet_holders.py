"""Which lines hold connections: from the parts of reports to the snapshot."""

import pytest

from poolhouse.fleet.holders import MOST_NAMES, TOP_LINES, Holders, Line
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.signs import MOST_PAYLOADS, NO_SIGNS
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import OTHER_SITES, Finding, Looks, PoolSigns, ProcessSigns, SiteReading
from poolhouse.report.telling import Teller
from poolhouse.wire.parts import SIGNS
from poolhouse.wire.report import encode_report
from support.reporting import ModelProcess
from support.wire_parts import parts_of
from support.wire_samples import pool, report


def use_of(*milliseconds: int) -> Histogram:
    use = Histogram(0)
    use.record_all([one * 1_000_000 for one in milliseconds])
    use.estimate_sum()
    return use


VIEW = SiteReading(
    "app/views.py:88 in cart", 2, 1.5, 10, 1, 20.0, 3.0, Looks(50, 30, 0, 20), "app/mail.py:5 in send"
)
OTHER = SiteReading("app/jobs.py:7 in run", 0, 0.0, 5, 0, 4.0, 0.0, Looks(9, 1, 0, 0))


def process(token: str = "1:abcdef", *sites: SiteReading, **how: object) -> ModelProcess:
    one = ModelProcess(token, **how)
    one.pool.signs = PoolSigns("db1:5432/shop", "app/db.py:3 in <module>", 100, 5, 60, 7, sites=sites)
    one.signs = ProcessSigns(100, 1, pools_made=1)
    return one


def lines(snapshot) -> dict[tuple[str, str], SiteReading]:
    return {(holder.program, holder.site.site): holder.site for holder in snapshot.holders}


def test_the_lines_of_several_processes_are_summed(aggregator):
    first = process("1:aaaaaa", VIEW._replace(use=use_of(1, 2)), OTHER)
    second = process("2:bbbbbb", VIEW._replace(open=1, oldest_s=9.0, use=use_of(40)), host="web2")
    aggregator.report(first, second)
    assert aggregator.snapshot().holders[0].site.use is None  # The fleet's lines are told without.
    top, rest = aggregator.snapshot("nova").holders
    assert (top.program, top.processes, rest.processes) == ("nova", 2, 1)
    assert top.site._replace(use=None) == VIEW._replace(
        open=3, oldest_s=9.0, returned=20, collected=2, held_s=40.0, waited_s=6.0, looks=Looks(100, 60, 0, 40)
    )
    assert top.site.use.counts == use_of(1, 2, 40).counts
    assert rest.site == OTHER


def test_a_program_that_is_asked_for_is_told_whole_with_its_pools(aggregator):
    many = [OTHER._replace(site=f"app/a.py:{n} in f", held_s=100.0 - n) for n in range(12)]
    one, other = process("1:aaaaaa", *many), process("2:bbbbbb", *many, program="shop")
    one.findings = (Finding("leak", 1, many[0].site, "", 3.0, (1.0,)),)
    aggregator.report(one, other)
    told = aggregator.snapshot("nova")
    assert [holder.program for holder in told.holders] == ["nova"] * 12 + ["shop"] * TOP_LINES
    (row,) = told.processes
    assert row.signs == ProcessSigns(100, 1, pools_made=1)
    assert row.findings == one.findings
    assert row.pools[0].reading.signs == one.pool.signs


def test_sites_of_processes_that_leave_are_counted_once(aggregator):
    one = process("1:aaaaaa", VIEW._replace(use=use_of(1)), OTHER)
    aggregator.report(one)
    aggregator.now += 11  # Five intervals.
    aggregator.fleet.expire(aggregator.now)
    site = lines(aggregator.snapshot("nova"))["nova", VIEW.site]
    assert (site.open, site.returned, site.held_s, site.use.count) == (0, 10, 20.0, 1)
    one.pool.signs = one.pool.signs._replace(sites=(VIEW._replace(returned=12), OTHER))
    aggregator.report(one)
    site = lines(aggregator.snapshot())["nova", VIEW.site]
    assert (site.open, site.returned, site.held_s, site.looks) == (2, 12, 20.0, VIEW.looks)
    aggregator.report(one, goodbye=True)
    assert lines(aggregator.snapshot())["nova", VIEW.site].returned == 12


def exported(aggregator) -> list[Line]:
    return [
        line
        for state in aggregator.fleet.holders_states()
        for found in state.lines(TOP_LINES)
        for line in found or ()
    ]


def test_exporters_read_the_same_lines(aggregator):
    many = [OTHER._replace(site=f"app/a.py:{n} in f", held_s=100.0 - n) for n in range(12)]
    first, second = process("1:aaaaaa", VIEW, *many), process("2:bbbbbb", VIEW, *many, host="web2")
    third = process("3:cccccc", OTHER, program="shop")
    aggregator.report(first, second, third)
    aggregator.report(first, goodbye=True)  # What it told is in the past from now on.
    holders = aggregator.snapshot().holders
    assert len(holders) == TOP_LINES + 1
    assert exported(aggregator) == [
        Line(one.program, one.site.site, one.site.open, one.site.oldest_s, one.site.held_s) for one in holders
    ]


def test_sites_of_a_process_that_was_forgotten_and_comes_back_are_counted_once(make_aggregator):
    aggregator = make_aggregator(FleetLimits(memory=60.0))
    one, other = process("1:aaaaaa", VIEW, OTHER), process("2:bbbbbb", VIEW)
    aggregator.report(one, other)
    for _ in range(70):
        aggregator.every_interval(other)
        aggregator.fleet.expire(aggregator.now)
    assert lines(aggregator.snapshot())["nova", VIEW.site].returned == 20
    one.pool.signs = one.pool.signs._replace(sites=(VIEW._replace(returned=12), OTHER))
    for _ in range(3):
        aggregator.every_interval(one, other)
    told = lines(aggregator.snapshot())
    assert (told["nova", VIEW.site].returned, told["nova", VIEW.site].held_s) == (22, 40.0)
    assert (told["nova", OTHER.site].returned, told["nova", OTHER.site].held_s) == (5, 4.0)


def test_what_a_goodbye_tells_last_counts(aggregator):
    """The first datagram of the last report ends the process, and the second brings its signs."""
    one = process("1:aaaaaa", VIEW)
    aggregator.report(one)
    one.pool.signs = one.pool.signs._replace(sites=(VIEW._replace(open=0, returned=99),))
    aggregator.report(one, goodbye=True)
    assert lines(aggregator.snapshot())["nova", VIEW.site].returned == 99


def test_a_late_datagram_changes_nothing(aggregator):
    one = process("1:aaaaaa", VIEW)
    late = one.report(aggregator.now)
    one.pool.signs = one.pool.signs._replace(sites=(VIEW._replace(returned=99),))
    aggregator.report(one)
    aggregator.receive(*late)
    assert lines(aggregator.snapshot())["nova", VIEW.site].returned == 99


def test_a_name_that_was_not_told_is_its_digits(aggregator):
    one = process("1:aaaaaa", VIEW)
    teller = Teller()
    for _ in range(4):
        selection = teller.select(None, (), [(1, one.pool.signs)])
        datagrams = encode_report(report(pool(signs=one.pool.signs)), selection=selection)
        teller.note(selection)
    aggregator.receive(datagrams[0], datagrams[1])
    (holder,) = aggregator.snapshot().holders
    assert holder.site.site.startswith("[")


def test_many_sites_of_a_process_are_put_together_from_several_reports(aggregator):
    sites = tuple(OTHER._replace(site=f"app/a.py:{n} in f", held_s=100.0 - n) for n in range(64))
    one = process("1:aaaaaa", *sites)
    teller = Teller()
    for number in range(1, 12):
        told = report(pool(signs=one.pool.signs), number=number, sequence=number * 9, wall_time=1.7e9 + number)
        selection = teller.select(None, (), told.pool_signs())
        datagrams = encode_report(told, selection=selection)
        teller.note(selection)
        assert set(aggregator.receive(*datagrams)) == {None}
    holders = aggregator.snapshot("nova").holders
    assert {holder.site.site for holder in holders} == {site.site for site in sites}
    (kept,) = aggregator.fleet.members("nova")
    assert len(kept.signs.payloads) <= MOST_PAYLOADS


def test_older_parts_count_as_long_as_the_newest_says():
    signs = NO_SIGNS.with_newer(b"\1a", 1).with_newer(b"\3b", 2)
    assert signs.payloads == (b"\3b", b"\1a")
    assert signs.with_newer(b"\1c", 3).payloads == (b"\1c",)
    assert signs.with_newer(b"\2c", 3).payloads == (b"\2c", b"\3b")
    assert signs.with_newer(b"\x03c", 4).payloads == (b"\x03c", b"\3b")
    assert signs.with_newer(b"\2c", 2).payloads == (b"\2c", b"\3b", b"\1a")
    assert signs.with_newer(b"\1c", 1) is signs


def test_names_beyond_the_bound_are_forgotten_longest_untold_first():
    holders = Holders()
    assert holders.learn((n, f"line {n}") for n in range(MOST_NAMES)) == 0
    assert holders.learn([(0, "line 0"), (MOST_NAMES, "new")]) == 1
    assert 1 not in holders.names
    assert holders.names[0] == "line 0"


def test_the_bounds_are_counted_and_shown(aggregator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("poolhouse.fleet.holders.MOST_NAMES", 3)
    monkeypatch.setattr("poolhouse.fleet.holders.MOST_SITES", 1)
    one = process("1:aaaaaa", VIEW, OTHER)
    aggregator.report(one)
    aggregator.report(one, goodbye=True)
    assert dict(aggregator.snapshot().health.over_limit) == {"names": 2, "sites": 2}
    names = {holder.site.site for holder in aggregator.snapshot("nova").holders}
    assert OTHER_SITES in names


def test_signs_count_in_the_budget(make_aggregator):
    without, full = make_aggregator(), make_aggregator()
    bare = ModelProcess("1:aaaaaa")
    without.report(bare)
    full.report(process("1:aaaaaa", VIEW, OTHER))
    before, after = without.snapshot().health.bytes, full.snapshot().health.bytes
    assert 1_000 < after - before < 3_500
    for aggregator in (without, full):
        for _ in range(3):
            aggregator.now += 200_000
            aggregator.fleet.expire(aggregator.now)
    assert full.snapshot().health.bytes == without.snapshot().health.bytes


def test_without_bytes_signs_are_refused_and_counts_go_on(make_aggregator):
    aggregator = make_aggregator(FleetLimits(bytes=1))
    assert "over the limit of bytes" in aggregator.receive(*process("1:aaaaaa", VIEW).report(aggregator.now))


def test_malformed_signs_are_refused_and_the_pool_counts(aggregator):
    first, second = process("1:aaaaaa", VIEW).report(aggregator.now)
    at = dict(parts_of(second))[SIGNS] + 4 + 1 + 1
    _, refused = aggregator.receive(first, second[:at] + b"\xff\xff" + second[at + 2 :])
    assert "cut short" in refused
    assert aggregator.program().pools == 1
    aggregator.snapshot("nova")


def test_names_are_safe_to_show(aggregator):
    aggregator.report(process("1:aaaaaa", VIEW._replace(site="app/\x1b[2J.py:1 in f")))
    (holder,) = aggregator.snapshot().holders
    assert "\x1b" not in holder.site.site
