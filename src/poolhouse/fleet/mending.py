"""Repairs a fleet after memory ran out in the middle of a change.

The interrupted change is undone (`poolhouse.fleet.undo`): its datagram then counts as lost, and the next report
says the same and more. Everything derived from the processes is computed again (`poolhouse.fleet.standing`), at
about 10 µs per process. Both may be repeated if memory runs out in the middle of them.
"""

from poolhouse.defaults import GONE_INTERVALS
from poolhouse.fleet.deadlines import Deadlines
from poolhouse.fleet.members import Members
from poolhouse.fleet.presence import LIVING, SILENT
from poolhouse.fleet.process import Process
from poolhouse.fleet.shares import BySource
from poolhouse.fleet.standing import Standing, standing_of
from poolhouse.fleet.undo import restore, restore_kept


def undo(members: Members) -> None:
    """Restore what the interrupted change has altered, unless it can be derived."""
    if members._admitted is not None:
        members._processes.pop(members._admitted, None)
    restore_kept(reversed(members._kept))
    if members._checkpoint is not None:
        members._expected, members._lost, checkpoint = members._checkpoint
        restore(checkpoint)


def make_anew(members: Members, now: float) -> None:
    """Compute everything again that follows from the processes and rows."""
    processes = list(members._processes.values())
    for process in processes:
        if process.state is not LIVING:
            process.leave(process.state)
        process.weigh()
    found = standing_of(processes)
    _restore_rows(members, found, now)
    _restore_order(members, processes, now)
    members._living, members._hosts_of, members._bytes_of = found.places, found.hosts_of, found.bytes_of
    members._examiner.keep_living()
    rows = [members._sums, *(row for table in members._tables for row in table.rows())]
    sizes = sum(found.bytes_of.values()) + sum(row.size for row in rows)
    members._budget.used = members.timelines.size + sizes


def _restore_rows(members: Members, found: Standing, now: float) -> None:
    for table, kind in zip(members._tables, ((True, True), (False, True), (True, False)), strict=True):
        proven = {row: count for row, count in found.proven.items() if tuple(map(bool, row.key)) == kind}
        table.restore(proven, now)
        for row in table.rows():
            row.restore(found.gauges.get(row, 0))
    members._sums.restore(found.gauges.get(members._sums, 0))
    for living in found.places.values():
        for one_program, _ in living.programs.values():
            for process in one_program:
                process.learn_anew()


def _restore_order(members: Members, processes: list[Process], now: float) -> None:
    """Restore which processes are living or gone, since when, and when to check each."""
    present, unproven, gone, gone_once = (BySource[Process]() for _ in range(4))
    deadlines: Deadlines[Process] = Deadlines()
    for process in sorted(processes, key=_heard_at):
        at = process.deadline
        if process.state is LIVING:
            at = process.heard_at + GONE_INTERVALS * process.interval
            if not process.is_proven:
                unproven.add(process, process.heard_at)
        else:
            (gone if process.is_proven else gone_once).add(process)
        if at is None:
            limits = members._limits
            at = now + (limits.memory if process.state is SILENT else limits.ended_memory)
        deadlines.set(process, at)
    for process in processes:
        if process.state is LIVING:
            present.add(process)
    members._present, members._unproven = present, unproven
    members._gone, members._gone_once = gone, gone_once
    members._deadlines = deadlines


def _heard_at(process: Process) -> float:
    return process.heard_at
