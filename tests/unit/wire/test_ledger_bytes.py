"""What nodes tell each other: every value comes out as it went in, and anything else is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.errors import PacketError
from poolhouse.meter.reading import Counters
from poolhouse.wire.framing import LARGEST_PAYLOAD, Kind
from poolhouse.wire.histogram import encode_histogram
from poolhouse.wire.ledger import (
    NO_COUNTS,
    VERSION,
    Earlier,
    Entry,
    PoolEntry,
    Pulse,
    RowSums,
    Sums,
    chunk,
    decode_ledger,
    decode_pulse,
    decode_rows,
    decode_told,
    encode_entry,
    encode_pulse,
    encode_row_sums,
    encode_told,
)
from poolhouse.wire.stored import NO_HISTOGRAMS, joined
from support.wire_strategies import counters, histograms, seconds, u32, u64

numbers = st.tuples(*[u64] * len(Counters._fields))
sums = st.builds(Sums, numbers, st.tuples(*[histograms()] * 3))
joins = st.just(NO_HISTOGRAMS) | st.tuples(*[histograms().map(encode_histogram)] * 3).map(
    lambda three: joined(*three)
)
pools = st.builds(
    PoolEntry,
    key=u32,
    number=u32,
    is_over=st.booleans(),
    counts=counters,
    durations=joins,
    base=st.just(NO_COUNTS) | counters,
    base_durations=joins,
    fallen=st.none() | sums,
)
earlier = st.builds(Earlier, seconds, numbers, counters)
bits = st.integers(0, 0xFFFF)
names = st.text(max_size=40)
entries = st.builds(
    Entry,
    host=names,
    program=names,
    token=names,
    is_ended=st.booleans(),
    is_proven=st.booleans(),
    silent_for=seconds,
    age=st.none() | seconds,
    interval=seconds,
    uptime=st.none() | seconds,
    number=st.none() | u32,
    complete_since=st.none() | st.integers(-1, 2**32),
    lost=u32,
    knows=bits,
    sent=bits,
    pools=st.lists(pools, max_size=3).map(tuple),
    floor=st.just(0),
    older=st.none(),
    earlier=st.none() | earlier,
)
with_older = st.builds(lambda entry, floor, older: entry._replace(floor=floor, older=older), entries, u32, sums)
rows = st.builds(RowSums, names, names, bits, bits, sums)


def comparable(value: object) -> object:
    """Histograms have no equality: their bytes do; and sums beyond 64 bits stand beside them."""
    if isinstance(value, tuple):
        return tuple(map(comparable, value))
    if hasattr(value, "counts") and hasattr(value, "sum_ns"):
        return encode_histogram(value), value.sum_ns
    return value


@pytest.mark.long
@given(st.lists(entries | with_older, max_size=4))
def test_entries_come_out_as_they_went_in(told: list[Entry]) -> None:
    payload = chunk([encode_entry(entry) for entry in told])
    assert comparable(tuple(decode_ledger(payload))) == comparable(tuple(told))


@given(st.lists(rows, max_size=4))
def test_rows_come_out_as_they_went_in(told: list[RowSums]) -> None:
    for row in told:
        row.sums.times[0].sum_ns <<= 30  # A fleet's sum is larger than 64 bits.
    payload = chunk([encode_row_sums(row) for row in told])
    assert comparable(tuple(decode_rows(payload))) == comparable(tuple(told))


@given(seconds, st.booleans(), st.none() | seconds)
def test_signs_of_life_and_ends_come_out_as_they_went_in(counting: float, behind: bool, forgotten: float) -> None:
    pulse = Pulse(counting, behind)
    assert decode_pulse(encode_pulse(pulse)) == pulse
    assert decode_told(encode_told(forgotten)) == forgotten
    assert len(encode_pulse(pulse)) <= LARGEST_PAYLOAD[Kind.PULSE]


DECODERS = (decode_ledger, decode_rows, decode_pulse, decode_told)


@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_but_packet_error(payload: bytes) -> None:
    for decode in DECODERS:
        for begun in (payload, bytes([VERSION]) + payload):
            with suppress(PacketError):
                decode(begun)


@given(entries | with_older, st.data())
def test_a_damaged_entry_raises_nothing_but_packet_error(entry: Entry, data: st.DataObject) -> None:
    whole = chunk([encode_entry(entry)])
    payload = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PacketError):
        decode_ledger(bytes(payload))
    for length in data.draw(st.sets(st.integers(0, len(whole) - 1), min_size=1, max_size=8)):
        with pytest.raises(PacketError):
            decode_ledger(whole[:length])


@pytest.mark.parametrize("decode", DECODERS)
def test_another_version_is_refused(decode) -> None:
    with pytest.raises(PacketError, match="version"):
        decode(bytes([VERSION + 1]) + bytes(20))


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -1.0])
def test_a_time_that_cannot_be_is_refused(moment: float) -> None:
    with pytest.raises(PacketError):
        decode_pulse(encode_pulse(Pulse(moment, False)))
    with pytest.raises(PacketError):
        decode_told(encode_told(moment))
