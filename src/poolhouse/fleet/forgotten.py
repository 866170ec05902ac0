"""Which processes may have been counted and then forgotten.

An unknown process that was counted before must not be counted again, and its age does not tell if any younger one
was forgotten. So the keys of forgotten processes are added to a Bloom filter (B. H. Bloom, "Space/time trade-offs
in hash coding with allowable errors", CACM 13(7), 1970). It finds each of them, and at most one in 100 others.
Once it is full it is emptied, and from then on every process that is not younger than all of those counts as
forgotten. So memory is constant, however many processes come and go.
"""

from hashlib import blake2b
from math import inf
from struct import Struct

#: How much later the birth of a returning process may seem than before, in seconds: its clock runs differently
#: from ours, and its datagrams take time.
BIRTH_ERROR = 60.0
#: A key sets 7 bits. In a filter of -7 n / ln(1 - 0.01 ** (1/7)) = 9.59 n bits that holds n keys, one in a hundred
#: other keys is found: each of its bits is set with a probability of 1 - exp(-7 / 9.59).
HASHES, BITS_PER_KEY = 7, 9.6
#: The most bytes of a filter: a hash of 32 bits reaches each bit.
MOST_BYTES = 1 << 29

_HASHED = Struct(f">{HASHES}I")

#: Host, program and token of a process.
Key = tuple[str, str, str]


class Forgotten:
    """The forgotten processes of one aggregator; memory may run out at any line without harm."""

    def __init__(self, size: int, secret: bytes) -> None:
        """Start without forgotten processes.

        Args:
            size: The filter's bytes, at most `MOST_BYTES`; with 0, only ages distinguish processes.
            secret: Random bytes, at most 64, new at each start, so that no sender can choose keys by which another
                one is found.
        """
        self._filter = bytearray(size)
        self._secret = secret
        self._capacity = int(8 * size / BITS_PER_KEY)
        #: How many keys are in the filter.
        self._count = 0
        #: All of them were born before this.
        self._filter_born = -inf
        #: A forgotten process that can return was born before this.
        self._born = -inf
        #: All that were in the filter before it was emptied, or were forgotten elsewhere, were born before this.
        self._unfiltered_born = -inf

    def note(self, key: Key, born: float, heard_at: float, *, may_return: bool) -> None:
        """Note that a process is forgotten.

        Args:
            key: The process.
            born: When it began, by the aggregator's clock; -inf if it did not say.
            heard_at: When its latest report arrived.
            may_return: False if it said goodbye, so that only late datagrams of it can follow.
        """
        if self._filter:
            if self._count >= self._capacity:
                self._empty()
            before = (heard_at if born == -inf else born) + BIRTH_ERROR
            self._filter_born = max(self._filter_born, before)
            self._add(key)
        if may_return:
            self._born = max(self._born, born + BIRTH_ERROR)

    def note_elsewhere(self, heard_at: float) -> None:
        """Note that the sums of another node include processes that it has forgotten, the latest heard then."""
        self._unfiltered_born = max(self._unfiltered_born, heard_at + BIRTH_ERROR)

    def is_old_enough(self, born: float) -> bool:
        """Whether a process that seems to have begun then may be one of them, by its age alone."""
        return born < self._born or born < self._unfiltered_born

    def may_hold(self, key: Key, born: float) -> bool:
        """Whether an unknown process may be one of them; False only if it certainly is not.

        Args:
            key: The process.
            born: When it seems to have begun, by the aggregator's clock.
        """
        if born < self._unfiltered_born:
            return True
        return born < self._born and (not self._filter or self._finds(key))

    def _add(self, key: Key) -> None:
        bits = self._filter
        size, is_new = 8 * len(bits), False
        for hashed in self._hashes(key):
            place = hashed % size
            bit = 1 << (place & 7)
            if not bits[place >> 3] & bit:
                bits[place >> 3] |= bit
                is_new = True
        self._count += is_new

    def _finds(self, key: Key) -> bool:
        bits = self._filter
        size = 8 * len(bits)
        for hashed in self._hashes(key):
            place = hashed % size
            if not bits[place >> 3] >> (place & 7) & 1:
                return False
        return True

    def _hashes(self, key: Key) -> tuple[int, ...]:
        # Two keys that are the same text when joined are only found together.
        joined = "\0".join(key).encode("utf-8", "surrogatepass")
        return _HASHED.unpack(blake2b(joined, digest_size=_HASHED.size, key=self._secret).digest())

    def _empty(self) -> None:
        # In this order: a filter that is only partly emptied when memory runs out misses nobody.
        self._unfiltered_born = max(self._unfiltered_born, self._filter_born)
        bits = self._filter
        nothing = bytes(min(4096, len(bits)))
        for begin in range(0, len(bits), len(nothing)):
            end = min(begin + len(nothing), len(bits))
            bits[begin:end] = nothing[: end - begin]
        self._filter_born = -inf
        self._count = 0
