"""The latest signs of one process, kept as the received bytes and decoded on request.

Each part says for how many reports the earlier signs still count: most parts contain everything and replace all
earlier ones.
"""

from poolhouse.wire.signs_decode import depth_of

#: The most payloads of a process that are kept.
MOST_PAYLOADS = 16
#: The bytes that a stored payload takes besides its content.
_PAYLOAD_BYTES = 100


class Signs:
    """The payloads of one process, the newest first, with the reports that they came with; immutable."""

    __slots__ = ("payloads", "reports", "size")

    def __init__(self, payloads: tuple[bytes, ...], reports: tuple[int, ...]) -> None:
        self.payloads = payloads
        self.reports = reports
        #: Their approximate size in bytes.
        self.size = sum(map(len, payloads)) + _PAYLOAD_BYTES * len(payloads)

    def with_newer(self, payload: bytes, number: int) -> "Signs":
        """These with a payload of report `number` added; unchanged if it is older than what they have."""
        if self.reports and number < self.reports[0]:
            return self
        last, kept = number - depth_of(payload), 0
        for report in self.reports[: MOST_PAYLOADS - 1]:
            if report <= last:
                break
            kept += 1
        return Signs((payload, *self.payloads[:kept]), (number, *self.reports[:kept]))


NO_SIGNS = Signs((), ())
