"""From the findings of each process to the verdicts on the fleet."""

from collections import Counter
from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from poolhouse.meter.signs import Finding
from poolhouse.verdicts.causes import OTHER_REASON
from poolhouse.verdicts.verdict import Verdict, main_first, named, parse_line

#: The most verdicts at a time, and the most hosts that one names.
MOST_VERDICTS, MOST_HOSTS = 50, 20

#: In one step, the findings of so many processes are sorted into groups, or so many findings are joined, where
#: each group counts as so many more; or so many verdicts are compared.
SORTED_AT_ONCE, JOINED_AT_ONCE, A_GROUP, COMPARED_AT_ONCE = 256, 1_024, 16, 512

#: Different answers to one question: why is this pool used up?
_WHY_USED_UP = ("row_lock", "slow_statement", "held_idle", "pool_too_small")


class ProcessFindings(NamedTuple):
    """What one living process reports about itself."""

    host: str
    program: str
    token: str
    findings: tuple[Finding, ...] = ()
    #: The name and the target of each pool in the findings, by the pool's key.
    pools: Mapping[int, tuple[str, str]] = {}


class ServerUse(NamedTuple):
    """One program's use of one database server."""

    #: ``host:port/name`` as reported by its pools.
    target: str
    program: str
    open: int
    #: How many connections it may open in all; ``None`` if one of its pools has no limit.
    may_open: int | None


class _Group:
    """Equal findings of several processes of one program."""

    def __init__(self) -> None:
        self.hosts: dict[str, None] = {}
        self.tokens: set[tuple[str, str]] = set()
        self.findings: list[Finding] = []


def diagnose(
    told: Iterable[ProcessFindings],
    processes: Mapping[str, int],
    wall_time: float,
    servers: Sequence[ServerUse] = (),
    standing: Iterable[Verdict] = (),
) -> Generator[None, None, tuple[Verdict, ...]]:
    """Find the verdicts in steps of about a millisecond; the findings of a few processes need only one.

    Args:
        told: Every living process with findings; others may be left out.
        processes: How many living processes each program has.
        wall_time: The time of day, in seconds since the epoch.
        servers: Each program's use of each server; needed only for `server_full`.
        standing: The standing verdicts: the reason why a pool is used up does not change for a few more processes.

    Returns:
        The verdicts, the main one first; at most `MOST_VERDICTS`.
    """
    groups: dict[tuple[str, str, str, str, str], _Group] = {}
    for number, process in enumerate(told, 1):
        for finding in process.findings:
            pool, target = process.pools.get(finding.pool, ("", ""))
            group = groups.setdefault((process.program, finding.cause, pool, target, finding.site), _Group())
            group.hosts[process.host] = None
            group.tokens.add((process.host, process.token))
            group.findings.append(finding)
        if number % SORTED_AT_ONCE == 0:
            yield
    found: list[Verdict] = []
    joined = 0
    while groups:  # Each is freed in its step: to free thousands at once takes long, too.
        key, group = groups.popitem()
        found.append(_joined(key, group, processes, wall_time, servers))
        joined += A_GROUP + len(group.findings)
        if joined >= JOINED_AT_ONCE:
            joined = 0
            yield
    found.sort(key=main_first)
    kept = yield from _without_contradictions(found, {verdict.subject for verdict in standing})
    return tuple(islice(kept, MOST_VERDICTS))


def _joined(
    key: tuple[str, str, str, str, str],
    group: _Group,
    processes: Mapping[str, int],
    wall_time: float,
    servers: Sequence[ServerUse],
) -> Verdict:
    program, cause, pool, target, site = key
    worst = max(group.findings, key=lambda finding: (finding.numbers, finding.line))
    numbers = dict(named(cause, worst.numbers))
    lines = Counter(finding.line for finding in group.findings if finding.line)
    shares: tuple[tuple[str, int, int | None], ...] = ()
    if cause == "server_full":
        shares = _shares(target, servers)
        if shares:
            numbers["open"] = sum(used for _, used, _ in shares)
            limits = [most for _, _, most in shares if most is not None]
            numbers["may_open"] = sum(limits) if len(limits) == len(shares) else 0
    return Verdict(
        cause,
        wall_time - max(finding.age_s for finding in group.findings),
        program,
        tuple(sorted(group.hosts)[:MOST_HOSTS]),
        (len(group.tokens), max(len(group.tokens), processes.get(program, 0))),
        pool,
        target,
        parse_line(site, max(lines, key=lambda line: (lines[line], line), default="")),
        tuple(numbers.items()),
        shares,
    )


def _shares(target: str, servers: Sequence[ServerUse]) -> tuple[tuple[str, int, int | None], ...]:
    """The programs that use the server of a target, whichever of its databases, the largest first."""
    server = server_of(target)
    open_by: dict[str, int] = {}
    limits: dict[str, int | None] = {}
    for use in servers:
        if server and server_of(use.target) == server:
            open_by[use.program] = open_by.get(use.program, 0) + use.open
            limit = limits.get(use.program, 0)
            limits[use.program] = None if limit is None or use.may_open is None else limit + use.may_open
    return tuple((program, used, limits[program]) for program, used in sorted(open_by.items(), key=_largest_first))


def _largest_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def server_of(target: str) -> str:
    """The server of a target, without the database's name; empty if the target is not known.

    >>> server_of("db.example:5432/shop"), server_of("")
    ('db.example:5432', '')
    """
    return target.partition("/")[0]


def _without_contradictions(
    verdicts: list[Verdict], standing: Container[tuple[str, ...]]
) -> Generator[None, None, Iterator[Verdict]]:
    """Of different answers to one question about one program's pool, keep that of the most processes.

    A standing one stays until more than `OTHER_REASON` times as many processes have another one.

    While a database does not answer, no other reason is given for its used-up pools. While it refuses the connects
    of a pool, no other reason is given for that pool. Pools that neither a role's limit nor the whole server's
    affects have their connections, and reasons of their own.
    """
    down = {verdict.target for verdict in verdicts if verdict.cause == "database_down" and verdict.target}
    refused = {verdict.pool_key for verdict in verdicts if verdict.cause == "server_full"}

    def weight(verdict: Verdict) -> tuple[float, bool]:
        stands = verdict.subject in standing
        return verdict.processes[0] * (OTHER_REASON if stands else 1.0), stands

    best: dict[tuple[str, str, str], Verdict] = {}
    for number, verdict in enumerate(verdicts, 1):
        key = verdict.pool_key
        if verdict.cause in _WHY_USED_UP and verdict.target not in down and key not in refused:
            best[key] = max(best.get(key, verdict), verdict, key=weight)
        if number % COMPARED_AT_ONCE == 0:
            yield
    return (
        verdict
        for verdict in verdicts
        if verdict.cause not in _WHY_USED_UP or best.get(verdict.pool_key) is verdict
    )
