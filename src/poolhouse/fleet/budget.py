"""The bytes of the fleet, as far as senders determine its size.

An estimate, kept incrementally, because asking the interpreter would cost more than the datagrams do. Constants
are what CPython 3.11 to 3.13 take; ``tests/unit/fleet/test_fleet_budget.py`` compares the sum with tracemalloc.
"""

#: The allocator's rounding and the object's head.
_INT_HEAD = 32


class Budget:
    """The bytes that are taken, and how many may be.

    Attributes:
        limit: How many may be taken.
        used: How many are.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be taken."""
        return self.used >= self.limit


def bytes_of_int(number: int) -> int:
    """Bytes of an int of any length: CPython keeps 30 bits in 4 bytes.

    >>> bytes_of_int(1 << 640)
    117
    """
    return _INT_HEAD + number.bit_length() * 2 // 15
