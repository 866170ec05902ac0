"""A fleet's demands on sealed reports beyond the seal: host, time and order; and the users who sent them."""

from typing import NamedTuple

from poolhouse.errors import SealError
from poolhouse.fleet.freshness import WINDOW, Freshness
from poolhouse.fleet.names import clean_name
from poolhouse.fleet.presence import SILENT, bounded
from poolhouse.fleet.process import Process
from poolhouse.fleet.sequence import REORDER_WINDOW
from poolhouse.fleet.snapshot import UserState
from poolhouse.wire.challenge import answer_in
from poolhouse.wire.message import LegacyDatagram, ReportDatagram
from poolhouse.wire.seal import Payload, Reason

#: Users that are shown, those with an old password first; and users of whom figures are kept.
MOST_SHOWN, MOST_USERS = 20, 10_000


class Question(NamedTuple):
    """A nonce that a report's sender must repeat, signed with the password that sealed the report."""

    nonce: bytes
    sealed: Payload


class _User:
    """The figures of one user."""

    __slots__ = ("heard_at", "old_at", "old_from", "received", "received_old")

    def __init__(self) -> None:
        self.received = self.received_old = 0
        self.heard_at = 0.0
        self.old_at: float | None = None
        self.old_from: tuple[str, str, str] = ("", "", "")


class Seals:
    """Works beside a fleet, for one caller at a time.

    Attributes:
        question: The question for the sender of the last refused report; whoever asks it removes it.
        reason: Why that report was refused; whoever reports it removes it.
        refused: How many datagrams were refused for their seals, by reason.
    """

    def __init__(self, freshness: Freshness, refused: dict[Reason, int]) -> None:
        """Start without users.

        Args:
            freshness: Decides which reports are new.
            refused: The counts; may be shared with code that refuses datagrams before they come here.
        """
        self.question: Question | None = None
        self.reason: Reason | None = None
        self.refused = refused
        self._freshness = freshness
        self._users: dict[bytes, _User] = {}
        #: When the latest report was accepted.
        self._heard_at = 0.0

    def check_unknown(
        self, sealed: Payload, message: ReportDatagram | LegacyDatagram, now: float, wall_time: float
    ) -> None:
        """Check that a report of an unknown process may come from its user, and is new.

        Raises:
            SealError: If not, or if its age cannot be known; then there is a `question`.
        """
        self._check_host(sealed, message.host)
        self._check_host(sealed, clean_name(message.host))  # The name as it would be shown.
        key = message.host, message.program, message.token
        number, first = (message.number, not message.place) if isinstance(message, ReportDatagram) else (-1, True)
        if self._freshness.is_replayed(key, number, message.wall_time):
            raise self.refusal(Reason.REPLAYED)
        if self._freshness.is_timely(message.wall_time, wall_time):
            return
        self._demand_answer(sealed, message, now, may_ask=first)

    def check_known(self, sealed: Payload, message: ReportDatagram, process: Process) -> None:
        """Check that a datagram of a known process may come from its user and be new, as far as numbers show.

        Raises:
            SealError: If not.
        """
        if sealed.hosts is not None and message.host not in sealed.hosts:
            raise self.refusal(Reason.HOST)
        if process.state is SILENT and message.number <= process.number:
            raise self.refusal(Reason.REPLAYED)
        sequence = process.sequence
        if sequence is not None and sequence.newest - message.sequence >= REORDER_WINDOW:
            raise self.refusal(Reason.REPLAYED)

    def check_earlier(self, sealed: Payload, message: LegacyDatagram, process: Process, now: float) -> None:
        """The same for sums, which have no number: they must be later than the last ones.

        Raises:
            SealError: If not; then there is a `question`, since the sender's clock may have been set back.
        """
        self._check_host(sealed, message.host)
        last = process.told_at
        if process.legacy is not None:
            # The other kind of sums has its own last time.
            last = process.legacy.told_at(message) or last - WINDOW
        if message.wall_time <= last:
            self._demand_answer(sealed, message, now, may_ask=message.wall_time < last)

    def refusal(self, reason: Reason) -> SealError:
        """Count a refusal; return the exception to raise."""
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self.reason = reason
        return SealError(f"refused: {reason.value}", None, reason)

    def note(self, sealed: Payload, process: Process, told_at: float, now: float) -> None:
        """Record an accepted report."""
        self._heard_at = now
        process.user, process.password = sealed.user, sealed.place
        if told_at > process.told_at:
            process.told_at = told_at
        user = self._users.get(sealed.user)
        if user is None:
            if len(self._users) >= MOST_USERS:
                return
            user = self._users[sealed.user] = _User()
        user.received += 1
        user.heard_at = now
        if sealed.place:
            user.received_old += 1
            user.old_at, user.old_from = now, (*process.rows[0].key, process.token)

    def forget(self, process: Process) -> None:
        """Remember the latest report of a process that is forgotten."""
        if process.user:
            self._freshness.note_forgotten(process.key, process.number, process.told_at, self._heard_at)

    def users(self, now: float) -> tuple[UserState, ...]:
        """The figures of the users that are shown."""
        order = sorted(
            self._users.items(), key=lambda item: (item[1].old_at is None, -(item[1].old_at or item[1].heard_at))
        )
        return tuple(_shown(name, user, now) for name, user in order[:MOST_SHOWN])

    def _check_host(self, sealed: Payload, host: str) -> None:
        if sealed.hosts is not None and host not in sealed.hosts:
            raise self.refusal(Reason.HOST)

    def _demand_answer(
        self, sealed: Payload, message: ReportDatagram | LegacyDatagram, now: float, *, may_ask: bool
    ) -> None:
        freshness = self._freshness
        nonce = answer_in(sealed.parts)
        interval = bounded(message.interval)
        if nonce is not None and freshness.is_answer(nonce, sealed.user, message.token, interval, now):
            return
        if may_ask:  # Once per report.
            self.question = Question(freshness.question(sealed.user, message.token, now), sealed)
        raise self.refusal(Reason.STALE)


def _shown(name: bytes, user: _User, now: float) -> UserState:
    return UserState(
        clean_name(name.decode(errors="backslashreplace")),
        user.received,
        user.received_old,
        now - user.heard_at,
        None if user.old_at is None else now - user.old_at,
        *user.old_from,
    )
