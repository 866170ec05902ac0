"""Everything derived from the processes of a fleet: their rows, and the places of living processes.

`Members` maintains the same incrementally, at a cost that does not depend on the number of processes. This is one
pure function over all of them, which rebuilds the fleet after memory ran out in the middle of a change.
"""

from collections.abc import Iterable

from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.presence import LIVING
from poolhouse.fleet.process import Process, Rows
from poolhouse.fleet.vectors import ONE_PROCESS


class Place:
    """The living processes of a host, and their programs.

    Attributes:
        tokens: How many programs each process reports under, by token.
        programs: The processes of each program, and the rows that they add to.
    """

    __slots__ = ("programs", "tokens")

    def __init__(self) -> None:
        self.tokens: dict[str, int] = {}
        self.programs: dict[str, tuple[dict[Process, None], Rows]] = {}


class Standing:
    """The derived state.

    Attributes:
        places: The places with living processes, by host.
        hosts_of: The hosts with some of a program, by program.
        gauges: For each row with living processes, the vector of their gauges.
        proven: How many of them were heard twice.
        bytes_of: The bytes of all processes, by the sender of their first report.
    """

    __slots__ = ("bytes_of", "gauges", "hosts_of", "places", "proven")

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.hosts_of: dict[str, dict[str, None]] = {}
        self.gauges: dict[Aggregate, int] = {}
        self.proven: dict[Aggregate, int] = {}
        self.bytes_of: dict[str, int] = {}


def standing_of(processes: Iterable[Process]) -> Standing:
    """Derive the state from these processes alone."""
    found = Standing()
    for process in processes:
        found.bytes_of[process.source] = found.bytes_of.get(process.source, 0) + process.size
        if process.state is LIVING:
            _add(found, process)
    return found


def _add(found: Standing, process: Process) -> None:
    host, program = process.rows[0].key
    place = found.places.setdefault(host, Place())
    place.programs.setdefault(program, ({}, process.rows))[0][process] = None
    found.hosts_of.setdefault(program, {})[host] = None
    programs = place.tokens.get(process.token, 0)
    place.tokens[process.token] = programs + 1
    gauges = process.gauges
    for number, row in enumerate(process.rows):
        # A process under two programs is one process of its host and of the fleet.
        one = ONE_PROCESS if number < 2 or not programs else 0
        found.gauges[row] = found.gauges.get(row, 0) + gauges + one
        found.proven[row] = found.proven.get(row, 0) + process.is_proven
