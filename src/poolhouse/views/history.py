"""The data of sparklines: the recent past of the fleet, each program and each host, collected from snapshots."""

from collections import deque
from typing import NamedTuple

from poolhouse.fleet.snapshot import Row, Snapshot

#: The moments kept for each row: five minutes of one snapshot per second.
MOMENTS = 300


class Moment(NamedTuple):
    """The state of a row at one time."""

    wall_time: float
    used: int | None
    waiting: int | None
    checkouts_per_second: float | None


class Past(NamedTuple):
    """A row's moments, oldest first."""

    moments: tuple[Moment, ...] = ()

    @property
    def seconds(self) -> float:
        """How far back it goes, in seconds."""
        return max(0.0, self.moments[-1].wall_time - self.moments[0].wall_time) if self.moments else 0.0

    @property
    def used(self) -> list[int | None]:
        """Connections in use."""
        return [moment.used for moment in self.moments]

    @property
    def waiting(self) -> list[int | None]:
        """Callers waiting for a connection."""
        return [moment.waiting for moment in self.moments]

    @property
    def checkouts_per_second(self) -> list[float | None]:
        """Checkouts per second."""
        return [moment.checkouts_per_second for moment in self.moments]


class History:
    """The past of every row of the newest snapshot; rows that leave the snapshot leave the history.

    >>> from poolhouse.fleet.snapshot import Health
    >>> history = History()
    >>> for used in (3, 5):
    ...     row = Row("shop", used=used)
    ...     history.add(Snapshot(float(used), Row(""), (row,), (), Health()))
    >>> history.of("program", "shop").used, history.of("program", "gone").seconds
    ([3, 5], 0.0)
    """

    def __init__(self) -> None:
        self._pasts: dict[tuple[str, str], deque[Moment]] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Add one moment; a snapshot with the time of the previous one is ignored."""
        last = self._pasts.get(("fleet", ""))
        if last is not None and last[-1].wall_time == snapshot.wall_time:
            return
        rows: dict[tuple[str, str], Row] = {("fleet", ""): snapshot.fleet}
        rows.update((("program", row.name), row) for row in snapshot.programs)
        rows.update((("host", row.name), row) for row in snapshot.hosts)
        for key in self._pasts.keys() - rows.keys():
            del self._pasts[key]
        for key, row in rows.items():
            past = self._pasts.setdefault(key, deque(maxlen=MOMENTS))
            past.append(Moment(snapshot.wall_time, row.used, row.waiting, row.rates.checkouts))

    def of(self, kind: str, name: str = "") -> Past:
        """The past of the ``fleet`` (without a name), of a ``program``, or of a ``host``."""
        return Past(tuple(self._pasts.get((kind, name), ())))
