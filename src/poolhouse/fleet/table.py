"""The rows of one kind: those that are shown, and those that are remembered for what they counted."""

from collections import OrderedDict

from poolhouse.defaults import GONE_INTERVALS
from poolhouse.fleet.deadlines import Deadlines
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.sums import Sums

#: Host and program, empty where a row sums all of them.
Key = tuple[str, str]


class Table:
    """Rows by key; at most `most` of them are shown.

    Attributes:
        shown: Rows that have processes, or had some a little while ago.
        linger: Seconds for which a row without processes is shown, if five intervals are less.
        forgotten: How many rows were forgotten because others had to be remembered.
    """

    def __init__(self, most: int, limits: FleetLimits) -> None:
        self._most = most
        self._limits = limits
        self.shown: dict[Key, Sums] = {}
        self.linger = 0.0
        self.forgotten = 0
        #: With the time until which each is remembered, the oldest first.
        self._remembered: OrderedDict[Key, tuple[float, Sums]] = OrderedDict()
        self._vacant: Deadlines[Sums] = Deadlines()

    def has_room(self, key: Key) -> bool:
        """Whether the row is shown or may be."""
        return key in self.shown or len(self.shown) < self._most

    def obtain(self, key: Key, now: float, interval: float) -> Sums:
        """The row: shown, remembered or new."""
        row = self.shown.get(key)
        if row is None:
            _, row = self._remembered.pop(key, (now, None))
            row = self.shown[key] = row or Sums(key, now, interval)
        return row

    def vacate(self, row: Sums, now: float) -> None:
        """The row's last process left: it is shown for five intervals with gauges 0."""
        self._vacant.set(row, now + max(GONE_INTERVALS * row.interval, self.linger))

    def expire(self, now: float) -> None:
        """Take vacant rows out of sight, and forget what is too old."""
        while row := self._vacant.pop_passed(now):
            if not row.processes:
                del self.shown[row.key]
                row.forget_trails()
                self._remembered[row.key] = (now + self._limits.memory, row)
        remembered = self._remembered
        while remembered:
            until, row = next(iter(remembered.values()))
            if until > now:
                if len(remembered) <= self._limits.remembered:
                    break
                self.forgotten += 1
            del remembered[row.key]
