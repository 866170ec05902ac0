"""From the findings of a fleet's processes to the verdicts on it, about once a second.

A process's findings come with its signs, so only processes with findings are decoded. No process can know whether
its host is slower than others: for that, some processes of each program on each host are decoded, always the same
ones, because differences are taken.
"""

from collections.abc import Iterable, Mapping
from math import inf

from poolhouse.errors import PacketError
from poolhouse.fleet.diagnose import ProcessFindings, ServerUse, diagnose
from poolhouse.fleet.diagnosis import Diagnosis
from poolhouse.fleet.presence import LIVING
from poolhouse.fleet.process import Process
from poolhouse.fleet.process_state import NO_NAMES
from poolhouse.fleet.slow_hosts import HeldThere, SlowHosts
from poolhouse.fleet.snapshot import Event
from poolhouse.verdicts.causes import SERVER_FULL, SLOW_HOST
from poolhouse.verdicts.verdict import Verdict, main_first
from poolhouse.wire.signs_decode import Names, decode_signs, decode_sites, name_of

#: Seconds between two examinations, or this many for each process with findings, if more: each costs some 30 µs.
EXAMINE_SECONDS, SECONDS_A_PROCESS = 1.0, 1 / 2_000
#: The most processes of a program on one host that are compared with those on other hosts; and in all programs.
COMPARED_THERE, COMPARED = 4, 1_000
#: The most processes that are decoded in one examination.
MOST_DECODED = 2_000

#: The living processes of a program on a host.
Members = tuple[str, str, Iterable[Process]]


class Examiner:
    """The verdicts of one aggregator. No I/O, no clock."""

    def __init__(self) -> None:
        self._diagnosis = Diagnosis()
        self._slow_hosts = SlowHosts()
        #: Living processes with findings about themselves.
        self._found: dict[Process, None] = {}
        self._due = -inf

    def note(self, process: Process, has_findings: bool) -> None:
        """Note whether a process reports findings."""
        if has_findings:
            self._found[process] = None
        else:
            self._found.pop(process, None)

    def leave(self, process: Process) -> None:
        """Note that a process is gone: its findings no longer count."""
        self._found.pop(process, None)

    def keep_living(self) -> None:
        """Drop the findings of processes that are gone."""
        self._found = {process: None for process in self._found if process.state is LIVING}

    def is_due(self, now: float) -> bool:
        """Whether the next examination is due."""
        return now >= self._due

    def examine(
        self, counts: Mapping[str, int], places: Iterable[Members], now: float, wall_time: float
    ) -> tuple[Event, ...]:
        """Examine the fleet; return what began, changed and ended.

        Args:
            counts: How many living processes each program has.
            places: Each program on each host: program, host and processes.
            now: The aggregator's time, in seconds.
            wall_time: The time of day.
        """
        self._due = now + max(EXAMINE_SECONDS, len(self._found) * SECONDS_A_PROCESS)
        places = list(places)
        told = [_findings(process) for process, _ in zip(self._found, range(MOST_DECODED), strict=False)]
        is_full = any(finding.cause == SERVER_FULL.name for one in told for finding in one.findings)
        servers = _servers(places) if is_full else []
        verdicts = diagnose(told, counts, wall_time, servers, self._diagnosis.verdicts())
        self._compare_hosts(places, now, wall_time)
        verdicts = tuple(sorted((*verdicts, *self._slow_hosts.verdicts()), key=main_first))
        return self._diagnosis.take(verdicts, now, wall_time)

    def verdicts(self) -> tuple[Verdict, ...]:
        """The standing verdicts, the main one first."""
        return self._diagnosis.verdicts()

    def events(self, wall_time: float) -> tuple[Event, ...]:
        """The beginnings, changes and ends of the last day, the oldest first."""
        return self._diagnosis.events(wall_time)

    def _compare_hosts(self, places: list[Members], now: float, wall_time: float) -> None:
        hosts_of: dict[str, int] = {}
        for program, _, _ in places:
            hosts_of[program] = hosts_of.get(program, 0) + 1
        sums: dict[tuple[str, str, str], HeldThere] = {}
        processes: dict[tuple[str, str], int] = {}
        left = COMPARED
        for program, host, members in places:
            if hosts_of[program] < SLOW_HOST["hosts"]:
                continue
            members = list(members)
            processes[program, host] = len(members)
            some = [process for process in members if process.signs.payloads][: min(COMPARED_THERE, left)]
            left -= len(some)
            for process in some:
                _add_holds(sums, process, program, host)
        self._slow_hosts.take(sums, processes, now, wall_time)


def _names(process: Process) -> Names:
    holders = process.rows[1].holders
    return NO_NAMES if holders is None else holders.names


def _add_holds(sums: dict[tuple[str, str, str], HeldThere], process: Process, program: str, host: str) -> None:
    names = _names(process)
    try:
        sites = decode_sites(process.signs.payloads)
    except PacketError:
        return
    for site in sites:
        key = program, host, name_of(site.id, names)
        before = sums.get(key, HeldThere(0, 0.0))
        sums[key] = HeldThere(before.returned + site.returned, before.held_s + site.held_ns / 1e9)


def _findings(process: Process) -> ProcessFindings:
    """The process's findings, with the names and targets of the pools concerned; empty if malformed."""
    host, program = process.rows[0].key
    names = _names(process)
    try:
        raw = decode_signs(process.signs.payloads)
    except PacketError:
        return ProcessFindings(host, program, process.token)
    found = raw.process_findings(names)
    pools: dict[int, tuple[str, str]] = {}
    for key in {finding.pool for finding in found}:
        pool = process.pools.get(key)
        numbers = raw.pools.get(key)
        pools[key] = "" if pool is None else pool.name, "" if numbers is None else name_of(numbers[1], names)
    return ProcessFindings(host, program, process.token, found, pools)


def _servers(places: list[Members]) -> list[ServerUse]:
    """What each program has open at each database, and may open there."""
    used: dict[tuple[str, str], tuple[int, int | None]] = {}
    for program, _, members in places:
        for process in members:
            names = _names(process)
            try:
                raw = decode_signs(process.signs.payloads)
            except PacketError:
                continue
            for key, numbers in raw.pools.items():
                pool = process.pools.get(key)
                reading = None if pool is None else pool.reading
                if reading is not None and numbers[1]:
                    place = name_of(numbers[1], names), program
                    before, most = used.get(place, (0, 0))
                    limit = reading.limits.max_open
                    may_open = None if most is None or limit is None else most + limit
                    used[place] = before + reading.gauges.connections, may_open
    return [ServerUse(target, program, count, most) for (target, program), (count, most) in used.items()]
