"""The part of the daemon that writes the service's CSV file, once a second if anything was reported."""

import asyncio
import time
from collections.abc import Callable

from poolhouse.configuration.service import CsvDump
from poolhouse.daemon.csv_file import CsvFile
from poolhouse.daemon.part import Hub
from poolhouse.daemon.slices import Slices, batches
from poolhouse.export.csv import CsvTable
from poolhouse.fleet.snapshot import HostProgram

#: Seconds between two groups of rows, as in connmon.
INTERVAL = 1.0
#: Seconds that the daemon waits at its end for rows that are being written.
END_PATIENCE = 1.0


class CsvPart:
    """Writes rows until it is detached."""

    def __init__(self, dump: CsvDump | None, say: Callable[[int, str], object]) -> None:
        """Prepare.

        Args:
            dump: The file; ``None`` for none.
            say: Called with lines for the log.
        """
        self._say = say
        self._dump: CsvDump | None = None
        self._file: CsvFile | None = None
        #: Groups of rows that earlier files could not take.
        self._unwritten = 0
        self.set_dump(dump)

    def set_dump(self, dump: CsvDump | None) -> None:
        """Write to this file from now on; an unchanged one simply continues."""
        if dump == self._dump:
            return
        if self._file is not None:
            self._file.close(0)
            self._unwritten += self._file.dropped
        self._dump, self._file = dump, None
        if dump is not None:
            self._table = CsvTable(dump.columns, dump.token)
            self._file = CsvFile(dump.path, self._table.header, self._say, dump.rotate_bytes, dump.keep)

    def attach(self, hub: Hub) -> None:
        """Prepare to run."""
        self._hub = hub

    async def run(self) -> None:
        """Write until cancelled."""
        written = 0
        while True:
            await asyncio.sleep(INTERVAL)
            self._tell()
            if self._file is not None and (received := self._hub.fleet.received) != written:
                written = received
                await self._write(self._file, self._table)

    async def _write(self, file: CsvFile, table: CsvTable) -> None:
        """Make the rows of this instant in slices, and write them unless there is another file by then."""
        fleet, slices, now = self._hub.fleet, Slices(self._hub), self._hub.clock.monotonic()
        timestamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._hub.clock.wall_time()))
        for batch in batches(fleet.program_rows(now, by_host=True)):
            states = fleet.row_states(batch, now)
            table.note(
                (HostProgram(host, program, state.row_without_times()) for host, program, state in states), now
            )
            await slices.pause()
        made = []
        for lines in table.lines(timestamp, now):
            made.append(lines)
            await slices.pause()
        if file is self._file:
            file.append("".join(made))

    def detach(self) -> None:
        """Stop writing."""
        if self._file is not None:
            self._file.close(END_PATIENCE)
        self._tell()

    def _tell(self) -> None:
        self._hub.fleet.unwritten = self._unwritten + (0 if self._file is None else self._file.dropped)
