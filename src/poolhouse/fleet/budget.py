"""The bytes of the fleet, as far as senders determine its size.

An estimate, kept incrementally, because asking the interpreter would cost more than the datagrams do. The
constants are the sizes on CPython 3.11 to 3.13; ``tests/unit/fleet/test_fleet_budget.py`` compares the sum with
tracemalloc.
"""

#: The allocator's rounding and the object's head.
_INT_HEAD = 32


class Budget:
    """The bytes in use, and their limit.

    Attributes:
        limit: How many bytes may be used.
        used: How many bytes are used.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be added."""
        return self.used >= self.limit


def bytes_of_int(number: int) -> int:
    """Bytes of an int of any length: CPython keeps 30 bits in 4 bytes.

    >>> bytes_of_int(1 << 640)
    117
    """
    return _INT_HEAD + number.bit_length() * 2 // 15
