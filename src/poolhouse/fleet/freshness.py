"""Whether a sealed report is fresh, or was captured earlier and is being replayed.

A known process numbers its reports, so its old reports are recognised by their number. A report of an unknown
process is accepted at once if its time is close to the aggregator's, and so recent that this aggregator has
received, and remembers, every report of that time. In every other case the process must answer a question: its
clock may be wrong by a day, or this aggregator may have just started.

The memory of forgotten processes is limited: beyond the limit, the oldest times are no longer new enough. Pure:
the secret and both times are arguments.
"""

from heapq import heappop, heappush
from hmac import compare_digest, digest
from math import inf
from struct import Struct
from typing import NamedTuple

from poolhouse.wire.challenge import NONCE_BYTES

#: Seconds by which a report's time may differ from the aggregator's, delays included, without a question.
WINDOW = 60.0
#: The most forgotten processes that are remembered, at some 200 bytes each.
MOST_FORGOTTEN = 50_000
#: The least time in which a question may be answered, in seconds, and in intervals of the process.
ANSWER_SECONDS, ANSWER_INTERVALS = 120.0, 3.0

_ISSUED = Struct(">I")

#: Host, program and token of a process.
Key = tuple[str, str, str]


class _Newest(NamedTuple):
    """The latest report of a process that was forgotten."""

    number: int
    told_at: float
    forgotten_at: float


class Freshness:
    """The memory of one aggregator."""

    def __init__(self, secret: bytes, now: float, wall_time: float, most: int = MOST_FORGOTTEN) -> None:
        """Start without forgotten processes.

        Args:
            secret: At least 16 random bytes, new at each start.
            now: The aggregator's time.
            wall_time: The time of day.
            most: The most forgotten processes that are remembered.
        """
        self._secret = secret
        self._started = now
        self._most = most
        #: Reports up to this time may be missing from the memory.
        self._floor = wall_time + WINDOW
        #: Answers to questions before this time may belong to reports that are missing from the memory.
        self._asked_from = -inf
        self._newest: dict[Key, _Newest] = {}
        #: The times of those reports, the oldest first.
        self._oldest: list[tuple[float, Key]] = []

    def is_timely(self, told_at: float, wall_time: float) -> bool:
        """Whether a report with this time can be accepted from an unknown process without a question.

        Args:
            told_at: The report's time, in seconds since the epoch.
            wall_time: The time of day.
        """
        return told_at > self._floor and abs(told_at - wall_time) <= WINDOW

    def is_replayed(self, key: Key, number: int, told_at: float) -> bool:
        """Whether a forgotten process has already sent this report, or a newer one.

        Args:
            key: The process.
            number: The report's number; -1 if it has none, and its time decides.
            told_at: The report's time.
        """
        newest = self._newest.get(key)
        return newest is not None and (number <= newest.number if number >= 0 else told_at <= newest.told_at)

    def note_forgotten(self, key: Key, number: int, told_at: float, now: float) -> None:
        """Remember the latest report of a process that is forgotten; `number` is -1 if it has none."""
        before = self._newest.get(key)
        if before is not None:
            number, told_at = max(number, before.number), max(told_at, before.told_at)
        self._newest[key] = _Newest(number, told_at, now)
        heappush(self._oldest, (told_at, key))
        while len(self._oldest) > self._most:
            self._drop(*heappop(self._oldest))

    def question(self, user: bytes, token: str, now: float) -> bytes:
        """The nonce that a process must repeat; nothing is stored for it."""
        issued = _ISSUED.pack(int(now - self._started))
        return issued + self._mac(issued, user, token)

    def is_answer(self, nonce: bytes, user: bytes, token: str, interval: float, now: float) -> bool:
        """Whether a nonce is from a recent question to this process."""
        issued = nonce[: _ISSUED.size]
        age = now - self._started - _ISSUED.unpack(issued)[0]
        is_recent = age <= max(ANSWER_SECONDS, ANSWER_INTERVALS * interval) and now - age > self._asked_from
        return is_recent and compare_digest(nonce[_ISSUED.size :], self._mac(issued, user, token))

    def _drop(self, told_at: float, key: Key) -> None:
        newest = self._newest.get(key)
        if newest is not None and newest.told_at == told_at:
            del self._newest[key]
            self._floor = max(self._floor, told_at)
            self._asked_from = max(self._asked_from, newest.forgotten_at)

    def _mac(self, issued: bytes, user: bytes, token: str) -> bytes:
        said = token.encode("utf-8", "surrogatepass")
        whole = b"".join((issued, len(user).to_bytes(2), user, said))
        return digest(self._secret, whole, "sha256")[: NONCE_BYTES - _ISSUED.size]
