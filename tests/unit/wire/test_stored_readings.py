"""A pool's reading, kept as the bytes in which it came."""

import pytest

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import PoolReading
from poolhouse.wire.message import RawPool, ReportDatagram, decode_message
from poolhouse.wire.report import encode_report
from poolhouse.wire.stored import (
    NO_HISTOGRAMS,
    head_of,
    joined_histograms,
    parted_histograms,
    stored_reading,
)
from support.wire_samples import full_histogram, pool, report


def histogram(*nanoseconds: int) -> Histogram:
    made = Histogram()
    made.record_all(list(nanoseconds))
    return made


READINGS = {
    "no histogram": pool(),
    "each histogram": pool(wait=histogram(1_000, 2_000_000), use=histogram(5), create=histogram(7_000_000_000)),
    "one histogram": pool(use=histogram(40_000)),
    "the longest histogram": pool(wait=full_histogram()),
}


def arrived(reading: PoolReading) -> tuple[bytes, RawPool]:
    """The datagram that tells it, and the reading as it stands there."""
    for datagram in encode_report(report(reading), "full"):
        message = decode_message(datagram)
        if isinstance(message, ReportDatagram) and message.pool is not None:
            return datagram, message.pool
    raise AssertionError("no datagram tells the pool")


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_what_is_stored_is_read_again_as_it_came(reading: PoolReading) -> None:
    datagram, raw = arrived(reading)
    joined = joined_histograms(raw)
    assert parted_histograms(joined) == (raw.wait, raw.use, raw.create)
    assert stored_reading(head_of(datagram, joined), joined) == raw.reading()


def test_without_histograms_the_rest_of_the_reading_is_there() -> None:
    datagram, raw = arrived(READINGS["each histogram"])
    joined = joined_histograms(raw)
    found = stored_reading(head_of(datagram, joined), joined, with_histograms=False)
    assert found is not None
    assert (found.wait, found.use, found.create) == (None, None, None)
    assert (found.name, found.counters, found.gauges) == (raw.reading().name, pool().counters, pool().gauges)


def test_what_is_no_datagram_of_ours_is_no_reading() -> None:
    assert stored_reading(b"\x00\x02\x00\x05x", NO_HISTOGRAMS) is None
    assert stored_reading(b"", NO_HISTOGRAMS) is None
