"""What a fleet does with a datagram once it is decoded: whose it is, what it changes, and who is told.

Each datagram changes one process and one of its pools. What it may change is kept first (`poolhouse.fleet.undo`),
so that it can be undone if memory runs out in the middle.
"""

from enum import Enum, auto

from poolhouse.errors import SealError
from poolhouse.fleet.holders import Back
from poolhouse.fleet.members import Members
from poolhouse.fleet.presence import ENDED, LIVING, SILENT
from poolhouse.fleet.process import NOT_COMPLETE, Process
from poolhouse.fleet.sequence import Sequence
from poolhouse.fleet.undo import checkpoint, kept
from poolhouse.wire.message import LegacyDatagram, ReportDatagram
from poolhouse.wire.seal import Payload, Reason
from poolhouse.wire.signs_decode import scanned

#: An earlier client does not send its age: its first values count if they arrive this many seconds after
#: the aggregator's start, because by then every older process of its kind has reported.
EARLIER_GRACE = 10.0


class Way(Enum):
    """How a datagram arrived."""

    #: By UDP, which loses some: numbers that are missing are losses.
    UDP = auto()
    #: By TCP: numbers that are missing were never sent here.
    TCP = auto()
    #: By TCP from another node, which received it from the process.
    RELAYED = auto()


_UDP, _RELAYED = Way.UDP, Way.RELAYED


class Intake(Members):
    """Takes reports, and an earlier client's sums."""

    def _commit(self) -> None:
        """What a datagram has changed is not to be undone any more."""
        self._checkpoint = self._admitted = None
        if self._kept:
            self._kept.clear()

    def _take_report(
        self,
        message: ReportDatagram,
        datagram: bytes,
        now: float,
        way: Way,
        sealed: Payload | None,
        source: str,
    ) -> None:
        key = message.host, message.program, message.token
        process = self._processes.get(key)
        pool_key = message.pool.key if message.pool is not None else None
        seals = self.seals if sealed is not None else None
        if seals is not None and sealed is not None:
            if process is None:
                seals.check_unknown(sealed, message, now, self._wall_time)
            else:
                seals.check_known(sealed, message, process)
        if process is None:
            born = now - message.uptime
            is_old_enough = self._forgotten.is_old_enough(born)  # Before another process is forgotten for it.
            process = self._admit(key, message.interval, born < self._since, now, source)
            process.born = born
            # After it was admitted, since this costs more, and most processes of a flood are not.
            if is_old_enough and self._forgotten.may_hold(key, born):
                process.base_until = NOT_COMPLETE
                process.keeps_base = True
                process.back = Back()
            if process.base_until == NOT_COMPLETE and self.note_change is not None:
                self.note_change(process)
        self._checkpoint = self._expected, self._lost, checkpoint(process, pool_key)
        if not self._note_sequence(process, message, way is _UDP):
            self._commit()
            if seals is not None and self.relay is None:  # Other nodes may have been faster.
                raise seals.refusal(Reason.REPLAYED)
            return
        if seals is not None and sealed is not None:
            seals.note(sealed, process, message.wall_time, now)
        if process.state is SILENT and process.is_newer(message):
            process.returned_with = message.number
            self._return(process, now)
        may_grow = not self._budget.is_full or self._free_bytes(process.source, now, process)
        size = process.size
        try:
            refused = process.report(message, datagram, self._limits, may_grow, now, self._tell)
            if message.signs:
                refused = self._take_signs(process, message, may_grow)
        finally:
            self._weigh(process, size)
        if process.is_proven and process in self._unproven:
            self._prove(process)
        elif process.state is not LIVING:
            self._prove_late(process)
        if message.goodbye and process.state is LIVING and message.number >= process.number:
            self._leave(process, ENDED, now)
        self._commit()
        if refused is not None:
            raise self._over_limit(refused)
        if self.relay is not None and way is not _RELAYED:
            self.relay(process, message.number, datagram)

    def _take_signs(self, process: Process, message: ReportDatagram, may_grow: bool) -> str | None:
        """Keep what the datagram tells of sites and names; return the bound that was reached, if one was."""
        names, has_findings = scanned(message.signs)
        program = process.rows[1]
        if program.holders is None and not may_grow:
            return "bytes"
        before = process.signs
        refused = process.take_signs(message.signs, message.number, may_grow)
        if process.signs is before:
            return refused
        if names or program.holders is None:
            holders = program.obtain_holders()
            known = len(holders.names)
            if holders.learn(names):
                self._count_over("names")
            if len(holders.names) != known or not known:
                program.weigh()
        if process.back is not None:
            holders = program.obtain_holders()
            self._kept += kept(holders, "past"), kept(process.back, "sites", "parts"), kept(process, "back")
            holders.take_back(process.signs, process.back)
            if not process.back.parts:
                process.back = None
        if has_findings is not None and process.state is LIVING:
            self._examiner.note(process, has_findings)
        if process.state is not LIVING:  # What it told when it left is in the past already.
            holders = program.obtain_holders()
            self._kept.append(kept(holders, "past"))
            holders.bring_back(before)
            if holders.retire(process.signs):
                self._count_over("sites")
            program.weigh()
        return refused

    def _take_lists(
        self,
        lists: list[LegacyDatagram],
        datagram: bytes,
        now: float,
        way: Way,
        sealed: Payload | None,
        source: str,
    ) -> None:
        """Take lists of several processes, as a collectd passes them on: one that is refused costs no other."""
        refusal: SealError | None = None
        for told in lists:
            try:
                self._take_legacy(told, datagram, now, way, sealed, source)
            except SealError as error:
                refusal = error
        if refusal is not None:
            raise refusal

    def _take_legacy(
        self,
        message: LegacyDatagram,
        datagram: bytes,
        now: float,
        way: Way,
        sealed: Payload | None,
        source: str,
    ) -> None:
        key = message.host, message.program, message.token
        process = self._processes.get(key)
        seals = self.seals if sealed is not None else None
        if seals is not None and sealed is not None:
            if process is None:
                seals.check_unknown(sealed, message, now, self._wall_time)
            else:
                seals.check_earlier(sealed, message, process, now)
        if process is None:
            is_base = now < self._started + EARLIER_GRACE
            process = self._admit(key, message.interval, is_base, now, source)
            if is_base and self.note_change is not None:
                self.note_change(process)
        if process.state is SILENT:
            self._return(process, now)
        if seals is not None and sealed is not None:
            seals.note(sealed, process, message.wall_time, now)
        self._checkpoint = self._expected, self._lost, checkpoint(process, None)
        process.earlier(message, now, self._tell, is_relayed=way is Way.RELAYED)
        if process.is_proven and process in self._unproven:
            self._prove(process)
        self._commit()
        if self.relay is not None and way is not _RELAYED:
            self.relay(process, int(message.wall_time), datagram)

    def _note_sequence(self, process: Process, message: ReportDatagram, is_lossy: bool) -> bool:
        """Count lost datagrams; False if this one is a repetition."""
        sequence = process.sequence
        if sequence is None:
            # The other datagrams of the first report are expected too.
            sequence = process.sequence = Sequence(message.sequence - message.place * is_lossy)
        expected, lost = sequence.expected, sequence.lost
        is_new = sequence.is_new(message.sequence, is_lossy=is_lossy)
        self._expected += sequence.expected - expected
        if sequence.lost != lost:
            self._count_lost(process, sequence.lost - lost)
        return is_new
