"""The programs of each host as rows of connmon's CSV file: the same columns, order, time format and token.

A program's row outlives its processes, with zeros. connmon kept it forever; here it stays for `MEMORY`, so that
the file does not grow with every name there has ever been. Quoting follows RFC 4180; connmon quoted nothing.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from poolhouse.fleet.snapshot import HostProgram, Row

#: How many lines are made at once: a millisecond's work.
LINES_AT_ONCE = 50
#: Seconds for which a program without processes keeps its row, and the most such rows.
MEMORY = 24 * 3600.0
MOST_FORGOTTEN = 10_000


class _CsvRow(NamedTuple):
    """The values from which one row of the file is made."""

    timestamp: str
    token: str
    host: str
    program: str
    row: Row


#: Each column's value. An unknown value is 0, as it was in connmon: its readers expect numbers.
COLUMNS: dict[str, Callable[[_CsvRow], object]] = {
    "timestamp": lambda line: line.timestamp,
    "token": lambda line: line.token,
    "hostname": lambda line: line.host,
    "progname": lambda line: line.program,
    "process_count": lambda line: line.row.processes or 0,
    "connection_count": lambda line: line.row.connections or 0,
    "checkout_count": lambda line: line.row.used or 0,
    "max_process_count": lambda line: line.row.peaks.processes or 0,
    "max_connections": lambda line: line.row.peaks.connections or 0,
    "max_checkedout": lambda line: line.row.peaks.used or 0,
    "checkouts_per_second": lambda line: f"{line.row.rates.checkouts or 0.0:.4f}",
}


class CsvTable:
    """Rows for the file, one group per instant."""

    def __init__(self, columns: Sequence[str], token: str) -> None:
        """Start with no programs seen.

        Args:
            columns: Some of `COLUMNS`, in the order in which they are written.
            token: The value of the column ``token``.
        """
        self._columns = tuple(columns)
        self._token = token
        #: The last row of each program on each host, and when it was last seen in the fleet.
        self._known: dict[tuple[str, str], tuple[Row, float]] = {}

    @property
    def header(self) -> str:
        """The first line of a file."""
        return _text([self._columns])

    def note(self, programs: Iterable[HostProgram], now: float) -> None:
        """Note some of the fleet's programs at this instant, in monotonic seconds; all of them before `lines`."""
        for host, program, row in programs:
            key = host, program
            self._known.pop(key, None)
            self._known[key] = row, now

    def lines(self, timestamp: str, now: float) -> Iterator[str]:
        """The lines for this instant, sorted by host and program, some at a time.

        Args:
            timestamp: The instant in the file's format; connmon wrote local time, ``2026-11-29 06:40:45``.
            now: Monotonic seconds: as those with which its programs were noted.
        """
        known = self._known
        gone = [(key, seen) for key, (_, seen) in known.items() if seen != now]  # The one gone longest first.
        for number, (key, seen) in enumerate(gone):
            if now - seen > MEMORY or len(gone) - number > MOST_FORGOTTEN:
                del known[key]
        keys = sorted(known)
        for at in range(0, len(keys), LINES_AT_ONCE):
            made = []
            for key in keys[at : at + LINES_AT_ONCE]:
                row, seen = known[key]
                made.append(
                    _CsvRow(timestamp, self._token, *key, row if seen == now else Row("", peaks=row.peaks))
                )
            yield _text([COLUMNS[column](line) for column in self._columns] for line in made)


def _text(rows: Iterable[Sequence[object]]) -> str:
    lines: list[str] = []
    for row in rows:
        line = io.StringIO()
        # Before Python 3.13 the module quotes a carriage return only if it is part of the line terminator.
        csv.writer(line, lineterminator="\r\n").writerow(row)
        lines.append(line.getvalue().removesuffix("\r\n"))
    return "".join(f"{line}\n" for line in lines)
