"""Chooses the sites and names for a stream's next report if there is no room for all. Pure state.

Sites with open holds come first, then the two sent longest ago, then those that have changed, each group by
connection-seconds, then all others, sent longest ago first. So everything is repeated in turn, and urgent sites
are sent at once.

A name is sent in `TELLINGS` reports together with the sites that use it. After that, each report repeats
`NAMES_IN_TURN` names in turn, so that an aggregator that starts later learns them too.
"""

from collections.abc import Sequence

from poolhouse.meter.signs import Finding, ProcessSigns, SiteReading
from poolhouse.wire.signs import KeyedSigns, KeyedSite, Selection, all_names, all_sites

#: In how many reports a name is sent beside what uses it.
TELLINGS = 3
#: How many more names and unchanged sites a report sends in turn, ahead of all that may find no room.
NAMES_IN_TURN = 2
SITES_IN_TURN = 2
#: In one report of this many, one of them comes before sites without open holds.
NAMES_TURN = 4
#: The most pools whose signs a report sends, those sent longest ago first: 64 would leave no room for the sites.
MOST_POOLS = 8
#: A process with at most this many sites that are open or have changed adds no datagram to its report.
FEW_SITES = 12


class Teller:
    """The record of what the reports of one stream have sent so far."""

    def __init__(self) -> None:
        self._number = 0
        #: The report in which each pool was last sent, by the pool's key.
        self._pools: dict[int, int] = {}
        #: What was last sent about each site, by its pool's key and its name, and in which report.
        self._sites: dict[tuple[int, str], tuple[SiteReading, int]] = {}
        #: How often each name was sent, the one sent longest ago first.
        self._names: dict[str, int] = {}

    def select(
        self, process: ProcessSigns | None, findings: Sequence[Finding], pools: Sequence[KeyedSigns]
    ) -> Selection:
        """The content of the next report; pass it to `note` once the report is made."""
        self._number += 1
        names, sites = all_names(process, findings, pools), all_sites(pools)
        self._forget_others({key for key, _ in pools}, {(key, site.site) for key, site in sites}, names)
        open_sites = [told for told in sites if told[1].open]
        others = sorted((told for told in sites if not told[1].open), key=self._told_in)
        in_turn = others[:SITES_IN_TURN]
        chosen = {(key, site.site) for key, site in open_sites + in_turn}
        changed = [told for told in sites if (told[0], told[1].site) not in chosen and self._has_changed(*told)]
        unchanged = [told for told in others[SITES_IN_TURN:] if not self._has_changed(*told)]
        ordered = [*open_sites, *in_turn, *changed, *unchanged]
        pools = sorted(pools, key=lambda told: self._pools.get(told[0], 0))
        told_before = [self._since(self._pools.get(key, 0)) for key, _ in pools]
        return Selection(
            pools[:MOST_POOLS],
            ordered,
            frozenset(name for name in names if self._names.get(name, 0) < TELLINGS),
            [name for name, count in self._names.items() if count >= TELLINGS][:NAMES_IN_TURN],
            told_before=[*told_before[:MOST_POOLS], *(self._since(self._told_in(told)) for told in ordered)],
            depth=max(told_before[MOST_POOLS:], default=0),
            is_names_turn=self._number % NAMES_TURN == 0,
            may_add=len(open_sites) + len(changed) > FEW_SITES,
        )

    def note(self, selection: Selection) -> None:
        """Record what the report has sent."""
        for key in selection.told_pools:
            self._pools[key] = self._number
        for key, site in selection.told_sites:
            self._sites[key, site.site] = site._replace(use=None), self._number
        for name in selection.told_names:
            self._names[name] = self._names.pop(name, 0) + 1

    def _forget_others(self, pools: set[int], sites: set[tuple[int, str]], names: dict[str, None]) -> None:
        """Keep only what still exists."""
        self._pools = {key: number for key, number in self._pools.items() if key in pools}
        self._sites = {site: told for site, told in self._sites.items() if site in sites}
        self._names = {name: count for name, count in self._names.items() if name in names}

    def _since(self, number: int) -> int:
        """How many reports there have been since this one, inclusive; 0 for none."""
        return self._number - number + 1 if number else 0

    def _told_in(self, told: KeyedSite) -> int:
        """The report in which the site was last sent."""
        key, site = told
        return self._sites[key, site.site][1] if (key, site.site) in self._sites else 0

    def _has_changed(self, key: int, site: SiteReading) -> bool:
        told = self._sites.get((key, site.site))
        return told is None or told[0] != site._replace(use=None)
