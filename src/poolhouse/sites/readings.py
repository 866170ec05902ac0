"""From the sites of a pool to what is reported of them."""

from collections.abc import Iterable
from typing import NamedTuple

from poolhouse.meter.signs import MOST_SITES, SiteReading
from poolhouse.meter.signs_sum import most_important, summed_sites
from poolhouse.sites.site import Site
from poolhouse.sites.words import site_of


class Open(NamedTuple):
    """The connections that a site has now."""

    number: int = 0
    #: For how long it has had the oldest of them, and the sum over all of them, in seconds.
    oldest_s: float = 0.0
    total_s: float = 0.0

    def with_one(self, age: float) -> "Open":
        """The same, and one more that has been out for so long."""
        return Open(self.number + 1, max(self.oldest_s, age), self.total_s + max(0.0, age))


def open_by_site(holds: Iterable[tuple[Site, float]], now: float) -> dict[Site, Open]:
    """The connections that are out, by their sites.

    Args:
        holds: The site of each, and since when it is out.
        now: The time, on the same clock.
    """
    found: dict[Site, Open] = {}
    for site, since in holds:
        found[site] = found.get(site, Open()).with_one(now - since)
    return found


def site_readings(
    sites: Iterable[Site], holds: Iterable[tuple[Site, float]], now: float, most: int = MOST_SITES
) -> tuple[SiteReading, ...]:
    """What is told of the sites of a pool: those that had connections, the one with most connection-seconds first.

    Sites of the same words are one. For the one reader of these sites only: once for each report, since their idle
    lines age by it.

    Args:
        sites: All of them.
        holds: The site of each connection that is out, and since when it is.
        now: The time, on the same clock.
        most: How many are told one by one; the others are summed as `OTHER_SITES`.
    """
    opened = open_by_site(holds, now)
    readings = [_reading(site, opened.get(site, Open())) for site in {*sites, *opened}]
    told = [one for one in readings if one.open or one.returned or one.waited_s or any(one.looks)]
    return most_important(summed_sites(told), most)


def _reading(site: Site, opened: Open) -> SiteReading:
    use, line = site.use, site.looks.idle_line
    site.looks.age()
    return SiteReading(
        site.words,
        opened.number,
        opened.oldest_s,
        use.count,
        site.collected.read(),
        site.held_s(use.sum_ns / 1e9 + opened.total_s),
        site.waited_s(),
        site.looks.looks,
        "" if line is None else site_of(*line),
        use,
    )
