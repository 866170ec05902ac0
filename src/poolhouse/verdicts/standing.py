"""The standing findings of a process: they begin, change and end, without flapping. No I/O, no clock."""

from collections.abc import Iterable
from typing import NamedTuple

from poolhouse.meter.reading import REST
from poolhouse.meter.signs import Finding
from poolhouse.verdicts.causes import BY_NAME, RANK, STANDS_S, rank_of
from poolhouse.verdicts.examine import examine
from poolhouse.verdicts.habits import Habits
from poolhouse.verdicts.moment import History, Moment

#: The most findings that stand at a time.
MOST_FINDINGS = 4
#: Seconds for which a finding keeps its site while another one is found.
SITE_STANDS_S = 6.0

#: Causes that several lines of one pool can have at once, each for itself.
_BY_SITE = frozenset(("leak", "duplicate_engines", "engine_per_request"))
#: Causes that concern the line that makes pools, not a single pool.
_BY_MAKER = frozenset(("duplicate_engines", "engine_per_request"))
#: Causes of a process that explain why its pools are used up.
_OF_PROCESS = frozenset(("event_loop_blocked",))


class Change(NamedTuple):
    """A change in the standing findings."""

    #: The finding that stands now; ``None`` if one ended.
    now: Finding | None
    #: The finding that it replaces, or that ended; ``None`` if none stood.
    before: Finding | None


class _Standing:
    __slots__ = ("began", "confirmed", "finding", "seen")

    def __init__(self, finding: Finding, now: float) -> None:
        self.finding = finding
        self.began = self.seen = now
        #: When its site was last found to blame.
        self.confirmed = now

    def see(self, finding: Finding, now: float) -> None:
        """Take the new numbers. Another site must be found for a while before it replaces this one."""
        if finding.site == self.finding.site:
            self.confirmed = now
        elif now - self.confirmed < SITE_STANDS_S:
            finding = finding._replace(site=self.finding.site, line=self.finding.line)
        self.finding = finding
        self.seen = now

    def at(self, now: float) -> Finding:
        return self.finding._replace(age_s=max(0.0, now - self.began))


_Key = tuple[str, int, str]


class Standing:
    """The findings that stand."""

    __slots__ = ("_standing",)

    def __init__(self) -> None:
        self._standing: dict[_Key, _Standing] = {}

    def take(self, found: Iterable[Finding], now: float) -> tuple[Change, ...]:
        """Take the present findings of `examine`; return what changed.

        Args:
            found: The findings, the main one first.
            now: Monotonic seconds; a time before the last one ends nothing.
        """
        began: list[Finding] = []
        for finding in found:
            key = _key(finding)
            standing = self._standing.get(key)
            if standing is not None:
                standing.see(finding, now)
            elif not self._is_explained(finding):
                self._standing[key] = _Standing(finding, now)
                began.append(finding)
        ended = [
            key
            for key, standing in self._standing.items()
            if now - standing.seen >= STANDS_S or self._is_explained(standing.finding)
        ]
        before = [self._standing.pop(key).at(now) for key in ended]
        return tuple(_changes([one for one in began if _key(one) in self._standing], before))

    def findings(self, now: float) -> tuple[Finding, ...]:
        """The standing findings, the main one first, at most `MOST_FINDINGS`."""
        all_of_them = sorted(self._standing.values(), key=lambda one: (rank_of(one.finding.cause), one.began))
        return tuple(standing.at(now) for standing in all_of_them[:MOST_FINDINGS])

    def leaks(self) -> set[tuple[int, str]]:
        """The standing leaks, by pool and site."""
        return {(pool, site) for cause, pool, site in self._standing if cause == "leak"}

    def _is_explained(self, finding: Finding) -> bool:
        """Whether this finding may follow from another standing one of higher rank on the same pool."""
        return any(
            _explains(standing.finding, finding)
            for standing in self._standing.values()
            if standing.finding != finding
        )


def _explains(main: Finding, other: Finding) -> bool:
    """Whether `other` may follow from `main`: notices explain nothing, and nothing explains them.

    One exception: a process that gets no CPU explains why its event loop stands still.
    """
    if main.cause == "no_cpu":
        return other.cause == "event_loop_blocked"
    if _is_notice(main) or _is_notice(other) or RANK[main.cause] >= RANK[other.cause]:
        return False
    return main.pool == other.pool != REST or main.cause in _OF_PROCESS


def _is_notice(finding: Finding) -> bool:
    return BY_NAME[finding.cause].severity == "notice"


def _key(finding: Finding) -> _Key:
    site = finding.site if finding.cause in _BY_SITE else ""
    # The line that makes pools is to blame, whichever of them is the newest.
    return finding.cause, REST if finding.cause in _BY_MAKER else finding.pool, site


def _changes(began: list[Finding], ended: list[Finding]) -> Iterable[Change]:
    for finding in began:
        before = next((one for one in ended if one.pool == finding.pool), None)
        if before is not None:
            ended.remove(before)
        yield Change(finding, before)
    for finding in ended:
        yield Change(None, finding)


class Examiner:
    """Examines one process, moment by moment."""

    def __init__(self) -> None:
        self._history = History()
        self._habits = Habits()
        self._standing = Standing()
        self._now = 0.0

    def take(self, moment: Moment) -> tuple[Change, ...]:
        """Take the newest moment; return what changed. One that is not newer than the last changes nothing."""
        if not self._history.add(moment):
            return ()
        moments = self._history.moments()
        self._habits.learn(moments)
        self._now = moment.at
        found = examine(moments, self._habits, self._standing.leaks())
        return self._standing.take(found, moment.at)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The standing findings, the main one first."""
        return self._standing.findings(self._now)
