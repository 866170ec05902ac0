"""Which parts of a datagram a listener accepts, and the reason why it refuses others; pure."""

from poolhouse.errors import PacketError, SealError
from poolhouse.wire.seal import Payload, Policy, Reason, open_datagram

#: Seconds between two sentences about the same reason, or about the same user.
QUIET = 60.0


class Gate:
    """Opens datagrams, and counts what it refuses.

    Attributes:
        policy: What is accepted; may be replaced at any time.
        refused: How many datagrams were refused, or left out in part, by reason; whoever refuses them later may
            count here, too.
        last: The reason of the last of them.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.refused: dict[Reason, int] = {}
        self.last: Reason | None = None
        #: The newest sender of each; what the next sentences are about.
        self._news: dict[Reason, str] = {}
        self._old_users: dict[bytes, str] = {}
        self._said_at: dict[Reason | bytes, float] = {}

    def admit(self, datagram: bytes, sender: str) -> list[Payload]:
        """What is accepted, each without its seal; empty if nothing is. Never raises.

        Args:
            datagram: As it arrived.
            sender: Where it came from, for the log.
        """
        try:
            opened = open_datagram(datagram, self.policy)
        except SealError as error:
            self.refuse(error.reason, sender)
            return []
        except PacketError:
            self.refuse(Reason.MALFORMED_SEAL, sender)
            return []
        if opened.ignored is not None:
            self.refuse(opened.ignored, sender)
        for payload in opened.payloads:
            if payload.is_old:
                self._old_users[payload.user] = sender
        return opened.payloads

    def note(self, reason: Reason, sender: str) -> None:
        """Tell of a refusal that is counted already."""
        self._news[reason] = sender

    def sentences(self, now: float) -> list[str]:
        """What is new, for the log: at most one sentence a minute about each reason, and about each user.

        Args:
            now: Monotonic seconds.
        """
        said: list[str] = []
        for reason, sender in list(self._news.items()):
            if self._may_say(reason, now):
                del self._news[reason]
                count = self.refused[reason]
                said.append(f"{count:,} datagrams were refused so far: {reason.value}; the last from {sender}")
        for user, sender in list(self._old_users.items()):
            if self._may_say(user, now):
                del self._old_users[user]
                name = user.decode(errors="backslashreplace")
                said.append(f"user {name!r} still uses an old password, the last time at {sender}")
        return said

    def refuse(self, reason: Reason, sender: str) -> None:
        """Count a refusal, and tell of it."""
        self.last = reason
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self.note(reason, sender)

    def _may_say(self, what: Reason | bytes, now: float) -> bool:
        before = self._said_at.get(what)
        if before is not None and now - before < QUIET:
            return False
        self._said_at[what] = now
        return True
