"""The rows of one kind: those that are shown, and those whose totals are remembered."""

from collections import OrderedDict
from collections.abc import Mapping

from poolhouse.defaults import GONE_INTERVALS
from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.budget import Budget
from poolhouse.fleet.deadlines import Deadlines
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.shares import BySource

#: Host and program, each empty if a row sums all of them.
Key = tuple[str, str]


class RowTable:
    """Rows by key; at most `most` of them are shown.

    Attributes:
        shown: Rows with processes, or with some a short time ago.
        linger: Seconds for which a row without processes is shown, if that is more than five intervals.
        of_source: The shown rows, by the sender whose report had them shown.
        forgotten: How many rows were forgotten to make room for others.
    """

    def __init__(self, most: int, limits: FleetLimits, budget: Budget) -> None:
        self._most = most
        self._limits = limits
        self._budget = budget
        self.shown: dict[Key, Aggregate] = {}
        self.of_source: BySource[Aggregate] = BySource()
        self.linger = 0.0
        self.forgotten = 0
        #: Shown rows without a process that was heard twice, by how long that has been so.
        self._candidates: BySource[Aggregate] = BySource()
        #: With the time until which each is remembered, the oldest first: rows heard once, and others.
        self._heard_once: OrderedDict[Key, tuple[float, Aggregate]] = OrderedDict()
        self._remembered: OrderedDict[Key, tuple[float, Aggregate]] = OrderedDict()
        self._vacant: Deadlines[Aggregate] = Deadlines()

    def has_room(self, key: Key) -> bool:
        """Whether the row is shown or can be."""
        return key in self.shown or len(self.shown) < self._most

    def obtain(self, key: Key, now: float, interval: float, source: str = "") -> Aggregate:
        """The row: shown, remembered or new; a row that was not shown belongs to this source from now on."""
        row = self.shown.get(key)
        if row is None:
            entry = self._heard_once.get(key) or self._remembered.get(key)
            row = entry[1] if entry is not None else Aggregate(key, now, interval, self._budget)
            row.was_proven |= entry is not None
            row.source = source
            # Shown first and only then no longer remembered: if memory runs out in between, the row is not lost.
            self.shown[key] = row
            self._recollect(key)
            self.of_source.add(row)
            self._nominate(row, now)
        return row

    def recall(self, key: Key, now: float, interval: float) -> Aggregate:
        """The row for a process that only other nodes have heard: shown if it is, else remembered or new."""
        row = self.shown.get(key)
        if row is not None:
            return row
        entry = self._remembered.get(key) or self._heard_once.get(key)
        row = entry[1] if entry is not None else Aggregate(key, now, interval, self._budget)
        row.was_proven = True
        self._remembered[key] = now + self._limits.memory, row
        self._remembered.move_to_end(key)
        self._heard_once.pop(key, None)
        return row

    def rows(self) -> list[Aggregate]:
        """Every row, shown or remembered."""
        found = list(self.shown.values())
        for remembered in (self._heard_once, self._remembered):
            if remembered:
                found += [row for _, row in remembered.values()]
        return found

    def replaceable(self, now: float, grace: float, source: str) -> Aggregate | None:
        """The source's row that may go: the one without a process that was heard twice for longest.

        Args:
            now: The aggregator's time.
            grace: Seconds for which each row may wait for a second report.
            source: The source.
        """
        found = self._candidates.oldest(source)
        return found[0] if found is not None and found[0].candidate_since + grace <= now else None

    def prove(self, row: Aggregate) -> None:
        """Note that one of the row's processes was heard for the second time."""
        row.proven += 1
        row.was_proven = True
        self._candidates.discard(row)

    def unprove(self, row: Aggregate, now: float) -> None:
        """Note that one of those processes left the row."""
        row.proven -= 1
        if not row.proven:
            self._nominate(row, now)

    def vacate(self, row: Aggregate, now: float) -> None:
        """Note that the row's last process left: it is shown for five intervals with gauges of 0."""
        self._vacant.set(row, now + max(GONE_INTERVALS * row.interval, self.linger))

    def hide(self, row: Aggregate, now: float) -> None:
        """Stop showing a row without processes, but remember it."""
        row.deadline = None
        row.forget_samples()
        remembered = self._remembered if row.was_proven else self._heard_once
        remembered[row.key] = now + self._limits.memory, row
        del self.shown[row.key]
        self.of_source.discard(row)
        self._candidates.discard(row)

    def restore(self, proven: Mapping[Aggregate, int], now: float) -> None:
        """Compute everything again that follows from the rows.

        Args:
            proven: The rows with living processes, and how many of these were heard twice.
            now: The aggregator's time.
        """
        self.shown.update((row.key, row) for row in proven)
        self.of_source, self._candidates, self._vacant = BySource(), BySource(), Deadlines()
        for row in self.shown.values():
            self._recollect(row.key)
            self.of_source.add(row)
            row.proven = proven.get(row, 0)
            row.was_proven |= row.proven > 0
            if not row.proven:
                self._candidates.add(row)
            if row not in proven and row.deadline is not None:
                self._vacant.set(row, row.deadline)
            elif row not in proven:
                self.vacate(row, now)

    def expire(self, now: float) -> None:
        """Hide vacant rows, and forget those that are too old."""
        while row := self._vacant.pop_passed(now):
            if not row.processes:
                self.hide(row, now)
        for remembered in (self._heard_once, self._remembered):
            while remembered and next(iter(remembered.values()))[0] <= now:
                remembered.popitem(last=False)[1][1].forget()
        while len(self._heard_once) + len(self._remembered) > self._limits.remembered:
            self.forget_oldest()
            self.forgotten += 1

    def forget_oldest(self) -> bool:
        """Forget the row remembered for longest, first those heard once. False if there is none."""
        remembered = self._heard_once or self._remembered
        if not remembered:
            return False
        remembered.popitem(last=False)[1][1].forget()
        return True

    def _recollect(self, key: Key) -> None:
        """Remove a shown row from those that are remembered."""
        self._heard_once.pop(key, None)
        self._remembered.pop(key, None)

    def _nominate(self, row: Aggregate, now: float) -> None:
        row.candidate_since = now
        self._candidates.add(row)
