"""Which of a process's numbered datagrams have arrived, and how many were lost on the way."""

#: A datagram counts as lost once this many newer ones were expected: a late one is not lost.
REORDER_WINDOW = 8
#: A larger step than this cannot be a loss; it means that the numbering restarted.
LARGEST_STEP = 1 << 20

_ALL_CAME = (1 << REORDER_WINDOW) - 1


class Sequence:
    """Counts the datagrams of one process, starting with the first expected one.

    Attributes:
        expected: How many should have arrived.
        lost: How many of them did not arrive.
    """

    __slots__ = ("_came", "_excused", "_first", "_newest", "expected", "lost")

    def __init__(self, first: int) -> None:
        self._first = first
        self._newest = first - 1
        #: One bit for each of the last numbers, the newest lowest; those before the first count as received.
        self._came = _ALL_CAME
        #: The same for numbers that do not count as missing although they have not arrived.
        self._excused = 0
        self.expected = 0
        self.lost = 0

    @property
    def newest(self) -> int:
        """The largest number that has arrived."""
        return self._newest

    def is_new(self, number: int, *, is_lossy: bool = True) -> bool:
        """Note a datagram. False if it is known to be a repetition.

        Args:
            number: Its number.
            is_lossy: Whether it came by a way on which datagrams are lost. Otherwise the numbers that it skips are
                not missing: they may have been sent by another way.
        """
        step = number - self._newest
        if step <= 0:
            return number < self._first or self._is_new_behind(-step)
        self._newest = number
        if step == 1 and is_lossy and self._came == _ALL_CAME and not self._excused:
            # In order, and nothing is missing.
            self.expected += 1
            return True
        if step > LARGEST_STEP:
            self.settle()
            self._first = number
            self.expected += is_lossy
            return True
        if is_lossy:
            self.expected += step
        if step >= REORDER_WINDOW:
            # Everything missing is settled, at the same cost however large the step is.
            open_before = REORDER_WINDOW - (self._came | self._excused).bit_count()
            self.lost += open_before + (step - REORDER_WINDOW if is_lossy else 0)
            self._came = 1
            self._excused = 0 if is_lossy else _ALL_CAME - 1
            return True
        came = (self._came << step) | 1
        excused = self._excused << step
        if not is_lossy:
            excused |= (1 << step) - 2
        left = (came | excused) >> REORDER_WINDOW
        self._came, self._excused = came & _ALL_CAME, excused & _ALL_CAME
        if left != (1 << step) - 1:
            self.lost += step - left.bit_count()
        return True

    def settle(self) -> None:
        """Count every missing datagram as lost; one that arrives after all counts as new."""
        self.lost += REORDER_WINDOW - (self._came | self._excused).bit_count()
        self._came = _ALL_CAME
        self._excused = 0
        self._first = self._newest + 1

    def _is_new_behind(self, behind: int) -> bool:
        if behind >= REORDER_WINDOW:
            # Too late to recognise a repetition; the number of its report shows whether it is new.
            return True
        bit = 1 << behind
        is_new = not self._came & bit
        self._came |= bit
        return is_new
