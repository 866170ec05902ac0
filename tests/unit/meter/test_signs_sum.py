"""Signs of several pools as those of one."""

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import OTHER_SITES, ConnectErrors, Looks, PoolSigns, SiteReading
from poolhouse.meter.signs_sum import most_important, summed_signs, summed_sites


def use_of(*milliseconds: int) -> Histogram:
    use = Histogram()
    use.record_all([one * 1_000_000 for one in milliseconds])
    return use


def test_equal_sites_are_one():
    one = SiteReading("a", 1, 2.0, 3, 1, 4.0, 5.0, Looks(1, 2, 3, 4), "there", use_of(1))
    other = SiteReading("a", 2, 1.0, 1, 0, 1.0, 0.5, Looks(1, 9, 0, 0), "here", use_of(2, 3))
    (both,) = summed_sites([one, other])
    assert both == SiteReading("a", 3, 2.0, 4, 1, 5.0, 5.5, Looks(2, 11, 3, 4), "here", use_of(1, 2, 3))
    assert one.use == use_of(1)


def test_signs_are_summed_and_what_differs_is_not_named():
    one = PoolSigns("db1", "app:1", 1, 2, 3, 4, ConnectErrors(refused=1), 5, 6, (SiteReading("a", returned=1),))
    other = PoolSigns("db2", "app:1", 1, 1, 1, 1, ConnectErrors(full=2), 1, 1, (SiteReading("b", returned=1),))
    both = summed_signs([one, None, other])
    assert both[:9] == ("", "app:1", 2, 3, 4, 5, ConnectErrors(refused=1, full=2), 6, 7)
    assert {site.site for site in both.sites} == {"a", "b"}


def test_without_any_there_are_none():
    assert summed_signs([None, None]) is None
    only = PoolSigns("db1")
    assert summed_signs([None, only]) is only


def test_the_rest_of_many_sites_is_one():
    sites = [SiteReading(f"app:{n}", returned=1, held_s=float(n)) for n in range(6)]
    sites.append(SiteReading(OTHER_SITES, returned=10, held_s=100.0))
    told = most_important(sites, 4)
    assert [site.site for site in told] == ["app:5", "app:4", "app:3", "app:2", OTHER_SITES]
    assert (told[-1].returned, told[-1].held_s) == (12, 101.0)
    assert most_important(sites[:4], 4) == tuple(sites[3::-1])
