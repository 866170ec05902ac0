"""From the findings of a fleet's processes to the verdicts on it, about once a second.

A process's findings come with its signs, so only processes with findings are decoded. No process can know whether
its host is slower than others: for that, some processes of each program on each host are decoded, always the same
ones, because differences are taken.

An examination of a large fleet takes long, so it is made in steps, between which reports are received.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from math import inf

from poolhouse.errors import PacketError
from poolhouse.fleet.diagnose import ProcessFindings, ServerUse, diagnose
from poolhouse.fleet.diagnosis import Diagnosis
from poolhouse.fleet.presence import LIVING
from poolhouse.fleet.process import Process
from poolhouse.fleet.process_state import NO_NAMES
from poolhouse.fleet.slow_hosts import HeldThere, SlowHosts
from poolhouse.fleet.snapshot import Event
from poolhouse.fleet.vectors import open_and_most
from poolhouse.verdicts.causes import SERVER_FULL, SLOW_HOST
from poolhouse.verdicts.verdict import Verdict, main_first
from poolhouse.wire.signs import MOST_FINDINGS
from poolhouse.wire.signs_decode import Names, decode_signs, decode_sites, decode_targets, name_of

#: Seconds between two examinations, or this many for each process with findings, if more: each costs some 30 µs.
EXAMINE_SECONDS, SECONDS_A_PROCESS = 1.0, 1 / 2_000
#: While a server is full: for each living process, seconds until it is counted again what each program has open
#: there. That costs some 10 µs for each.
COUNT_SECONDS_A_PROCESS = 1 / 5_000
#: The most processes of a program on one host that are compared with those on other hosts; and in all programs.
COMPARED_THERE, COMPARED = 4, 1_000
#: The most processes that are decoded in one examination, and in one of its steps.
MOST_DECODED, DECODED_AT_ONCE = 2_000, 32
#: In how many places hosts are compared in one step.
PLACES_AT_ONCE = DECODED_AT_ONCE // COMPARED_THERE

#: The living processes of a program on a host.
Members = tuple[str, str, Iterable[Process]]
#: How many living processes each program has; and all of them, by place.
Population = tuple[Mapping[str, int], list[Members]]


class Examiner:
    """The verdicts of one aggregator. No I/O, no clock."""

    def __init__(self) -> None:
        self._diagnosis = Diagnosis()
        self._slow_hosts = SlowHosts()
        #: Living processes with findings about themselves.
        self._found: dict[Process, None] = {}
        self._due = -inf
        #: The rest of the examination that is under way.
        self._steps: Iterator[tuple[Event, ...] | None] | None = None
        #: What programs had open at servers when it was last counted, and when it is counted again.
        self._servers: list[ServerUse] = []
        self._count_due = -inf

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
        """Whether an examination is due, or under way."""
        return self._steps is not None or now >= self._due

    def step(self, population: Callable[[], Population], now: float, wall_time: float) -> tuple[Event, ...] | None:
        """Begin an examination, or go on with the one that is under way, for some two milliseconds.

        Processes may come and go between two steps.

        Args:
            population: Returns the fleet's living processes; called when an examination begins.
            now: The aggregator's time, in seconds.
            wall_time: The time of day.

        Returns:
            What began, changed and ended; ``None`` if the examination is not over yet.
        """
        if self._steps is None:
            self._due = now + max(EXAMINE_SECONDS, len(self._found) * SECONDS_A_PROCESS)
            self._steps = self._examine(*population(), now, wall_time)
        try:
            # The last step may have been made without memory to note that.
            events = next(self._steps, ())
        except BaseException:
            self._steps = None
            raise
        if events is not None:
            self._steps = None
        return events

    def verdicts(self) -> tuple[Verdict, ...]:
        """The standing verdicts, the main one first."""
        return self._diagnosis.verdicts()

    def events(self, wall_time: float) -> tuple[Event, ...]:
        """The beginnings, changes and ends of the last day, the oldest first."""
        return self._diagnosis.events(wall_time)

    def _examine(
        self, counts: Mapping[str, int], places: list[Members], now: float, wall_time: float
    ) -> Iterator[tuple[Event, ...] | None]:
        """``None`` after each step; what began, changed and ended after the last."""
        told: dict[Process, ProcessFindings] = {}
        for process in list(islice(self._found, MOST_DECODED)):
            if process.state is LIVING:
                told[process] = _findings(process)
                if len(told) % DECODED_AT_ONCE == 0:
                    yield None
        yield None
        if any(finding.cause == SERVER_FULL.name for one in told.values() for finding in one.findings):
            if now >= self._count_due:
                yield from self._count(places, now)
        else:
            self._servers, self._count_due = [], -inf
        sums: dict[tuple[str, str, str], HeldThere] = {}
        numbers: dict[tuple[str, str], int] = {}
        yield from _compare_hosts(places, sums, numbers)
        yield None
        self._slow_hosts.take(sums, numbers, now, wall_time)
        yield None
        present = [found for process, found in told.items() if process.state is LIVING]
        verdicts = yield from diagnose(present, counts, wall_time, self._servers, self._diagnosis.verdicts())
        verdicts = tuple(sorted((*verdicts, *self._slow_hosts.verdicts()), key=main_first))
        yield self._diagnosis.take(verdicts, now, wall_time)

    def _count(self, places: list[Members], now: float) -> Iterator[None]:
        """Count what each program has open at each database, and may open there."""
        used: dict[tuple[str, str], tuple[int, int | None]] = {}
        number = 0
        for program, _, members in places:
            for process in list(members):
                if process.state is LIVING:
                    _add_use(used, process, program)
                    number += 1
                    if number % DECODED_AT_ONCE == 0:
                        yield None
        yield None
        self._servers = [ServerUse(*place, *counted) for place, counted in used.items()]
        self._count_due = now + number * COUNT_SECONDS_A_PROCESS


def _compare_hosts(
    places: list[Members], sums: dict[tuple[str, str, str], HeldThere], numbers: dict[tuple[str, str], int]
) -> Iterator[None]:
    """Add up what some processes of each program hold on each host, and how many it has there."""
    hosts_of: dict[str, int] = {}
    for program, _, _ in places:
        hosts_of[program] = hosts_of.get(program, 0) + 1
    compared = 0
    for place, (program, host, members) in enumerate(places, 1):
        if hosts_of[program] >= SLOW_HOST["hosts"]:
            there = list(members)
            numbers[program, host] = len(there)
            some = [process for process in there if process.signs.payloads]
            for process in some[: min(COMPARED_THERE, COMPARED - compared)]:
                _add_holds(sums, process, program, host)
                compared += 1
        if place % PLACES_AT_ONCE == 0:
            yield None


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
    found = raw.process_findings(names)[:MOST_FINDINGS]
    pools: dict[int, tuple[str, str]] = {}
    for key in {finding.pool for finding in found}:
        pool = process.pools.get(key)
        numbers = raw.pools.get(key)
        pools[key] = "" if pool is None else pool.name, "" if numbers is None else name_of(numbers[1], names)
    return ProcessFindings(host, program, process.token, found, pools)


def _add_use(used: dict[tuple[str, str], tuple[int, int | None]], process: Process, program: str) -> None:
    names = _names(process)
    try:
        targets = decode_targets(process.signs.payloads)
    except PacketError:
        return
    for key, target in targets.items():
        pool = process.pools.get(key)
        if target and pool is not None and pool.gauges:
            place = name_of(target, names), program
            before, most = used.get(place, (0, 0))
            is_open, limit = open_and_most(pool.gauges)
            used[place] = before + is_open, None if most is None or limit is None else most + limit
