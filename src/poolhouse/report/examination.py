"""The findings of a process about its pools: logged, reported, and added to the errors of its callers.

Each stream examines the pools that it reports, whenever it reports them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from poolhouse.meter.reading import REST, PoolReading
from poolhouse.meter.signs import Finding, ProcessSigns
from poolhouse.report.log import log
from poolhouse.report.source import Source
from poolhouse.safely import ERROR, INFO, WARNING, Log
from poolhouse.verdicts.causes import BY_NAME
from poolhouse.verdicts.moment import Moment
from poolhouse.verdicts.standing import Change, Examiner
from poolhouse.verdicts.verdict import Verdict, named, parse_line
from poolhouse.verdicts.words import finding_sentence, seconds

_logger = Log("poolhouse.verdicts")


@runtime_checkable
class Judged(Protocol):
    """A source that takes verdicts on its pool. Sources need not implement this."""

    def judged(self, verdicts: tuple[Verdict, ...]) -> None:
        """Store the standing verdicts, the main one first. Called from the reporter's thread at each report."""
        ...


class Examination:
    """The examination of one stream's pools; not for two threads at once. Raises no `Exception`.

    Args:
        program: The program's name in reports.
        host: The host's name in reports.
    """

    def __init__(self, program: str, host: str) -> None:
        self._program = program
        self._host = host
        self._examiner = Examiner()
        self._has_failed = False
        #: The sources that hold a verdict.
        self._told: set[Source] = set()

    def examine(
        self,
        now: float,
        wall_time: float,
        pools: Sequence[PoolReading],
        process: ProcessSigns | None,
        sources: Mapping[int, Source],
        looks_due: float = 0.0,
    ) -> tuple[Finding, ...]:
        """The findings that stand after this report, the main one first.

        Args:
            now: Monotonic seconds.
            wall_time: Seconds since the epoch.
            pools: The readings of the report.
            process: The process's signs beyond its pools; ``None`` if it takes no looks.
            sources: The living pools, by the keys of their readings.
            looks_due: How many looks a pool would have had by now if one of its connections had always been out.
        """
        try:
            changes = self._examiner.take(Moment(now, tuple(pools), process or ProcessSigns(), looks_due))
            findings = self._examiner.findings
            by_key = {pool.key: pool for pool in pools}
            for change in changes:
                _log(change, by_key)
            self._tell(findings, wall_time, by_key, sources)
            return findings
        except Exception as error:
            if not self._has_failed:
                log(ERROR, "poolhouse cannot examine its pools", error=error, logger=_logger)
            self._has_failed = True
            return ()

    def _tell(
        self,
        findings: Iterable[Finding],
        wall_time: float,
        pools: Mapping[int, PoolReading],
        sources: Mapping[int, Source],
    ) -> None:
        """Give each source the standing verdicts on its pool."""
        alarms = [finding for finding in findings if BY_NAME[finding.cause].severity == "alarm"]
        told: set[Source] = set()
        for key, source in sources.items():
            mine = [finding for finding in alarms if finding.pool in (key, REST)]
            if (mine or source in self._told) and isinstance(source, Judged):
                source.judged(tuple(self._verdict(finding, wall_time, pools.get(key)) for finding in mine))
                if mine:
                    told.add(source)
        self._told = told

    def _verdict(self, finding: Finding, wall_time: float, pool: PoolReading | None) -> Verdict:
        return Verdict(
            finding.cause,
            wall_time - finding.age_s,
            self._program,
            (self._host,),
            pool="" if pool is None else pool.name,
            target="" if pool is None or pool.signs is None else pool.signs.target,
            culprit=parse_line(finding.site, finding.line),
            evidence=named(finding.cause, finding.numbers),
        )


def _log(change: Change, pools: Mapping[int, PoolReading]) -> None:
    """Log one line when a verdict begins, and one when it ends."""
    now, before = change
    if before is not None:
        log(
            _level(before),
            "poolhouse finds that the trouble with %s has ended after %s: %s",
            _name(before, pools),
            seconds(before.age_s),
            before.cause,
            logger=_logger,
        )
    if now is not None:
        pool = pools.get(now.pool)
        target = "" if pool is None or pool.signs is None else pool.signs.target
        log(
            _level(now),
            "poolhouse finds trouble with %s: %s (poolhouse explain %s)",
            _name(now, pools),
            finding_sentence(now, target),
            now.cause,
            logger=_logger,
        )


def _level(finding: Finding) -> int:
    """The log level of a finding: a notice does no harm yet."""
    return WARNING if BY_NAME[finding.cause].severity == "alarm" else INFO


def _name(finding: Finding, pools: Mapping[int, PoolReading]) -> str:
    pool = pools.get(finding.pool)
    return "this process" if pool is None else f"{pool.kind} {pool.name!r}"
