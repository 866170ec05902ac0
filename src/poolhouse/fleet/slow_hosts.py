"""Whether one host of a program holds its connections for much longer than the others do, line by line.

No process can know that, so it is found where all of them report.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from poolhouse.verdicts.causes import SLOW_HOST, STANDS_S, WINDOW_S
from poolhouse.verdicts.moment import NEARLY
from poolhouse.verdicts.verdict import Verdict, parse_line

#: Sums are kept for twice the window, a second apart.
_APART_S = 1.0


class HeldThere(NamedTuple):
    """What all processes of a program on one host report about one line, in total."""

    returned: int
    #: Connection-seconds, open holds included.
    held_s: float


class _Standing(NamedTuple):
    verdict: Verdict
    #: The aggregator's time when it was first true, and last.
    began_at: float
    seen_at: float


#: By program, host and site.
Holds = Mapping[tuple[str, str, str], HeldThere]


class _Odd(NamedTuple):
    """A line that one host holds for longer."""

    site: str
    hold_s: float
    others_s: float
    hosts: int


class SlowHosts:
    """Watches the sums of a fleet. No I/O, no clock."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[tuple[str, str, str], HeldThere]]] = deque()
        #: The standing verdicts, by program and host.
        self._standing: dict[tuple[str, str], _Standing] = {}

    def take(self, holds: Holds, processes: Mapping[tuple[str, str], int], now: float, wall_time: float) -> None:
        """Take the present sums.

        Args:
            holds: The sums; those of programs on fewer than three hosts may be left out.
            processes: How many processes each program has on each host.
            now: The aggregator's time, in seconds.
            wall_time: The time of day.
        """
        samples = self._samples
        if len(samples) > 1 and samples[-1][0] - samples[-2][0] < _APART_S:
            samples.pop()
        samples.append((now, dict(holds)))
        while len(samples) > 2 and now - samples[1][0] >= NEARLY * WINDOW_S:
            samples.popleft()
        before_at, before = samples[0]
        if now - before_at >= NEARLY * WINDOW_S:
            for (program, host), odd in _odd_hosts(before, holds).items():
                verdict = _verdict(program, host, odd, processes, wall_time)
                known = self._standing.get((program, host))
                if known is not None:
                    verdict = verdict._replace(culprit=known.verdict.culprit)
                self._standing[program, host] = _Standing(verdict, known.began_at if known else now, now)
        for key, known in list(self._standing.items()):
            if now - known.seen_at >= STANDS_S:
                del self._standing[key]
            else:
                # By the present time of day, which may have been set.
                verdict = known.verdict._replace(since=wall_time - (now - known.began_at))
                self._standing[key] = known._replace(verdict=verdict)

    def verdicts(self) -> tuple[Verdict, ...]:
        """The standing verdicts."""
        return tuple(standing.verdict for standing in self._standing.values())


def _odd_hosts(before: Holds, now: Holds) -> dict[tuple[str, str], list[_Odd]]:
    """The hosts on which most of a program's comparable lines hold for longer, and these lines."""
    holds: dict[tuple[str, str], dict[str, float]] = {}
    for (program, host, site), newer in now.items():
        older = before.get((program, host, site), HeldThere(0, 0.0))
        returned, held = newer.returned - older.returned, newer.held_s - older.held_s
        # A sum that fell belongs to a process that has left.
        if returned >= SLOW_HOST["returned"] and held >= 0 and newer.returned >= returned:
            holds.setdefault((program, site), {})[host] = held / returned
    comparable: dict[tuple[str, str], int] = {}
    odd: dict[tuple[str, str], list[_Odd]] = {}
    for (program, site), by_host in holds.items():
        if len(by_host) < SLOW_HOST["hosts"]:
            continue
        for host in by_host:
            comparable[program, host] = comparable.get((program, host), 0) + 1
        slowest = max(by_host, key=lambda host: by_host[host])
        others = [hold for host, hold in by_host.items() if host != slowest]
        if _is_odd(by_host[slowest], others):
            found = _Odd(site, by_host[slowest], _median(others), len(by_host))
            odd.setdefault((program, slowest), []).append(found)
    return {key: lines for key, lines in odd.items() if 2 * len(lines) > comparable[key]}


def _median(values: list[float]) -> float:
    """As `statistics.median`, whose module takes longer to import than all the modules of verdicts."""
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _is_odd(hold: float, others: Iterable[float]) -> bool:
    others = list(others)
    middle, spread = _median(others), max(others) - min(others)
    return (
        hold >= SLOW_HOST["hold"]
        and hold >= SLOW_HOST["times"] * middle
        and hold >= middle + SLOW_HOST["spread"] * spread
    )


def _verdict(
    program: str, host: str, odd: list[_Odd], processes: Mapping[tuple[str, str], int], wall_time: float
) -> Verdict:
    worst = max(odd, key=lambda line: line.hold_s / line.others_s if line.others_s else line.hold_s)
    here = processes.get((program, host), 1)
    of = sum(count for (other, _), count in processes.items() if other == program)
    times = worst.hold_s / worst.others_s if worst.others_s else 0.0
    return Verdict(
        "slow_host",
        wall_time,
        program,
        (host,),
        (here, max(here, of)),
        culprit=parse_line(worst.site),
        evidence=(
            ("hold_s", worst.hold_s),
            ("others_s", worst.others_s),
            ("times", times),
            ("hosts", float(worst.hosts)),
        ),
    )
