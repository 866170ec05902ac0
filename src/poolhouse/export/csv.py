"""The programs of each host as rows of connmon's CSV file: the same columns, order, time format and token.

A program's row outlives its processes, with zeros. connmon kept it forever; here it stays for `MEMORY`, so that
the file does not grow with every name there has ever been. Quoting follows RFC 4180; connmon quoted nothing.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from poolhouse.fleet.snapshot import HostProgram, Row

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
        #: Programs without processes: their last row, and when it was last seen in the fleet.
        self._gone: dict[tuple[str, str], tuple[Row, float]] = {}

    @property
    def header(self) -> str:
        """The first line of a file."""
        return _text([self._columns])

    def rows(self, programs: Iterable[HostProgram], timestamp: str, now: float) -> str:
        """The lines for this instant, sorted by host and program.

        Args:
            programs: The programs of the fleet.
            timestamp: The instant in the file's format; connmon wrote local time, ``2026-11-29 06:40:45``.
            now: Monotonic seconds.
        """
        present = {(host, program): row for host, program, row in programs}
        for key, row in present.items():
            self._gone.pop(key, None)
            self._gone[key] = row, now
        for key, (_, seen) in list(self._gone.items()):
            if key not in present and (now - seen > MEMORY or len(self._gone) - len(present) > MOST_FORGOTTEN):
                del self._gone[key]
        lines = (
            _CsvRow(
                timestamp, self._token, host, program, present.get((host, program)) or Row("", peaks=last.peaks)
            )
            for (host, program), (last, _) in sorted(self._gone.items())
        )
        return _text([COLUMNS[column](line) for column in self._columns] for line in lines)


def _text(rows: Iterable[Sequence[object]]) -> str:
    lines: list[str] = []
    for row in rows:
        line = io.StringIO()
        # Before Python 3.13 the module quotes a carriage return only if it is part of the line terminator.
        csv.writer(line, lineterminator="\r\n").writerow(row)
        lines.append(line.getvalue().removesuffix("\r\n"))
    return "".join(f"{line}\n" for line in lines)
