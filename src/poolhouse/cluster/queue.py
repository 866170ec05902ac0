"""The reports that wait for another node: only the newest one of each process."""

from collections.abc import Callable
from typing import TypeAlias

from poolhouse.fleet.process import Process

#: The most bytes that may wait for one node, and the most datagrams of a process's report among them.
MOST_BYTES, MOST_DATAGRAMS = 16 << 20, 256

#: A framed datagram of a report: its process, the report's number, and its bytes.
Arrived: TypeAlias = tuple[Process, int, bytes]


class ReportQueue:
    """Framed datagrams by process, in the order in which the processes reported.

    Attributes:
        bytes: How many bytes are waiting.
    """

    def __init__(self, note_dropped: Callable[[Process], None], most_bytes: int = MOST_BYTES) -> None:
        """Start empty.

        Args:
            note_dropped: Called with a process if some of its datagrams will not be sent.
            most_bytes: The limit.
        """
        self.bytes = 0
        self._note_dropped = note_dropped
        self._most_bytes = most_bytes
        #: By process: the number of its newest report, and that report's framed datagrams.
        self._waiting: dict[Process, tuple[int, list[bytes]]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, process: Process, number: int, framed: bytes) -> None:
        """Queue a datagram of a report; a newer report replaces an older one."""
        held = self._waiting.get(process)
        if held is None:
            self._waiting[process] = number, [framed]
        elif number == held[0] and len(held[1]) < MOST_DATAGRAMS:
            held[1].append(framed)
        else:
            self._note_dropped(process)
            if number <= held[0]:
                return
            self.bytes -= sum(map(len, held[1]))
            self._waiting[process] = number, [framed]
        self.bytes += len(framed)
        while self.bytes > self._most_bytes:
            oldest = next(iter(self._waiting))
            self._take(oldest)
            self._note_dropped(oldest)

    def take(self, most_bytes: int) -> list[bytes]:
        """Remove the oldest datagrams, of whole reports, until there are this many bytes."""
        taken: list[bytes] = []
        size = 0
        while self._waiting and size < most_bytes:
            report = self._take(next(iter(self._waiting)))
            taken += report
            size += sum(map(len, report))
        return taken

    def clear(self) -> None:
        """Drop everything without calling `note_dropped`."""
        self._waiting.clear()
        self.bytes = 0

    def _take(self, process: Process) -> list[bytes]:
        _, report = self._waiting.pop(process)
        self.bytes -= sum(map(len, report))
        return report
