"""The latest events; similar ones are merged, so that a storm of them is one line."""

from collections import deque

from poolhouse.fleet.snapshot import Event

#: Events of one kind, host and program within this many seconds are one line.
GATHERED_SECONDS = 5.0


class _Entry:
    """One event, and how many similar ones followed."""

    __slots__ = ("first", "more")

    def __init__(self, first: Event) -> None:
        self.first = first
        self.more = 0


class EventLog:
    """A bounded log: the oldest line goes when a new one has no room."""

    def __init__(self, length: int) -> None:
        self._entries: deque[_Entry] = deque(maxlen=length)
        #: The line that another event of this kind, host and program joins; at most one for each line.
        self._newest: dict[tuple[str, str, str], _Entry] = {}

    def add(self, wall_time: float, kind: str, host: str, program: str, text: str) -> None:
        """Log an event, as a line of its own or as one more in the latest similar line."""
        if not self._entries.maxlen:
            return
        like = (kind, host, program)
        line = self._newest.get(like)
        if line is not None and 0 <= wall_time - line.first.wall_time < GATHERED_SECONDS:
            line.more += 1
            return
        if len(self._entries) == self._entries.maxlen:
            oldest = self._entries[0]
            if self._newest.get(oldest.first[1:4]) is oldest:
                del self._newest[oldest.first[1:4]]
        line = self._newest[like] = _Entry(Event(wall_time, kind, host, program, text))
        self._entries.append(line)

    def events(self) -> tuple[Event, ...]:
        """The events, oldest first."""
        return tuple(
            line.first._replace(text=f"{line.first.text}, and {line.more} more") if line.more else line.first
            for line in self._entries
        )
