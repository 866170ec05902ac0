"""The signs of several pools as those of one, for pools that are not reported one by one."""

from collections.abc import Iterable

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import (
    MOST_SITES,
    OTHER_SITES,
    ConnectErrors,
    Looks,
    PoolSigns,
    SiteReading,
)


def summed_signs(several: Iterable[PoolSigns | None]) -> PoolSigns | None:
    """Sums, with equal sites joined; ``None`` if no pool has any. Target and maker are kept if all share them."""
    known = [signs for signs in several if signs is not None]
    if len(known) < 2:
        return known[0] if known else None
    first = known[0]
    return PoolSigns(
        first.target if all(signs.target == first.target for signs in known) else "",
        first.made_at if all(signs.made_at == first.made_at for signs in known) else "",
        sum(signs.looks for signs in known),
        sum(signs.looks_waiting for signs in known),
        sum(signs.used_sum for signs in known),
        sum(signs.waiting_sum for signs in known),
        ConnectErrors(*map(sum, zip(*(signs.connect_errors for signs in known), strict=True))),
        sum(signs.inherited for signs in known),
        sum(signs.dead for signs in known),
        most_important(summed_sites(site for signs in known for site in signs.sites)),
    )


def summed_sites(sites: Iterable[SiteReading]) -> list[SiteReading]:
    """The sites with equal ones joined, in the order in which they come first."""
    groups: dict[str, list[SiteReading]] = {}
    for site in sites:
        groups.setdefault(site.site, []).append(site)
    return [_summed(name, group) for name, group in groups.items()]


def most_important(sites: Iterable[SiteReading], most: int = MOST_SITES) -> tuple[SiteReading, ...]:
    """The `most` sites with the most connection-seconds, and then `OTHER_SITES` if there are more."""
    ordered = sorted(sites, key=lambda site: (site.site == OTHER_SITES, -site.held_s))
    named = sum(site.site != OTHER_SITES for site in ordered)
    if named <= most:
        return tuple(ordered)
    return (*ordered[:most], _summed(OTHER_SITES, ordered[most:]))


def _summed(name: str, sites: list[SiteReading]) -> SiteReading:
    if len(sites) == 1:
        return sites[0]._replace(site=name)
    most_idle = max(sites, key=lambda site: site.looks.idle)
    uses = [site.use for site in sites if site.use is not None]
    use: Histogram | None = None
    if uses:
        use = uses[0].copy()
        for other in uses[1:]:
            use.add(other)
    return SiteReading(
        name,
        sum(site.open for site in sites),
        max(site.oldest_s for site in sites),
        sum(site.returned for site in sites),
        sum(site.collected for site in sites),
        sum(site.held_s for site in sites),
        sum(site.waited_s for site in sites),
        Looks(*map(sum, zip(*(site.looks for site in sites), strict=True))),
        most_idle.idle_line,
        use,
    )
