"""Which sites and names the next report tells."""

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import OTHER_SITES, PoolSigns, ProcessSigns, SiteReading
from poolhouse.report.telling import FEW_SITES, MOST_POOLS, NAMES_TURN, SITES_IN_TURN, TELLINGS, Teller
from poolhouse.wire.signs import KeyedSigns, Selection


def site(number: int, **changes: object) -> SiteReading:
    return SiteReading(f"app/a.py:{number} in f", held_s=1000.0 - number)._replace(**changes)


def signs(*sites: SiteReading, key: int = 1) -> list[KeyedSigns]:
    return [(key, PoolSigns(sites=sites))]


def tell(teller: Teller, pools: list[KeyedSigns], *, room: int = 1000) -> Selection:
    """A report in which so many sites have room, with all their names."""
    selection = teller.select(None, (), pools)
    selection.told_pools += [key for key, _ in selection.pools]
    selection.told_sites += selection.sites[:room]
    names = {one.site for _, one in selection.told_sites} & selection.new_names
    selection.told_names += [*names, *selection.names_in_turn]
    teller.note(selection)
    return selection


def order(selection: Selection) -> list[int]:
    return [int(one.site.split(":")[1].split()[0]) for _, one in selection.sites]


def test_open_holds_are_told_first_then_two_in_turn_then_what_changed():
    teller = Teller()
    sites = [site(n) for n in range(8)]
    assert order(tell(teller, signs(*sites))) == [0, 1, 2, 3, 4, 5, 6, 7]
    sites[7] = site(7, open=1)
    sites[5] = site(5, returned=1)
    assert order(tell(teller, signs(*sites))) == [7, 0, 1, 5, 2, 3, 4, 6]


def test_what_had_no_room_has_it_soon():
    teller = Teller()
    told: set[int] = set()
    sites = [site(n, open=n < 3) for n in range(30)]
    reports = 0
    while len(told) < 30:
        selection = tell(teller, signs(*sites), room=3 + SITES_IN_TURN)
        told |= set(order(selection)[: 3 + SITES_IN_TURN])
        sites = [one._replace(returned=one.returned + 1) for one in sites]
        reports += 1
    assert reports <= 27 / SITES_IN_TURN + 1


def test_a_name_is_told_three_times_and_then_in_turn():
    teller = Teller()
    pools = signs(*[site(n) for n in range(5)])
    assert [len(tell(teller, pools).new_names) for _ in range(TELLINGS + 1)] == [5, 5, 5, 0]
    turns = [name for _ in range(5) for name in tell(teller, pools).names_in_turn]
    assert len(turns) == 10
    assert len(set(turns)) == 5


def test_names_in_turn_come_first_in_some_reports():
    teller = Teller()
    turns = [tell(teller, signs(site(1))).is_names_turn for _ in range(2 * NAMES_TURN)]
    assert turns.count(True) == 2


def test_names_of_the_process_are_told_too():
    selection = Teller().select(ProcessSigns(stall_line="app/b.py:1 in g"), (), signs(SiteReading(OTHER_SITES)))
    assert selection.new_names == {"app/b.py:1 in g"}


def test_few_sites_add_no_datagram():
    few, many = ([site(n, open=1) for n in range(count)] for count in (FEW_SITES, FEW_SITES + 1))
    assert not Teller().select(None, (), signs(*few)).may_add
    assert Teller().select(None, (), signs(*many)).may_add


def test_many_pools_are_told_in_turn():
    teller = Teller()
    pools = [(key, PoolSigns(looks=1)) for key in range(20)]
    told = [selection.pools for selection in (tell(teller, pools) for _ in range(3))]
    assert {len(some) for some in told} == {MOST_POOLS}
    assert {key for some in told for key, _ in some} == set(range(20))
    assert teller.select(None, (), pools).depth == 3  # All were told within two reports before this one.


def test_use_times_that_grow_in_place_do_not_hide_a_change():
    teller, use = Teller(), Histogram()
    sites = [site(n, use=use) for n in range(4)]
    tell(teller, signs(*sites))
    use.record_all([1_000_000])
    sites[3] = site(3, use=use, returned=1)
    assert order(tell(teller, signs(*sites))) == [0, 1, 3, 2]


def test_what_is_gone_is_forgotten():
    teller = Teller()
    tell(teller, signs(*[site(n) for n in range(9)]))
    tell(teller, [])
    assert tell(teller, signs(site(0))).new_names == {site(0).site}
