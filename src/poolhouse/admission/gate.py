"""Which parts of a datagram a listener accepts, and the reason why it refuses others; pure."""

from poolhouse.errors import PacketError, SealError
from poolhouse.wire.seal import Payload, Policy, Reason, open_datagram

#: Seconds between two sentences about the same reason, or the same user.
QUIET = 60.0


class Gate:
    """Opens datagrams, and counts what it refuses.

    Attributes:
        policy: What is accepted; may be replaced at any time.
        refused: How many datagrams were refused, or left out in part, by reason; code that refuses them later may
            count here, too.
        last: The reason of the last of them.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.refused: dict[Reason, int] = {}
        self.last: Reason | None = None
        #: The latest sender for each reason that the next sentences will be about.
        self._news: dict[Reason, str] = {}
        self._old_users: dict[bytes, str] = {}
        self._said_at: dict[Reason | bytes, float] = {}

    def admit(self, datagram: bytes, sender: str) -> list[Payload]:
        """The accepted parts, each without its seal; empty if there are none. Never raises.

        Args:
            datagram: The datagram as it arrived.
            sender: The sender's address, for the log.
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
        """Have a refusal logged that has been counted already."""
        self._news[reason] = sender

    def sentences(self, now: float) -> list[str]:
        """News for the log: at most one sentence a minute about each reason, and about each user.

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
        """Count a refusal, and have it logged."""
        self.last = reason
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self.note(reason, sender)

    def _may_say(self, what: Reason | bytes, now: float) -> bool:
        before = self._said_at.get(what)
        if before is not None and now - before < QUIET:
            return False
        self._said_at[what] = now
        return True
